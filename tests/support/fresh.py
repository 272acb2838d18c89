"""Python that has imported PyTorch and nothing of ours, for code that must begin afresh.

Importing PyTorch takes two seconds. One process does it, and is forked for every piece of code;
it has no threads yet, which makes that safe.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from support import search_path

_SERVER = """
import json, os, sys, traceback, warnings
import torch
assert not [name for name in sys.modules if name.startswith("latentpath")]
answers = os.fdopen(os.dup(1), "w")
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if not child:
        os.environ.clear()
        os.environ.update(order["environment"])
        for number, path in enumerate((os.devnull, order["out"], order["err"])):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), number)
        sys.argv = ["-c", *order["arguments"]]
        warnings.simplefilter("always")
        code = 0
        try:
            exec(compile(order["code"], "<string>", "exec"), {"__name__": "__main__"})
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)
"""


class Ran(NamedTuple):
    """What became of the code."""

    returncode: int
    stdout: str
    stderr: str


@functools.cache
def _server() -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": search_path()}
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    atexit.register(server.kill)
    return server


def python(code: str, *arguments: str, **environment: str) -> Ran:
    """Run code in a process that has imported PyTorch; every warning is shown.

    Args:
        code: what `python -c` would run.
        arguments: `sys.argv[1:]`.
        environment: names in the environment beside those of this process.
    """
    server = _server()
    assert server.stdin is not None and server.stdout is not None  # noqa: PT018
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        order = {"code": code, "arguments": arguments, "environment": {**os.environ, **environment}}
        print(
            json.dumps({**order, "out": str(out), "err": str(err)}), file=server.stdin, flush=True
        )
        returncode = int(server.stdout.readline())
        return Ran(returncode, out.read_text(), err.read_text())
