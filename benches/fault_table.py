"""Break runs in every way that is tested, more often than the tests do, and write down the losses.

    python benches/fault_table.py                # 50 kills, and all fault tests
    python benches/fault_table.py --kills 500

Rows go to results/faults.csv: the fault, how often it was tried, where the run was, and how often a
finished shard was lost or made twice, a set differed from the undisturbed one's, or a run could not
be gone on with. A test that fails counts as a loss.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent / "tests"
TABLE = HERE / "results" / "faults.csv"
COLUMNS = ("fault", "tries", "where", "losses")
FAULTS = {
    "test_asked_to_stop_it_stops_at_a_shard": "Ctrl-C and SIGTERM",
    "test_asked_twice_it_stops_at_once": "Ctrl-C twice",
    "test_a_worker_is_killed_and_the_set_is_the_same": "kill -9 of a worker under Ray",
    "test_the_driver_is_killed_and_the_run_goes_on": "kill -9 of the driver under Ray",
    "test_full_again_and_again": "disk full at every stage",
    "test_files_may_not_grow": "quota for the size of a file",
    "test_read_only": "folder read-only",
    "test_bits_that_flip_are_found_or_do_no_harm": "bits flipped in the ledger (25 each)",
    "test_damage_is_named_and_the_ledger_made_anew": "ledger gone, empty, cut, foreign, changed",
    "test_the_ledger_of_another_run": "ledger of another run",
    "test_the_second_is_refused": "two runs in one folder",
    "test_other_networks_are_refused": "networks changed between start and resume",
    "test_other_data_is_refused": "data changed between start and resume",
    "test_other_options_are_refused": "options changed between start and resume",
    "test_plan": "plan damaged",
    "test_shards_gone_cut_or_changed_are_made_anew": "shards damaged before the set was written",
    "test_a_shard": "a shard damaged afterwards (found by verify)",
    "test_an_image_of_the_set": "an image of the set damaged afterwards (found by verify)",
    "test_a_shard_that_fails_too_often_stops_the_run_and_it_goes_on": "a shard that always fails",
    "test_every_shard_fails_once": "every shard fails once",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="processes to kill [50]")
    options = parser.parse_args()
    rows = [_killed(options.kills), *_tested()]
    TABLE.parent.mkdir(exist_ok=True)
    with TABLE.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(", ".join(str(value) for value in row.values()))
    return int(any(row["losses"] for row in rows))


def _killed(kills: int) -> dict[str, object]:
    """Kill processes at random moments."""
    sys.path.insert(0, str(TESTS))
    from latentpath.production import RunFolder
    from support import killable

    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / "undisturbed")
        assert killable.finish(killable.start(folder.root)) == 0
        expected = killable.outcome(folder)
        tally = killable.Kills()
        for tally in killable.kill_again_and_again(Path(place), kills, expected):
            print(f"{tally.tries} killed, {tally.finished} runs finished", file=sys.stderr)
    where = ", ".join(f"{count} {name}" for name, count in sorted(tally.phases.items()))
    return {
        "fault": "kill -9 at random moments",
        "tries": tally.tries,
        "where": f"{where}; {tally.finished} runs finished",
        "losses": tally.lost + tally.different + tally.failed,
    }


def _tested() -> list[dict[str, object]]:
    """Run the tests of the other faults and count them."""
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", str(TESTS / "production" / "run")]
        command += ["-p", "no:cacheprovider", f"--junitxml={report}", "-k", " or ".join(FAULTS)]
        subprocess.run(command, check=False, cwd=TESTS.parent)
        cases = ElementTree.parse(report).getroot().iter("testcase")
        tries: Counter[str] = Counter()
        losses: Counter[str] = Counter()
        for case in cases:
            name = case.get("name", "").split("[")[0]
            if name not in FAULTS or case.find("skipped") is not None:
                continue
            tries[name] += 1
            losses[name] += case.find("failure") is not None or case.find("error") is not None
    return [
        {"fault": fault, "tries": tries[name], "where": "", "losses": losses[name]}
        for name, fault in FAULTS.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
