"""The compiled sources: sanitizers, warnings as errors, installs without a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from support.kept import kept

ROOT = Path(__file__).resolve().parents[2]
# Those for one GPU alone have a test of their own (test_bank_lse_sm90.py).
CUDA_SOURCES = [
    path for path in sorted((ROOT / "csrc" / "cuda").glob("*.cu")) if "_sm90" not in path.stem
]

needs_sources = pytest.mark.skipif(
    not (ROOT / "csrc").is_dir(), reason="the C++ sources are not beside the tests"
)


def run(command, **options):
    ran = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    return ran.stdout + ran.stderr


@needs_sources
def test_cpu_kernels_under_the_address_and_ub_sanitizers():
    """Compiles with warnings as errors too. The build folder stays, so a second run is fast."""
    cmake = shutil.which("cmake", path=os.path.dirname(sys.executable)) or shutil.which("cmake")
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if cmake is None or compiler is None:
        pytest.skip("needs CMake and a C++ compiler")
    build = ROOT / "build" / "sanitize"
    ninja = shutil.which("ninja", path=os.path.dirname(sys.executable)) or shutil.which("ninja")
    generator = ["-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else []
    switches = {"MODULE": "OFF", "CUDA": "OFF", "TESTS": "ON", "SANITIZE": "ON", "WERROR": "ON"}
    options = [f"-DLATENTPATH_{name}={value}" for name, value in switches.items()]
    # One file per instruction set: what the sources share is compiled once, in half the time.
    options.append("-DCMAKE_UNITY_BUILD=ON")
    run([cmake, "-S", str(ROOT), "-B", str(build), *generator, *options])
    run([cmake, "--build", str(build), "--parallel", "2"])
    driver = build / "kernels_test"
    made_from = [driver, run([compiler, "--version"])]  # the sanitizers are libraries of it
    assert "baseline: done" in kept(made_from, lambda: run([str(driver)]))


@needs_sources
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("source", CUDA_SOURCES, ids=lambda path: path.stem)
def test_cuda_kernels_compile_without_warnings_or_spills(source, architecture, tmp_path):
    options = [
        *("-std=c++17", f"-arch={architecture}"),
        *("-Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra,-Werror"),
        *("-Xptxas", "-v,-warn-spills"),
    ]
    here = [f"-I{ROOT / 'csrc'}", "-c", str(source), "-o", str(tmp_path / "kernel.o")]
    made_from = [
        run(["nvcc", "--version"]),
        *options,
        *sorted((ROOT / "csrc").rglob("*.h")),
        source,
    ]
    assert "0 bytes spill stores" in kept(made_from, lambda: run(["nvcc", *options, *here]))


@needs_sources
def test_pure_python_wheel(tmp_path):
    """LATENTPATH_NO_EXTENSION=1 builds a wheel without compiled code, tagged for any machine."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "CMakeLists.txt"):
        shutil.copy(ROOT / name, source)
    for name in ("README.md", "LICENSE", "NOTICE"):
        (source / name).write_text("")
    ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.safetensors")
    shutil.copytree(ROOT / "latentpath", source / "latentpath", ignore=ignored)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "-w", str(tmp_path)]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(source)]
    run(command, env=os.environ | {"LATENTPATH_NO_EXTENSION": "1"})
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "latentpath/ops/kl_uniform.py" in names
    assert "latentpath/ops/triton/bank_lse_kernel.py" in names
    assert not [name for name in names if name.endswith(".so") or "_C." in name]


@needs_sources
def test_sdist_holds_all_that_a_wheel_is_made_of(tmp_path):
    """Sources of the extension, weights, pages, stubs and licences; nothing compiled."""
    command = ["egg_info", "--egg-base", str(tmp_path), "sdist", "--dist-dir", str(tmp_path)]
    environment = os.environ | {"LATENTPATH_NO_EXTENSION": "1"}
    run([sys.executable, "setup.py", "-q", *command], env=environment, cwd=ROOT)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        packed = {name.partition("/")[2] for name in opened.getnames()}
    wanted = {"CMakeLists.txt", "setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE"}
    for folder in ("latentpath", "csrc"):
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
        made = (".pyc", ".so")
        wanted |= {path.relative_to(ROOT).as_posix() for path in files if path.suffix not in made}
    assert wanted <= packed, sorted(wanted - packed)
    assert not [name for name in packed if name.endswith((".so", ".pyc"))]


@needs_sources
def test_without_a_compiler_the_install_goes_on_without_kernels(tmp_path):
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    code = (
        "import runpy, setuptools\n"
        "setuptools.setup = lambda **options: print('extensions', options['ext_modules'])\n"
        f"runpy.run_path({str(ROOT / 'setup.py')!r})"
    )
    output = run([sys.executable, "-c", code], env=environment, cwd=ROOT)
    assert "extensions []" in output
    assert "no C++ compiler" in output
