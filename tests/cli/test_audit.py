"""`latentpath audit`: sets of any form in, a report and an exit code out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("monai")
pytest.importorskip("safetensors")
pytest.importorskip("PIL")
pytest.importorskip("jinja2")

from latentpath.cli import main
from latentpath.data import ImageSet, write_image_set
from latentpath.generators.weights import save_weights
from latentpath.models import Classifier
from support import tiny_models

QUICK = ["--quiet", "--measures", "nearest,copies"]


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Class folders, a set of ours and a MedMNIST file, of people who have nothing in common."""
    root = tmp_path_factory.mktemp("clinic-elsewhere")
    made = {name: tiny_models.private_set((16, 14), seed=seed) for seed, name in enumerate("rsho")}
    tiny_models.write_folder(root / "real", made["r"])
    write_image_set(
        root / "synthetic",
        made["s"].images,
        made["s"].labels,
        made["s"].class_names,
        manifest={"software": "test"},
    )
    tiny_models.write_folder(root / "others", made["o"])
    tiny_models.write_folder(root / "holdout", made["h"])
    return {name: root / name for name in ("real", "synthetic", "holdout", "others")} | {
        "root": root,
        "data": made,
    }


def words(sets, tmp_path, *extra, real=None, synthetic=None, out="report"):
    argv = ["audit", "--real", real or sets["real"], "--out", tmp_path / out]
    return [*argv, "--synthetic", synthetic or sets["synthetic"], *extra]


@pytest.fixture
def audit(command, sets, tmp_path):
    """Run the command on the sets; returns exit code, output, and lines of standard error."""
    return lambda *extra, **places: command(*words(sets, tmp_path, *extra, **places))


@pytest.fixture
def refused(refused, sets, tmp_path):
    """Run the command on the sets, expect one line of error, and return it."""
    return lambda *extra, **places: refused(*words(sets, tmp_path, *extra, **places))


def numbers(folder: Path) -> dict:
    return json.loads((folder / "audit.json").read_text(encoding="utf-8"))


@pytest.mark.filterwarnings("default:without real images of other people")
def test_two_sets_are_enough(audit, tmp_path):
    code, out, err = audit("--quiet", "--quick")
    assert (code, len(err)) == (0, 1)
    assert "nothing can answer “Does the set come closer" in err[0]
    assert "a holdout would (--holdout" in err[0]
    assert out.count("\n") == 10  # six questions, two verdicts, where report and summary are
    assert (tmp_path / "report" / "summary.html").is_file()
    found = numbers(tmp_path / "report")
    assert found["sets"]["synthetic"]["images"] == 30
    assert found["questions"]["closeness"]["colour"] == "grey"
    assert "holdout" in found["questions"]["closeness"]["why"]
    assert found["questions"]["copies"]["colour"] != "grey"
    assert found["sets"]["synthetic"]["fidelity"]["fid"] > 0
    assert found["sets"]["synthetic"]["not_measured"]["utility"] == "Left out on request."


def test_holdout_and_baselines(audit, sets, tmp_path):
    places = ["--holdout", sets["holdout"], "--baseline", f"somebody's=x={sets['others']}"]
    assert audit(*QUICK, *places)[0] == 2  # no apostrophes in names
    places[3] = f"others 1={sets['others']}"
    code, _, err = audit(*QUICK, *places, "--baseline", f"copy={sets['real']}")
    assert (code, err) == (0, [])
    found = numbers(tmp_path / "report")["sets"]
    assert list(found) == ["real", "holdout", "others 1", "copy", "synthetic"]
    assert found["copy"]["copies"]["by_kind"]["exact"]["count"] == 30
    assert found["copy"]["nearest"]["quantiles"]["0.95"] < 1e-6


def test_other_sizes_colours_and_orders_of_classes(audit, sets, tmp_path):
    data: ImageSet = sets["data"]["r"]
    rows = np.argsort(data.labels, kind="stable")
    large = data.images[rows].repeat(2, 1).repeat(2, 2).repeat(3, 3)
    other = tiny_models.write_folder(
        tmp_path / "large", ImageSet(large, 1 - data.labels[rows], rows, ("middle", "left"))
    )
    code, _, err = audit(*QUICK, real=other)
    assert (code, err) == (0, [])
    settings = numbers(tmp_path / "report")["settings"]
    assert settings["image"] == {"width": 16, "height": 16, "channels": 1}
    code, _, err = audit(*QUICK, "--resolution", "24", "--channels", "3", "--overwrite", real=other)
    assert (code, err) == (0, [])
    settings = numbers(tmp_path / "report")["settings"]
    assert settings["image"] == {"width": 24, "height": 24, "channels": 3}


def test_a_medmnist_file_and_its_splits(audit, sets, tmp_path):
    data = sets["data"]
    columns = {}
    for split, name in (("train", "r"), ("test", "h"), ("val", "s")):
        columns[f"{split}_images"] = data[name].images[..., 0]
        columns[f"{split}_labels"] = data[name].labels[:, None]
    np.savez(tmp_path / "set.npz", **columns)
    split = ["--synthetic-split", "val", "--holdout", tmp_path / "set.npz"]
    code, _, err = audit(*QUICK, *split, real=tmp_path / "set.npz", synthetic=tmp_path / "set.npz")
    assert (code, err) == (0, [])
    found = numbers(tmp_path / "report")
    assert found["settings"]["sets"]["holdout"]["images"] == 30
    assert found["sets"]["holdout"]["copies"]["by_kind"]["exact"]["count"] == 0


@pytest.mark.parametrize("tabled", ["real", "holdout"])
def test_a_table_and_a_file_of_arrays_are_read_each_in_its_way(
    audit, refused, sets, tmp_path, tabled
):
    """With odd names of arrays: those are told of that set alone."""
    files, arrays = ("r", "h") if tabled == "real" else ("h", "r")
    data, other = sets["data"][files], sets["data"][arrays]
    folder = tiny_models.write_folder(tmp_path / "tabled", data)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    rows = [f"{name},{name.split('/')[0]},P{row // 2}" for row, name in enumerate(names)]
    (folder / "people.csv").write_text("\n".join(["file,finding,patient", *rows]))
    usual = {"images": other.images[..., 0], "labels": other.labels, "split": np.arange(30) % 3}
    np.savez(
        tmp_path / "a.npz", class_names=np.array(other.class_names), who=np.arange(30), **usual
    )
    untabled = "holdout" if tabled == "real" else "real"
    words = [*QUICK, f"--{tabled}-csv", "people.csv", "--image-column", "file"]
    words += ["--label-column", "finding", "--identity-column", "patient"]
    places = {"real": folder} if tabled == "real" else {"real": tmp_path / "a.npz"}
    words += ["--holdout", folder if tabled == "holdout" else tmp_path / "a.npz"]
    assert f"choose one of them with --{untabled}-split" in refused(*words, **places)
    words += [f"--{untabled}-split", "all", f"--{untabled}-identity-column", "who"]
    assert audit(*words, **places)[::2] == (0, [])
    found = numbers(tmp_path / "report")["settings"]["sets"]
    told = {"counted_by": "identity-column"}
    assert found[tabled] == {"images": 30, "people": 15} | told
    assert found[untabled] == {"images": 30, "people": 30} | told


def test_points_of_one_walk_count_as_one(audit, sets, tmp_path):
    data = sets["data"]["s"]
    write_image_set(
        tmp_path / "walks",
        data.images,
        data.labels,
        data.class_names,
        manifest={"software": "test"},
        extra_columns={"path": np.arange(30) // 10, "step": np.arange(30) % 10},
    )
    options = ["--quiet", "--measures", "record_ratio", "--holdout", sets["holdout"]]
    assert audit(*options, synthetic=tmp_path / "walks")[0] == 0
    assert numbers(tmp_path / "report")["sets"]["synthetic"]["record_ratio"]["groups"] == 3
    assert audit(*options, "--overwrite")[0] == 0
    assert numbers(tmp_path / "report")["sets"]["synthetic"]["record_ratio"]["groups"] == 30


def test_exit_codes_for_scripts(audit, sets):
    assert audit(*QUICK, "--fail-on", "red", synthetic=sets["real"].parent / "others")[0] == 0
    code, out, _ = audit(*QUICK, "--fail-on", "red", "--overwrite", synthetic=sets["real"])
    assert code == 4
    assert "report:" in out  # it was written all the same
    # Questions that are open make it amber.
    assert audit(*QUICK, "--fail-on", "amber", "--overwrite")[0] == 4


def test_the_report_may_leave_the_house_if_asked(audit, tmp_path):
    assert "shows real images" in audit(*QUICK)[1]
    page = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert "Do not share this page" in page
    assert "without real images" in audit(*QUICK, "--no-real-images", "--overwrite")[1]
    page = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert "Do not share this page" not in page
    for canary in ("person0", str(tmp_path), "clinic-elsewhere"):
        assert canary not in page
        assert canary not in (tmp_path / "report/audit.json").read_text(encoding="utf-8")


def test_an_earlier_report_is_not_replaced(audit, refused, tmp_path):
    assert audit(*QUICK, "--title", "the first")[0] == 0
    before = (tmp_path / "report/report.html").read_bytes()
    assert "--overwrite" in refused(*QUICK, "--title", "the second")
    assert (tmp_path / "report/report.html").read_bytes() == before
    assert audit(*QUICK, "--title", "the second", "--overwrite")[0] == 0
    assert "the second" in (tmp_path / "report/report.html").read_text(encoding="utf-8")


def test_the_walks_identity_classifier(audit, refused, sets, tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    for people in (29, 30):
        network = Classifier(people, 1, 16, 2).eval()
        save_weights(
            weights / "identity.safetensors", network, kind="identity", config=network.config
        )
        options = ["--quiet", "--measures", "reidentification", "--no-use-witness"]
        options += ["--identity", weights, "--holdout", sets["holdout"]]
        if people == 29:
            assert "29 people" in refused(*options)
    assert audit(*options)[0] == 0
    found = numbers(tmp_path / "report")["sets"]["synthetic"]["reidentification"]
    assert found["people"] == 30
    assert found["naming"]["false_naming"] == 0.01


class TestRefusals:
    def test_classes_that_the_real_set_lacks(self, refused, sets, tmp_path):
        data = sets["data"]["s"]
        other = ImageSet(data.images, data.labels, data.identities, ("left", "unheard of"))
        place = tiny_models.write_folder(tmp_path / "other", other)
        assert "matched by name" in refused(*QUICK, synthetic=place)

    def test_a_report_inside_a_set(self, refused, sets):
        code = refused(*QUICK, out=sets["real"] / "left")
        assert "outside the folder --real" in code
        assert not (sets["real"] / "left" / "report.html").exists()

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--measures", "nearest,beauty"], "beauty"),
            (["--skip", "ugliness"], "ugliness"),
            (["--measures", ","], "measures out of"),
            (["--baseline", "no-place"], "--baseline NAME=PATH"),
            (["--baseline", "real=x"], "name of its own"),
            (["--limits-attacks-auc-green", "0.9"], "auc_red"),
            (["--threshold", "7"], "threshold between 0 and 1"),
        ],
    )
    def test_options(self, refused, words, message):
        assert message in refused("--quiet", *words)

    @pytest.mark.parametrize(
        ("options", "named"),
        [({"real": "nowhere"}, "--real"), ({"synthetic": "nowhere"}, "--synthetic")],
    )
    def test_the_set_that_is_absent_is_named(self, refused, options, named):
        assert f"absent ({named}): check" in refused(*QUICK, **options)

    def test_other_sets_that_are_absent_are_named(self, refused):
        assert "absent (--holdout): check" in refused(*QUICK, "--holdout", "nowhere")
        assert "absent (--baseline a): check" in refused(*QUICK, "--baseline", "a=nowhere")

    def test_everything_left_out(self, refused):
        from latentpath.audit import measure_names

        assert "none" in refused("--quiet", "--skip", ",".join(measure_names()))


def test_the_help_says_what_the_codes_mean(audit, capsys):
    with pytest.raises(SystemExit):
        main(["audit", "--help-all"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "4 the report was written and its answer is as bad as --fail-on" in shown
    assert "--limits-closeness-green" in shown
    assert "--membership-shadows" in shown
