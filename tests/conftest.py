"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import getpass
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Triton reads it when it is imported, which any test may cause: its kernels run interpreted here,
# but for the tests on a real GPU.
if not any(argument.startswith("--device") for argument in sys.argv):
    os.environ.setdefault("TRITON_INTERPRET", "1")

# What torch.compile made for other instruction sets must not come back from its cache: it reads
# rows of 8 numbers as if they were 16.
os.environ.setdefault(
    "TORCHINDUCTOR_CACHE_DIR",
    os.path.join(
        tempfile.gettempdir(),
        f"torchinductor-{getpass.getuser()}-{os.environ.get('ATEN_CPU_CAPABILITY', 'native')}",
    ),
)

# No page is printed unless a test asks for it: a browser takes seconds to start.
os.environ.setdefault("LATENTPATH_BROWSER", "")

import pytest
from hypothesis import settings

from support.old_interpreter import mend_interpreter
from support.plain_figures import draw_nothing

MEMORY = Path("/dev/shm")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", help="run tests/gpu on a real GPU, such as cuda")


def pytest_configure() -> None:
    """Keep temporary files in memory, where there is plenty.

    Runs flush all they write to the disk, and the tests write thousands of files: there nobody
    waits for that.
    """
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4 << 30:
        may_run = not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
        if may_run and os.access(MEMORY, os.W_OK):
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


# The same examples on every run and machine, however slow it is today.
settings.register_profile("latentpath", deadline=None, derandomize=True, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=1000)  # --hypothesis-profile
settings.load_profile("latentpath")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    """Tests are small: more threads than this only get in each other's way under pytest-xdist.

    Not when this module is imported, so that pytest-xdist's own process does without PyTorch.
    """
    import torch

    torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(scope="session", autouse=True)
def _texts_as_typed() -> Iterator[None]:
    """Texts are tested as the command line has them; `test_option_words` tests what they are to
    whoever calls from Python."""
    from latentpath.core import on_command_line

    with on_command_line():
        yield


@pytest.fixture(scope="session", autouse=True)
def _interpreter() -> None:
    mend_interpreter()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and published figures beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the folder ../shared/data beside the repository, which is absent")
    return SHARED_DATA


@pytest.fixture(scope="session")
def reference_dir(shared_data: Path) -> Path:
    """The published figures: `.npz` and `.png` files."""
    folder = shared_data / "reference"
    if not folder.is_dir():
        pytest.skip("needs the folder ../shared/data/reference, which is absent")
    return folder


@pytest.fixture
def plain_figures(monkeypatch):
    """Pages without figures, which take most of a page's time: for tests of what else it says."""
    draw_nothing(monkeypatch)


# Modules with tests of many seconds. They come first, so that no worker is left with one of them
# when the others have nothing to do any more.
SLOW = (
    "test_other_compilers", "test_native_build", "test_demo", "test_experiment", "test_ray",
    "test_pretended",
    "test_planted_leaks", "test_duplicates", "test_faults", "test_triton_compile", "test_cli",
    "test_run", "test_produce", "test_fast", "test_bench_walk", "test_audit_page",
)  # fmt: skip


def pytest_collection_finish() -> None:
    """All that was collected stays: the garbage collector need not look at it again and again."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {f"{name}.py": number for number, name in enumerate(SLOW)}
    items.sort(key=lambda item: rank.get(item.path.name, len(SLOW)))
