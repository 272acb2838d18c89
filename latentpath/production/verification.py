"""`latentpath verify`: recompute what a synthetic set says of itself.

What can be told from the set alone: that no byte of it changed since its manifest was sealed,
that nothing lies in it but pixels and known entries, that every sample lies on a listed walk
between listed endpoints of its class, and that the certificate agrees with all of this. With the
private file: that every endpoint has at least k distinct people, and that the centroids are their
aggregates. Whoever rewrites a whole set can seal it anew; the seal that was printed when it was
written, noted down elsewhere, tells. Whether two numbers in the private set are one person is
taken as given, as it was when the groups were formed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from latentpath.core import (
    DataError,
    IntegrityError,
    LatentpathError,
    PrivacyError,
    Progress,
    silent,
)
from latentpath.data import NotPlainError, manifest as manifest_file, read_plain_png
from latentpath.production.private_file import hash_file
from latentpath.production.published_entries import (
    SAID,
    identifiers_among,
    odd_values,
    said_public,
    unknown_entries,
)
from latentpath.production.verify_promise import check_certificate, check_private
from latentpath.production.verify_samples import Samples, check_samples, check_walks

# What entries of unexpected types lead to, in a manifest that someone wrote by hand.
_MALFORMED = (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError)

Findings = list[LatentpathError]


@dataclass(frozen=True)
class Verification:
    """What came out of `verify_set`."""

    folder: Path
    """The set."""
    seal: str
    """Seal of its manifest, "" where there is none."""
    findings: tuple[LatentpathError, ...]
    """What is wrong: `IntegrityError` for what was changed, `PrivacyError` for promises that do
    not hold and for what should not be shared."""
    verified: tuple[str, ...]
    """What was checked without a finding, one sentence each."""
    not_verified: tuple[str, ...]
    """What was not checked and why, one sentence each."""
    has_set: bool = True
    """Whether there is a set; a run that is under way has none."""
    cautions: tuple[str, ...] = ()
    """Why a set that is as it was written is not one to share, a clause each."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def lines(self) -> list[str]:
        """The result as text, one line for each finding."""
        found = [f"finding: {type(error).__name__}: {error}" for error in self.findings]
        lines = [f"set: {self.folder}", f"seal: {self.seal or 'none'}", *found]
        lines += [f"verified: {sentence}" for sentence in self.verified]
        lines += [f"not verified: {sentence}" for sentence in self.not_verified]
        return [*lines, f"result: {self.headline}"]

    @property
    def headline(self) -> str:
        """What came out, as a clause."""
        count = len(self.findings)
        if count:
            return f"{count} finding{'s' * (count > 1)}"
        seal = f", seal {self.seal}" if self.seal else ""
        more = f" and {len(self.not_verified)} could not be" if self.not_verified else ""
        checks = f"{len(self.verified)} checks were made{more}"
        if not self.has_set:
            return f"there is no set in {self.folder} yet; nothing is wrong with its run: {checks}"
        told = "".join(f"; {caution}" for caution in self.cautions)
        return f"nothing is wrong with {self.folder}{seal}: {checks}{told}"

    def as_dict(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        return {
            "set": str(self.folder),
            "ok": self.ok,
            "seal": self.seal,
            "findings": [
                {
                    "type": type(error).__name__,
                    "expected": error.expected,
                    "got": error.got,
                    "fix": error.fix,
                }
                for error in self.findings
            ],
            "verified": list(self.verified),
            "not_verified": list(self.not_verified),
            "cautions": list(self.cautions),
        }


def verify_set(
    folder: str | Path,
    private: str | Path | None = None,
    *,
    seal: str | None = None,
    progress: Progress = silent,
) -> Verification:
    """Check a set that `produce` wrote.

    Args:
        folder: the set.
        private: its private file; None checks what the set alone allows.
        seal: the seal that was printed when the set was written, if it was noted down.
        progress: told after every image, stage "verify".

    Raises:
        DataError: the folder or the private file does not exist. All else is a finding.
    """
    folder = Path(folder)
    for path, what in ((folder, "a set's folder"), (Path(private or folder), "a private file")):
        if not path.exists():
            raise DataError(expected=what, got=f"{path}, absent", fix="check the path")
    run = _Run()
    manifest: dict[str, Any] = {}
    run.stage(
        "The manifest is as it was sealed, and has known entries only.",
        lambda found: manifest.update(_read_manifest(folder, found)),
    )
    if manifest and seal is not None:
        run.stage(
            "The seal is the one noted down or named by the report: it is this very set.",
            lambda found: _check_seal(manifest, seal, found),
        )
    if manifest:
        _check_content(run, folder, manifest, private, progress)
    if private is None:
        run.open.append(
            "That every endpoint has at least k distinct people: needs the private file (--private)"
            "."
        )
    if seal is None:
        run.open.append(
            "That the set was not rewritten as a whole: needs the seal printed when it was "
            "written (--seal)."
        )
    run.open.append("That the images are the generator's: needs the networks.")
    return Verification(
        folder,
        str(manifest.get("seal", "")),
        tuple(run.findings),
        tuple(run.verified),
        tuple(run.open),
        cautions=tuple(manifest_file.sharing_cautions(manifest)),
    )


class _Run:
    """Findings and sentences so far."""

    def __init__(self) -> None:
        self.findings: Findings = []
        self.verified: list[str] = []
        self.open: list[str] = []

    def stage(self, sentence: str, check: Callable[[Findings], Any]) -> Any:
        """Run one check; the sentence counts as verified if it finds nothing."""
        found: Findings = []
        result = None
        try:
            result = check(found)
        except LatentpathError as error:
            found.append(error)
        except _MALFORMED as error:
            found.append(_changed(f"entries of other types ({error!r})"))
        if not found:
            self.verified.append(sentence)
        self.findings += found
        return result


def _check_content(
    run: _Run,
    folder: Path,
    manifest: dict[str, Any],
    private: str | Path | None,
    progress: Progress,
) -> None:
    changed: frozenset[str] = (
        run.stage(
            f"All {len(manifest['files'])} files have the listed sizes and SHA-256, and no other "
            "file is there.",
            lambda found: _check_files(folder, manifest, found),
        )
        or frozenset()
    )
    run.stage(
        "No name of a class looks like an identifier of a person.",
        lambda found: _check_class_names(manifest, found, run.open),
    )
    if "certificate" not in manifest:
        name = manifest.get("baseline")
        run.findings.append(
            PrivacyError(
                expected="a set with a certificate",
                got="none" if name is None else f"the baseline {name!r}, which promises nothing",
                fix="share the set that `latentpath produce` wrote",
            )
        )
        return
    which = "The files that are as they were written" if changed else "The files of all layouts"
    samples: Samples | None = run.stage(
        f"{which} agree, and hold the samples and nothing else.",
        lambda found: check_samples(folder, manifest, found, run.open, progress, changed=changed),
    )
    if samples is not None:
        run.stage(
            "Every sample lies on a listed walk between two listed endpoints of its class.",
            lambda found: check_walks(samples, manifest, found),
        )
    run.stage(
        "The certificate agrees with its own hash, the configuration and the endpoints.",
        lambda found: check_certificate(manifest, found),
    )
    if private is not None:
        try:
            for sentence, check in check_private(Path(private), manifest, samples, run.open):
                run.stage(sentence, check)
        except LatentpathError as error:
            run.findings.append(error)
        except _MALFORMED as error:
            run.findings.append(_changed(f"entries of other types ({error!r})"))


def _read_manifest(folder: Path, found: Findings) -> dict[str, Any]:
    """The manifest, its form and its entries checked."""
    try:
        raw = (folder / manifest_file.FILE_NAME).read_bytes()
        content = json.loads(raw)
        again = manifest_file.encode_content(content)
        own = manifest_file.seal(content)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _changed(f"none that can be read ({error})") from error
    if raw != again:
        found.append(_changed("one that is formatted differently"))
    content = manifest_file.read_manifest(folder)
    if content.get("seal") != own:
        found.append(_changed(f"content whose seal is {own}"))
    for where in (*unknown_entries(content), *odd_values(content)):
        found.append(
            PrivacyError(
                expected="entries in the manifest that latentpath writes",
                got=f"{where} in it",
                fix="do not share the set: write it again",
            )
        )
    return content


def _check_class_names(manifest: Mapping[str, Any], found: Findings, not_told: list[str]) -> None:
    reason = identifiers_among(manifest)
    if reason and said_public(manifest):
        not_told.append(SAID)
    elif reason:
        found.append(
            PrivacyError(
                expected="names of classes that may be published",
                got=f"{len(manifest['classes'])} that look like people's: {reason}",
                fix="do not share the set: make it again from classes, not from people",
            )
        )


def _check_seal(manifest: Mapping[str, Any], seal: str, found: Findings) -> None:
    if seal.strip().lower() != manifest.get("seal"):
        found.append(
            IntegrityError(
                expected=f"the set whose seal {seal.strip()} was noted down, or is in the report",
                got=f"one with the seal {manifest.get('seal')}",
                fix="check another set or report; where this should be the one, it was rewritten",
            )
        )


def _changed(got: str) -> IntegrityError:
    return IntegrityError(
        expected=f"a {manifest_file.FILE_NAME} as it was written",
        got=got,
        fix="restore it from a copy, or write the set again",
    )


def _check_files(folder: Path, manifest: Mapping[str, Any], found: Findings) -> frozenset[str]:
    """Compare every file with the list, and the list with what is there.

    Returns:
        Names of the files that are not as they were written.
    """
    listed: Mapping[str, Mapping[str, Any]] = manifest["files"]
    changed = set()
    present = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    parents = {str(parent) for name in listed for parent in PurePosixPath(name).parents}
    expected = set(listed) | parents | {manifest_file.FILE_NAME}
    for name in sorted(set(present) - expected):
        found.append(
            PrivacyError(
                expected="the files of the manifest and no others",
                got=f"{name!r}",
                fix="remove it before the set is shared",
            )
        )
    for name, entry in sorted(listed.items()):
        path = present.get(name)
        if path is None or path.is_symlink() or not path.is_file():
            got = f"{name!r} absent" if path is None else f"{name!r}, which is no file"
        elif path.stat().st_size != entry["bytes"]:
            got = (
                f"{name!r} with {path.stat().st_size} bytes instead of {entry['bytes']}"
                f"{_beside_pixels(path, manifest)}"
            )
        elif hash_file(path) != entry["sha256"]:
            got = f"{name!r} with other content{_beside_pixels(path, manifest)}"
        else:
            continue
        changed.add(name)
        found.append(
            IntegrityError(
                expected="every file as it was written",
                got=got,
                fix="restore it from a copy, or write the set again",
            )
        )
    return frozenset(changed)


def _beside_pixels(path: Path, manifest: Mapping[str, Any]) -> str:
    """What a changed picture holds beside its pixels, in brackets."""
    if path.suffix != ".png":
        return ""
    size = manifest["images"]
    try:
        read_plain_png(path.read_bytes(), size["height"], size["width"], size["channels"])
    except (NotPlainError, OSError) as error:
        return f" ({error})"
    return ""
