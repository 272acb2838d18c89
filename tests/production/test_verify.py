"""Verification: an honest set passes, and every change to it is found."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import struct
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from latentpath.cli import main
from latentpath.core.errors import DataError, IntegrityError, PrivacyError
from latentpath.data import read_manifest, write_image_set
from latentpath.data.manifest import encode_content, seal
from latentpath.production import produce, produce_set
from latentpath.production.private_file import read_record
from latentpath.production.verification import verify_set
from support import tiny_models
from support.tiny_models import quick_config
from support.tiny_runs import forge, private_of


@pytest.fixture(scope="module")
def result(data, bundle):
    return produce_set(data, bundle, quick_config(count=14))


@pytest.fixture(scope="module")
def written(data, bundle, tmp_path_factory):
    """An honest set; tests that change it take a copy."""
    out = tmp_path_factory.mktemp("honest")
    return produce(data, bundle, out, quick_config(count=14)).folder.set


@pytest.fixture
def copy(written, tmp_path):
    shutil.copytree(written.parent, tmp_path / "run")
    return tmp_path / "run" / "set"


def verified(folder):
    return verify_set(folder, private_of(folder))


def reseal(folder, **changes):
    """Change the manifest as someone would who knows how it is made."""
    content = json.loads((folder / "manifest.json").read_bytes())
    content |= changes
    for name, entry in content["files"].items():
        raw = (folder / name).read_bytes()
        entry |= {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    content["seal"] = seal(content)
    (folder / "manifest.json").write_bytes(encode_content(content))
    return content


def replace_private(folder, **changes):
    """Another private file, which the set commits to."""
    path = private_of(folder)
    record = read_record(path)
    names = {"latents", "identities", "classes", "assignment"}
    people = replace(record.people, **{k: v for k, v in changes.items() if k in names})
    rest = {k: v for k, v in changes.items() if k not in names}
    raw = replace(record, people=people, **rest).encode()
    path.write_bytes(raw)
    return reseal(folder, private_file={"sha256": hashlib.sha256(raw).hexdigest()})


def only_finding(found, kind, *words):
    assert len(found.findings) == 1, found.lines()
    text = str(found.findings[0])
    assert type(found.findings[0]) is kind, text
    assert "\n" not in text
    for word in words:
        assert word in text
    return text


class TestHonest:
    def test_with_the_private_file(self, written):
        found = verified(written)
        assert found.ok, found.lines()
        text = " ".join(found.verified)
        for words in ("SHA-256", "listed walk", "k = 3", "the mean of its people"):
            assert words in text
        assert len(found.verified) == 10

    def test_without_it(self, written):
        found = verify_set(written)
        assert found.ok
        assert any("needs the private file" in sentence for sentence in found.not_verified)
        assert not any("distinct people" in sentence for sentence in found.verified)

    @pytest.mark.parametrize("aggregation", ["mean", "geometric_median"])
    @pytest.mark.parametrize("grouping", ["mdav", "auto"])
    def test_other_methods(self, data, bundle, tmp_path, grouping, aggregation):
        config = quick_config(count=8, grouping=grouping, aggregation=aggregation, balanced=True)
        assert verified(produce(data, bundle, tmp_path, config).folder.set).ok

    def test_dropped_classes_several_images_and_colour(self, tiny_lpips, tmp_path):
        data = tiny_models.private_set((9, 8, 3), per_person=3, channels=3)
        bundle = tiny_models.bundle_for(data, lpips=tiny_lpips)
        config = quick_config(k=4, count=6, small_classes="drop")
        found = verified(produce(data, bundle, tmp_path, config).folder.set)
        assert found.ok, found.lines()

    def test_seal_noted_down(self, written):
        own = verify_set(written).seal
        found = verify_set(written, seal=own.upper())
        assert found.ok
        assert any("this very set" in sentence for sentence in found.verified)
        only_finding(verify_set(written, seal="0" * 64), IntegrityError, "noted down")

    def test_equal_input_gives_equal_bytes(self, written, data, bundle, tmp_path):
        produce(data, bundle, tmp_path, quick_config(count=14))
        first, second = (written / "manifest.json", tmp_path / "set" / "manifest.json")
        assert first.read_bytes() == second.read_bytes()
        first, second = private_of(written), private_of(tmp_path / "set")
        assert first.read_bytes() == second.read_bytes()


def test_any_changed_byte_is_found(copy):
    """Every file of the set and the private file, at random places, with random bits flipped."""
    rng = np.random.default_rng(0)
    files = [path for path in copy.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".png", ".csv", ".npz", ".json", ".md"}
    for path in [*files, private_of(copy)]:
        honest = path.read_bytes()
        for place in rng.integers(0, len(honest), 4 if path.suffix == ".png" else 25):
            changed = bytearray(honest)
            changed[place] ^= int(rng.integers(1, 256))
            path.write_bytes(changed)
            found = verified(copy)
            assert not found.ok, f"{path.name}, byte {place}"
            assert all("\n" not in str(error) for error in found.findings)
        path.write_bytes(honest)
    assert verified(copy).ok


def test_every_byte_of_the_manifest_counts(copy):
    path = copy / "manifest.json"
    honest = path.read_bytes()
    for number, place in enumerate(range(0, len(honest), 17)):
        changed = bytearray(honest)
        changed[place] ^= 32 if number % 2 else 1
        path.write_bytes(changed)
        assert not verify_set(copy).ok, f"byte {place}: {honest[place - 9 : place + 9]!r}"


ODD = (None, [], {}, "x", 7, [[[]]], {"a": {"b": 1}}, -1.5)


@pytest.mark.parametrize("number", range(len(ODD)), ids=lambda i: repr(ODD[i]))
def test_manifests_that_make_no_sense_are_findings(copy, number):
    """Whatever stands in an entry of a manifest that was sealed anew, there is no crash."""
    honest, odd = json.loads((copy / "manifest.json").read_bytes()), ODD[number]
    for name in sorted(set(honest) - {"seal", "software", "shortage", "files"}):
        reseal(copy, **honest | {name: odd})
        assert not verified(copy).ok, name
        inside = sorted(honest[name]) if isinstance(honest[name], dict) else []
        for inner in inside[number % 2 :: 2]:
            reseal(copy, **honest | {name: honest[name] | {inner: odd}})
            verified(copy)


@pytest.mark.parametrize("cut", [0, 1, -1])
def test_shortened_files(copy, cut):
    for name in ("manifest.json", "labels.csv", "medmnist.npz"):
        raw = (copy / name).read_bytes()
        (copy / name).write_bytes(raw[:cut] if cut else b"")
        assert not verify_set(copy).ok
        (copy / name).write_bytes(raw)


def changed_image(folder):
    """The first image of a set, of which a pixel was changed."""
    path = min((folder / "images").rglob("*.png"))
    pixels = np.array(Image.open(path))
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    return path


class TestFiles:
    def test_missing(self, copy):
        next(copy.rglob("*.png")).unlink()
        assert "absent" in str(verify_set(copy).findings[0])

    def test_one_changed_image_is_one_finding_that_names_it(self, copy):
        path = changed_image(copy)
        found = verified(copy)
        only_finding(found, IntegrityError, path.name)
        assert any("as they were written" in sentence for sentence in found.not_verified)
        path.write_bytes(with_chunk(path.read_bytes(), b"tEXt", b"Name\0Jane Doe"))
        only_finding(verified(copy), IntegrityError, path.name, "'tEXt' chunk")
        path.unlink()
        only_finding(verified(copy), IntegrityError, path.name, "absent")

    @pytest.mark.parametrize("name", ["labels.csv", "medmnist.npz", "README.md"])
    def test_any_other_changed_file_is_one_finding_too(self, copy, name):
        path = copy / name
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        only_finding(verified(copy), IntegrityError, name)

    @pytest.mark.parametrize("changed", ["image", "table"])
    def test_a_second_fault_is_found_beside_it(self, copy, changed):
        """Something hidden before the set was sealed anew, and a file that was changed since."""
        path = sorted(copy.rglob("*.png"))[1]
        path.write_bytes(with_chunk(path.read_bytes(), b"tEXt", b"Name\0Jane Doe"))
        reseal(copy)
        if changed == "image":
            changed_image(copy)
        else:
            (copy / "labels.csv").write_bytes(b"")
        kinds = sorted(type(finding).__name__ for finding in verify_set(copy).findings)
        assert kinds == ["IntegrityError", "PrivacyError"]

    def test_what_was_wrong_of_the_others_is_found_beside_it(self, copy, data, bundle, tmp_path):
        _, second, third = sorted(copy.rglob("*.png"))[:3]
        second.write_bytes(third.read_bytes())
        walks = json.loads((copy / "manifest.json").read_bytes())["walks"]
        walks["pairs"][0] = [-1, 99]
        reseal(copy, walks=walks)
        first = changed_image(copy)
        other = produce(data, bundle, tmp_path / "b", quick_config(count=14, seed=1))
        told = [str(f) for f in verify_set(copy, other.folder.private_file).findings]
        assert first.name in told[0]
        assert any("medmnist.npz" in line for line in told), told
        assert any("walk 0" in line for line in told)
        assert any("private file with the SHA-256" in line for line in told)

    @pytest.mark.parametrize("name", ["notes.txt", "images/left/extra.png", ".hidden", "a/b"])
    def test_unlisted(self, copy, name):
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_bytes(b"Jane Doe")
        found = verify_set(copy)
        assert all(type(error) is PrivacyError for error in found.findings)
        assert name in str(found.findings[-1])

    def test_link(self, copy, tmp_path):
        path = copy / "labels.csv"
        path.rename(tmp_path / "labels.csv")
        path.symlink_to(tmp_path / "labels.csv")
        only_finding(verify_set(copy), IntegrityError, "no file")

    def test_private_file_inside(self, copy):
        private = private_of(copy)
        private.rename(copy / private.name)
        assert not verify_set(copy, copy / private.name).ok

    def test_no_set(self, tmp_path):
        with pytest.raises(DataError, match="absent"):
            verify_set(tmp_path / "none")
        assert "manifest" in str(verify_set(tmp_path).findings[0])

    def test_baseline_promises_nothing(self, result, tmp_path):
        write_image_set(
            tmp_path / "line",
            result.samples.images,
            result.samples.labels,
            result.samples.class_names,
            manifest={"software": "latentpath", "baseline": "line", "gate": None},
        )
        only_finding(verify_set(tmp_path / "line"), PrivacyError, "promises nothing")


def with_chunk(png, kind, data):
    chunk = struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))
    return png[:-12] + chunk + png[-12:]


class TestHidden:
    """Content beside the pixels, in a set that was sealed anew around it."""

    @pytest.mark.parametrize(
        "hide",
        [
            lambda png: with_chunk(png, b"tEXt", b"Name\0Jane Doe"),
            lambda png: with_chunk(png, b"eXIf", b"II*\0Jane Doe"),
            lambda png: with_chunk(png, b"IDAT", b"Jane Doe"),
            lambda png: png + b"Jane Doe",
        ],
    )
    def test_in_an_image(self, copy, hide):
        path = next(copy.rglob("*.png"))
        path.write_bytes(hide(path.read_bytes()))
        reseal(copy)
        only_finding(verify_set(copy), PrivacyError, path.name)

    def test_another_picture(self, copy):
        first, second = sorted(copy.rglob("*.png"))[:2]
        first.write_bytes(second.read_bytes())
        reseal(copy)
        only_finding(verify_set(copy), IntegrityError, "medmnist.npz")

    @pytest.mark.parametrize("what", ["member", "comment", "date", "between", "behind", "padding"])
    def test_in_the_npz(self, copy, what):
        path = copy / "medmnist.npz"
        raw = path.read_bytes()
        if what == "behind":
            path.write_bytes(raw + b"Jane Doe")
        else:
            path.write_bytes(hide_in_zip(raw, what))
        with np.load(path) as arrays:
            assert sum(len(arrays[f"{s}_images"]) for s in ("train", "val", "test")) == 14
        reseal(copy)
        only_finding(verify_set(copy), PrivacyError, "medmnist.npz")

    @pytest.mark.parametrize(
        "change",
        [
            {"patient": "Jane Doe"},
            {"seeds": {"seed": 0, "patient": 5}},
            {"gate": {"tested": 5, "rejected": {"Jane Doe": 1}, "lpips_threshold": 0.0}},
            {"private_file": {"sha256": "0" * 64, "name": "jane"}},
        ],
    )
    def test_in_the_manifest(self, copy, change):
        reseal(copy, **change)
        assert "in it" in str(verify_set(copy).findings[0])
        assert type(verify_set(copy).findings[0]) is PrivacyError

    @pytest.mark.parametrize("what", ["column", "name", "quotes"])
    def test_in_the_table(self, copy, what):
        path = copy / "labels.csv"
        lines = path.read_text().splitlines()
        if what == "column":
            lines = [lines[0] + ",patient"] + [line + ",7" for line in lines[1:]]
        elif what == "name":
            lines[1] = lines[1].replace("left", "Jane Doe").replace("middle", "Jane Doe")
        else:
            lines[1] = f'"{lines[1].split(",")[0]}",' + ",".join(lines[1].split(",")[1:])
        path.write_text("\n".join(lines) + "\n")
        reseal(copy)
        only_finding(verify_set(copy), IntegrityError, "labels.csv")


def hide_in_zip(raw, what):
    """The archive with something beside its arrays."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.infolist():
            content = old.read(member)
            if what == "padding" and member.filename == "train_labels.npy":
                content += b"Jane Doe"
            if what == "date":
                member.date_time = (2020, 5, 17, 9, 0, 0)
            new.writestr(member, content)
            if what == "between" and member.filename == "val_labels.npy":
                new.fp.write(b"Jane Doe")
                new.start_dir = new.fp.tell()
        if what == "member":
            new.writestr("patients.txt", "Jane Doe")
        if what == "comment":
            new.comment = b"Jane Doe"
    return out.getvalue()


class TestWalks:
    def change_table(self, folder, column, value):
        path = folder / "labels.csv"
        lines = path.read_text().splitlines()
        cells = lines[3].split(",")
        cells[column] = str(value)
        lines[3] = ",".join(cells)
        path.write_text("\n".join(lines) + "\n")
        reseal(folder)

    @pytest.mark.parametrize(("column", "value"), [(3, 999), (3, -1), (4, 5), (4, -1), (4, 10**20)])
    def test_a_sample_off_the_walks(self, copy, column, value):
        self.change_table(copy, column, value)
        assert not verify_set(copy).ok

    def test_a_walk_between_classes_or_to_itself(self, copy):
        content = json.loads((copy / "manifest.json").read_bytes())
        classes, walks = content["endpoints"]["class"], content["walks"]
        start = walks["pairs"][0][0]
        other = next(g for g, c in enumerate(classes) if c != classes[start])
        for end in (other, start, -1, 99):
            walks["pairs"][0] = [start, end]
            reseal(copy, walks=walks)
            assert "walk 0" in str(verify_set(copy).findings[0])

    def test_one_place_twice(self, copy, result):
        forge(copy, result.samples, result.path, np.full_like(result.step, 2))
        assert any("places with several" in str(error) for error in verified(copy).findings)

    def test_a_sample_of_another_class(self, copy, result):
        samples = result.samples
        swapped = replace(samples, labels=(samples.labels + 1) % 3)
        forge(copy, swapped, result.path, result.step)
        found = verified(copy).findings
        assert len(found) == len(samples)
        assert "of their class" in str(found[0])

    @pytest.mark.parametrize("walks", [None, {}, {"points": 5, "pairs": [[0]]}, {"pairs": "x"}])
    def test_no_walks(self, copy, walks):
        reseal(copy, walks=walks)
        assert not verify_set(copy).ok


class TestCertificate:
    def certificate(self, folder):
        return json.loads((folder / "manifest.json").read_bytes())["certificate"]

    @pytest.mark.parametrize(
        "change", [{"k": 4}, {"num_groups": 99}, {"promise": "All is well."}, {"kind": "trust"}]
    )
    def test_changed(self, copy, change):
        reseal(copy, certificate=self.certificate(copy) | change)
        assert not verify_set(copy).ok

    def test_other_configuration(self, copy):
        config = json.loads((copy / "manifest.json").read_bytes())["config"]
        reseal(copy, config=config | {"seed": 5})
        assert any("configuration" in str(error) for error in verify_set(copy).findings)

    def test_other_sizes(self, copy):
        endpoints = json.loads((copy / "manifest.json").read_bytes())["endpoints"]
        endpoints["people"][0] = 2
        reseal(copy, endpoints=endpoints)
        assert any("smallest group" in str(error) for error in verify_set(copy).findings)


class TestPrivate:
    """Private files that do not prove the promise, in sets that commit to them."""

    def test_a_group_of_fewer_than_k(self, copy):
        record = read_record(private_of(copy))
        assignment = record.people.assignment.copy()
        small = int(np.bincount(assignment).argmin())
        twin = int(np.flatnonzero(record.labels == record.labels[small])[0])
        assignment[np.flatnonzero(assignment == small)[0]] = twin + (twin == small)
        replace_private(copy, assignment=assignment)
        found = verified(copy)
        assert any("at least k = 3" in str(error) for error in found.findings), found.lines()
        assert all(type(error) is PrivacyError for error in found.findings[:1])

    def test_one_person_counted_twice(self, copy):
        record = read_record(private_of(copy))
        identities = record.people.identities.copy()
        rows = np.flatnonzero(record.people.assignment == 0)
        identities[rows[0]] = identities[rows[1]]
        replace_private(copy, identities=identities)
        assert not verified(copy).ok

    def test_a_centroid_that_is_one_person(self, copy):
        record = read_record(private_of(copy))
        centroids = record.centroids.copy()
        centroids[1] = record.people.latents[np.flatnonzero(record.people.assignment == 1)[0]]
        replace_private(copy, centroids=centroids)
        only_finding(verified(copy), PrivacyError, "endpoint 1 to be the mean of its people")

    def test_of_another_set(self, copy, data, bundle, tmp_path):
        other = produce(data, bundle, tmp_path / "b", quick_config(count=14, seed=1))
        found = verify_set(copy, other.folder.private_file)
        only_finding(found, IntegrityError, "SHA-256")
        assert "That every endpoint has k people" in found.not_verified[0]

    def test_of_other_samples(self, copy):
        replace_private(copy, samples="0" * 64)
        only_finding(verified(copy), IntegrityError, "other samples")

    def test_other_walks(self, copy):
        record = read_record(private_of(copy))
        replace_private(copy, pairs=record.pairs[:, ::-1])
        only_finding(verified(copy), IntegrityError, "other walks")

    @pytest.mark.parametrize("what", ["not finite", "fewer", "wider", "kind", "salt"])
    def test_other_content(self, copy, what):
        record = read_record(private_of(copy))
        ends = record.centroids
        centroids = {"fewer": ends[:-1], "wider": np.pad(ends, ((0, 0), (0, 1)))}
        centroids["not finite"] = np.where(np.eye(*ends.shape, dtype=bool), np.nan, ends)
        other = {"kind": {"kind": "trust"}, "salt": {"salt": record.salt[:16]}}
        replace_private(copy, **other.get(what, {"centroids": centroids.get(what)}))
        found = verified(copy).findings
        word = "salt" if what in other else "centroids"
        assert any(f"other {word}" in str(e) or word in str(e) for e in found), found
        assert all(type(error) in (IntegrityError, PrivacyError) for error in found)

    def test_no_private_file_at_all(self, copy):
        path = private_of(copy)
        path.write_bytes(b"nothing")
        reseal(copy, private_file={"sha256": hashlib.sha256(b"nothing").hexdigest()})
        only_finding(verified(copy), IntegrityError, "that latentpath wrote")

    def test_readable_by_others(self, copy):
        private_of(copy).chmod(0o640)
        only_finding(verified(copy), PrivacyError, "640", "chmod 600")


class TestCommandLine:
    def test_exit_codes_and_lines(self, copy, capsys):
        private = str(private_of(copy))
        assert main(["verify", str(copy), "--private", private, "--quiet"]) == 0
        line = f"nothing is wrong with {copy}, seal {read_manifest(copy)['seal']}: "
        shown = capsys.readouterr().out
        assert shown.startswith(line)
        assert " checks were made and 2 could not be (--verbose lists all checks)" in shown
        assert shown.count("\n") == 1
        assert main(["verify", str(copy), "--private", private, "--verbose"]) == 0
        shown = capsys.readouterr().out
        assert f"\nresult: {line}" in shown
        assert "verified: " in shown
        (copy / "labels.csv").write_bytes(b"")
        (copy / "notes.txt").write_bytes(b"")
        assert main(["verify", str(copy), "--quiet"]) == 2
        lines = capsys.readouterr().out.splitlines()
        kinds = [line.split(":")[1].strip() for line in lines if line.startswith("finding")]
        assert kinds.count("PrivacyError") == 1
        assert kinds.count("IntegrityError") >= 1

    def test_json(self, copy, capsys):
        assert main(["verify", str(copy), "--json", "--quiet"]) == 0
        assert json.loads(capsys.readouterr().out)["ok"] is True
        (copy / "notes.txt").write_bytes(b"")
        assert main(["verify", str(copy), "--json", "--quiet"]) == 2
        found = json.loads(capsys.readouterr().out)["findings"]
        assert [entry["type"] for entry in found] == ["PrivacyError"]

    def test_absent(self, tmp_path, capsys):
        assert main(["verify", str(tmp_path / "none"), "--quiet"]) == 2
        assert "absent" in capsys.readouterr().err
