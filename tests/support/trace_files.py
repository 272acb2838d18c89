"""Which of the package's files one `latentpath produce` enters, and which modules an import loads.

    PYTHONPATH=. python tests/support/trace_files.py

A file counts as entered when one of its functions is called while the command runs; what importing
a module calls does not count.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TRACED = """
import inspect, json, sys, threading
from pathlib import Path

sys.path.insert(0, {tests!r})

import latentpath
from support import tiny_models

package, root = str(Path(latentpath.__file__).parent), Path({root!r})
data = tiny_models.private_set()
tiny_models.write_folder(root / "images", data)
tiny_models.save_bundle(root, tiny_models.bundle_for(data))
entered = set()

def profile(frame, event, _):
    code = frame.f_code
    if event != "call" or not code.co_filename.startswith(package):
        return
    # The bodies of modules and classes are no functions: they lack this flag.
    if all(f.f_code.co_flags & inspect.CO_OPTIMIZED for f in (frame, frame.f_back) if f):
        entered.add((code.co_filename[len(package) + 1 :], code.co_name))

from latentpath.cli import main

threading.setprofile(profile)
sys.setprofile(profile)
code = main(["produce", "--data", str(root / "images"), "--weights", str(root), "--quiet",
             "--out", str(root / "run"), "--k", "3", "--steps", "5", "--passes", "1",
             "--count", "6", "--gate-quantile", "0.05", "--gate-identity", "1"])
sys.setprofile(None)
json.dump({{"code": code, "functions": sorted(entered)}}, sys.stdout)
"""


def files_of_a_run() -> dict[str, list[str]]:
    """Files that one `latentpath produce` enters, with their functions, on the tiny set."""
    with tempfile.TemporaryDirectory() as root:
        traced = json.loads(_python(TRACED.format(root=root, tests=str(ROOT / "tests"))))
    assert traced["code"] == 0
    files: dict[str, list[str]] = {}
    for file, function in traced["functions"]:
        files.setdefault(file, []).append(function)
    return files


def modules_of(module: str) -> list[str]:
    """Modules of the package that importing one of them loads."""
    code = (
        f"import json, sys; import {module}; "
        "print(json.dumps(sorted(n for n in sys.modules if n.split('.')[0] == 'latentpath')))"
    )
    return json.loads(_python(code))


def _python(code: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    return ran.stdout.splitlines()[-1]


def main() -> None:
    """Print both."""
    files = files_of_a_run()
    for file, functions in files.items():
        print(f"{file}: {', '.join(functions)}")
    count = sum(map(len, files.values()))
    print(f"\nlatentpath produce enters {len(files)} files and {count} functions")
    for module in ("latentpath.production.produce_config", "latentpath.production.gate"):
        print(f"import {module} loads {len(modules_of(module))} modules")


if __name__ == "__main__":
    main()
