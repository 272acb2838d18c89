"""`latentpath verify` of a whole run: plan, ledger, shards, and that the set follows from them."""

from __future__ import annotations

from pathlib import Path

from latentpath.core import RESUME, IntegrityError, LatentpathError, Progress, option, silent
from latentpath.data import is_written_set
from latentpath.production.plan import Plan, read_plan
from latentpath.production.private_file import read_record
from latentpath.production.run.ledger import DONE, Ledger, ShardRow, schedule_of
from latentpath.production.run.run_folder import RunFolder
from latentpath.production.run.set_writer import LostShardError, SampleSource, stored_shards
from latentpath.production.selection import select
from latentpath.production.shard import read_shard
from latentpath.production.verification import Verification, verify_set

STAGE = "verify shards"


def verify_run(
    root: str | Path,
    private: str | Path | None = None,
    *,
    seal: str | None = None,
    progress: Progress = silent,
) -> Verification:
    """Check a run and, if it is finished, its set with its private file.

    Args:
        root: the run's folder, or that of the project that it is part of.
        private: the set's private file, if it was moved.
        seal: the seal that was printed when the set was written, if it was noted down.
        progress: told after every shard and image.

    Raises:
        DataError: the private file that was named does not exist. All else is a finding.
    """
    folder = RunFolder.in_or_at(root)
    findings: list[LatentpathError] = []
    verified: list[str] = []
    not_verified: list[str] = []
    of_set: Verification | None = None
    if is_written_set(folder.set):
        file = private or (folder.private_file if folder.private_file.exists() else None)
        of_set = verify_set(folder.set, file, seal=seal, progress=progress)
        findings += of_set.findings
        verified += of_set.verified
        not_verified += of_set.not_verified
    else:
        not_verified.append("The set: it is not written yet.")
    try:
        plan = read_plan(folder.plan)
        ledger = Ledger.read(folder.ledger, plan.hash)
        try:
            rows = [row for row in ledger.shards() if row.state == DONE]
            counted = schedule_of(plan, ledger)
        finally:
            ledger.close()
        verified.append("Plan and ledger of the run are as they were written.")
        bad = _check_shards(plan, folder, rows, progress)
        findings += bad
        if not bad:
            verified.append(f"All {len(rows)} finished shards are as they were stored.")
        if of_set is not None and not bad and counted.complete:
            numbers = set(counted.counted())
            chosen = tuple(row for row in rows if row.number in numbers)
            _check_set_follows(plan, folder, chosen)
            verified.append("The set's samples are those that plan and shards give.")
    except LatentpathError as error:
        findings.append(error)
    stated = "" if of_set is None else of_set.seal
    return Verification(
        folder.root,
        stated,
        tuple(findings),
        tuple(verified),
        tuple(not_verified),
        has_set=of_set is not None,
        cautions=() if of_set is None else of_set.cautions,
    )


def _check_shards(
    plan: Plan, folder: RunFolder, rows: list[ShardRow], progress: Progress
) -> list[LatentpathError]:
    bad: list[LatentpathError] = []
    for done, row in enumerate(rows, start=1):
        try:
            read_shard(folder.shard(row.number), row.number, plan.hash, row.sha256)
        except IntegrityError as error:
            bad.append(error)
        progress(STAGE, done, len(rows), {})
    return bad


def _check_set_follows(plan: Plan, folder: RunFolder, rows: tuple[ShardRow, ...]) -> None:
    """Raise IntegrityError unless the private file was written for what the shards give."""
    try:
        chosen = select(plan, [row.counts for row in rows])
        with SampleSource(plan, chosen, stored_shards(plan, folder, rows)) as source:
            for _ in source.samples():
                pass
            digest = source.digest()
    except LostShardError as error:
        raise error.reason from error
    if read_record(folder.private_file).samples != digest:
        raise IntegrityError(
            expected="the set that plan and shards give",
            got="another one",
            fix=f"remove the folder 'set' and {option(RESUME)}, which writes it again",
        )
