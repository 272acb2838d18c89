"""What a run finds when it goes on: ledger and shard files brought into agreement."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

from latentpath.core import IntegrityError, hash_bytes
from latentpath.production.plan import Plan
from latentpath.production.run.ledger import DONE, Ledger, ShardRow
from latentpath.production.run.run_folder import RunFolder, RunLog
from latentpath.production.shard import read_shard


@dataclass(frozen=True)
class Recovered:
    """What became of the shards of earlier sessions."""

    kept: int = 0
    """Shards that the ledger and their files agree on."""
    adopted: int = 0
    """Shards on the disk that the ledger did not know of as finished."""
    lost: int = 0
    """Shards that the ledger says are finished, whose files are gone or of another size."""


def recover(plan: Plan, folder: RunFolder, ledger: Ledger, log: RunLog) -> Recovered:
    """Keep every finished shard, whatever happened between its file and its row.

    A shard whose row was not written any more is taken from its file, which describes itself. One
    whose file is gone is made anew. Contents are compared with their checksums when the set is
    written.
    """
    folder.remove_partial()
    rows = {row.number: row for row in ledger.shards() if row.state == DONE}
    kept = adopted = 0
    for number in folder.shard_numbers():
        row = rows.pop(number, None)
        if row is not None and folder.shard(number).stat().st_size == row.bytes:
            kept += 1
            continue
        if row is not None:
            rows[number] = row  # as good as gone
        if _adopt(plan, folder, ledger, number):
            rows.pop(number, None)
            adopted += 1
    for number in rows:
        ledger.forget(number)
    log(f"kept {kept} finished shards, took {adopted} more, lost {len(rows)}")
    return Recovered(kept, adopted, len(rows))


def _adopt(plan: Plan, folder: RunFolder, ledger: Ledger, number: int) -> bool:
    """Enter a finished shard into the ledger by what its file says."""
    path = folder.shard(number)
    try:
        if number >= plan.num_shards:
            raise IntegrityError(
                expected="a shard of this plan", got=str(number), fix="it is removed"
            )
        shard = read_shard(path, number, plan.hash)
    except IntegrityError:
        path.unlink()
        return False
    content = path.read_bytes()
    ledger.note_arithmetic(shard.arithmetic)
    ledger.put(
        ShardRow(
            number,
            DONE,
            attempts=1,
            finished=time.time(),
            sha256=hash_bytes(content),
            bytes=len(content),
            tested=shard.counts.tested,
            accepted=shard.counts.accepted,
            rejected=json.dumps(shard.rejected, sort_keys=True),
        )
    )
    return True


@contextlib.contextmanager
def opened_ledger(plan: Plan, folder: RunFolder, *, rebuild: bool) -> Iterator[Ledger]:
    """Open the ledger of a run, or make it.

    Args:
        plan: the run's plan.
        folder: the run.
        rebuild: put a ledger that is there aside (`.damaged`) and begin an empty one.

    Raises:
        IntegrityError: damaged, or absent although there are finished shards.
    """
    if rebuild:
        for path in folder.private.glob(f"{folder.ledger.name}*"):
            path.replace(path.with_name(f"damaged-{path.name}"))
    if folder.ledger.exists() or (folder.shard_numbers() and not rebuild):
        ledger = Ledger.open(folder.ledger, plan.hash)
    else:
        ledger = Ledger.create(folder.ledger, plan.hash)
    try:
        yield ledger
    finally:
        ledger.close()
