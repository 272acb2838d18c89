"""The CPU kernels from other compilers and for another processor than the one at hand.

Each builds the C++ driver of the kernels, csrc/tests/kernels_test.cpp, and runs it: it compares
every kernel with loops in double.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.kept import kept

ROOT = Path(__file__).resolve().parents[2]
ARM = "aarch64-linux-gnu"

pytestmark = pytest.mark.skipif(
    not (ROOT / "csrc").is_dir(), reason="the C++ sources are not beside the tests"
)


def find(*names):
    """The path of the first of these programs that is here; skips the test where none is."""
    beside_python = os.path.dirname(sys.executable)
    for name in names:
        path = shutil.which(name, path=beside_python) or shutil.which(name)
        if path is not None:
            return path
    pytest.skip(f"needs {' or '.join(names)}, which is not installed")


def run(command, **options):
    ran = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    return ran.stdout + ran.stderr


def build_driver(name, **options):
    """Compile the driver with warnings as errors; a second run finds it in its folder."""
    cmake, ninja = find("cmake"), find("ninja")
    build = ROOT / "build" / name
    switches = {"MODULE": "OFF", "CUDA": "OFF", "TESTS": "ON", "WERROR": "ON"}
    options |= {f"LATENTPATH_{switch}": value for switch, value in switches.items()}
    # One file per instruction set: what the sources share is compiled once.
    options["CMAKE_UNITY_BUILD"] = "ON"
    defined = [f"-D{key}={value}" for key, value in options.items()]
    generator = ["-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    run([cmake, "-S", str(ROOT), "-B", str(build), *generator, *defined])
    run([cmake, "--build", str(build), "--parallel", "2"])
    return build / "kernels_test"


def output_of(driver, *emulator):
    """What the driver prints; one that is the same to the last byte does not run again."""
    made_from = [driver, *emulator, *(run([program, "--version"]) for program in emulator[:1])]
    return kept(made_from, lambda: run([*emulator, str(driver)]))


def test_clang():
    driver = build_driver("clang", CMAKE_CXX_COMPILER=find("clang++"))
    assert "baseline: done" in output_of(driver)


@pytest.mark.parametrize("compiler", [f"{ARM}-g++", "clang++"])
def test_aarch64(compiler):
    """Cross-compiled, and run under the emulator of a user's programs."""
    emulator = find("qemu-aarch64-static", "qemu-aarch64")
    find(f"{ARM}-g++")  # Clang takes its libraries
    driver = build_driver(
        f"aarch64-{compiler}",
        CMAKE_CXX_COMPILER=find(compiler),
        CMAKE_CXX_COMPILER_TARGET=ARM,
        CMAKE_SYSTEM_NAME="Linux",
        CMAKE_SYSTEM_PROCESSOR="aarch64",
    )
    assert "baseline: done" in output_of(driver, emulator, "-L", f"/usr/{ARM}")
