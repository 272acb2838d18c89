"""Builds `latentpath._C` with CMake; everything else about the package is in pyproject.toml.

Environment:
    LATENTPATH_NO_EXTENSION=1: install pure Python.
    LATENTPATH_CUDA=0: leave the CUDA kernels out even where nvcc is found.
    LATENTPATH_CUDA_ARCHITECTURES: GPU architectures in CMake's notation, "80-real;90" by default
        (code for sm_80 and sm_90, and PTX that newer GPUs compile for themselves). With 90 among
        them nvcc 12.3 or later makes bank_lse's kernel for sm_90a, too.
    CXX, CUDACXX, CMAKE_BUILD_PARALLEL_LEVEL: as CMake takes them.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()


class BuildWithCMake(build_ext):
    """Run CMake where setuptools would run a compiler."""

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        build = Path(self.build_temp).resolve()
        build.mkdir(parents=True, exist_ok=True)
        configure = [_cmake(), "-S", str(ROOT), "-B", str(build), *_options(target.parent)]
        subprocess.run(configure, check=True)
        jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 1))
        subprocess.run([_cmake(), "--build", str(build), "--parallel", jobs], check=True)


def _cmake() -> str:
    try:
        import cmake
    except ImportError:
        return "cmake"
    return str(Path(cmake.CMAKE_BIN_DIR) / "cmake")


def _options(output: Path) -> list[str]:
    import pybind11

    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_LIBRARY_OUTPUT_DIRECTORY": str(output),
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind11.get_cmake_dir(),
        "LATENTPATH_CUDA": os.environ.get("LATENTPATH_CUDA", "ON"),
    }
    if "LATENTPATH_CUDA_ARCHITECTURES" in os.environ:
        options["LATENTPATH_CUDA_ARCHITECTURES"] = os.environ["LATENTPATH_CUDA_ARCHITECTURES"]
    arguments = [f"-D{name}={value}" for name, value in options.items()]
    ninja = _ninja()
    return [*arguments, "-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else arguments


def _ninja() -> str | None:
    try:
        import ninja
    except ImportError:
        return shutil.which("ninja")
    return str(Path(ninja.BIN_DIR) / "ninja")


def _extensions() -> list[Extension]:
    """Return the extension, or nothing where it is not wanted or there is no compiler for it."""
    if os.environ.get("LATENTPATH_NO_EXTENSION", "0") not in ("", "0"):
        return []
    compilers = (os.environ.get("CXX", "").split(" ")[0], "c++", "g++", "clang++")
    if sys.platform == "win32" or not any(name and shutil.which(name) for name in compilers):
        print(
            "latentpath: no C++ compiler (GCC or Clang) found, installing without compiled kernels",
            file=sys.stderr,
        )
        return []
    return [Extension("latentpath._C", sources=[])]


setup(ext_modules=_extensions(), cmdclass={"build_ext": BuildWithCMake})
