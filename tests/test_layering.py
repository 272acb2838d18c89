"""What importing the package costs, and which part may know which."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import latentpath
from latentpath.core.faces import face_names

PACKAGE = Path(latentpath.__file__).parent
EXTRAS = (
    "monai",
    "PIL",
    "safetensors",
    "rich",
    "matplotlib",
    "jinja2",
    "mlxtend",
    "scipy",
    "sklearn",
    "pandas",
    "ray",
    "triton",
    "pydicom",
    "pyarrow",
)


def run(code: str) -> str:
    """What `code` prints in an interpreter of its own."""
    paths = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


def test_import_needs_torch_and_numpy_alone():
    code = f"""
import sys, torch
before = set(sys.modules)
import latentpath
loaded = {{name.split(".")[0] for name in set(sys.modules) - before}}
print(sorted(loaded & set({EXTRAS!r})))
print(sorted(name for name in sys.modules if name.startswith("latentpath.")))
"""
    extras, parts = run(code).splitlines()
    assert extras == "[]"
    assert parts == "['latentpath._version', 'latentpath.core', 'latentpath.core.faces']"


def test_walking_needs_no_extra():
    """With every extra absent, the public names resolve and a walk runs, without torch.compile:
    importing that would take two seconds."""
    code = f"""
import sys
for name in {EXTRAS!r}:
    sys.modules[name] = None
import torch, latentpath
from latentpath.core import MissingExtraError
from latentpath.generators import FunctionGenerator
for name in latentpath.__all__:
    getattr(latentpath, name)
g = FunctionGenerator(lambda w: w.reshape(-1, 1, 2, 2), latent_dim=4)
model = lambda images: images.flatten(1)
path = latentpath.get_privacy_path(torch.zeros(4), torch.ones(4), model, model, g, 5, 1,
                                   optim_steps=2)
print(tuple(path.shape), "torch._dynamo" in sys.modules)
try:
    latentpath.load_generator("nothing.safetensors")
except MissingExtraError as error:
    print(error)
"""
    shape, error = run(code).splitlines()
    assert shape == "(5, 4) False"
    assert "latentpath[pipeline]" in error


@pytest.mark.parametrize("word", ["--help", "--version", "nonsense"])
def test_help_needs_no_torch(word):
    """Options are made from the pipeline's configurations once a command's name was typed."""
    code = f"""
import contextlib, io, sys
from latentpath.cli import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    with contextlib.redirect_stderr(io.StringIO()):
        main([{word!r}])
print("torch" in sys.modules)
"""
    assert run(code) == "False"


def test_public_names():
    for name in latentpath.__all__:
        assert getattr(latentpath, name) is not None
        assert name in dir(latentpath)
    assert {"walk", "load_generator", "get_privacy_path"} <= set(latentpath.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = latentpath.nonsense


def test_no_public_name_hides_a_module():
    modules = {path.stem for path in PACKAGE.iterdir()}
    assert not (set(latentpath.__all__) - {"__version__"}) & modules


# The house plan: who knows whom. What these know, they know too.
KNOWS = {
    "core": (),
    "_version": (),
    "ops": (),
    "data": (),
    "generators": ("ops",),
    "similarity": ("ops", "data"),
    "models": ("generators", "similarity"),
    "energy": ("ops", "models"),
    "walks": ("energy",),
    "ksame": ("ops",),
    "training": ("models", "walks"),
    "audit": ("models", "training", "data"),
    "production": ("models", "energy", "walks", "ksame", "training", "data", "audit"),
    "compat": ("walks", "ksame", "similarity", "audit"),
    "experiments": ("production", "audit"),
    "project": ("production", "audit", "training", "similarity"),
    "cli": ("experiments", "project", "production", "audit", "training"),
    "__main__": ("cli",),
    # Public names, resolved on first use; never the command line.
    "__init__": ("compat", "production"),
}
EVERYWHERE = {"core", "_version"}

# Modules that other packages may import as modules, past the face: their names need the prefix.
PAST_THE_FACE = {
    "latentpath.core.faces.lazy_face",
    "latentpath.data.manifest",
    "latentpath.ops.dispatch",
}


def allowed(part: str) -> set[str]:
    known = {part} | EVERYWHERE
    for other in KNOWS[part]:
        known |= allowed(other)
    return known


def part_of(module: str) -> str:
    """`latentpath.ops.path_step` is in `ops`; the package itself is `__init__`."""
    return [*module.split("."), "__init__"][1]


def imported_parts(path: Path) -> set[tuple[str, int]]:
    """Parts of the package that a file imports, at any level, with line numbers."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            module = node.module or ""
            names = [module]
            if module == "latentpath":
                # A part, or a public name of the package itself.
                names = [f"latentpath.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "latentpath":
                found.add((part_of(name), node.lineno))
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


def test_the_plan_names_every_part():
    parts = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES}
    assert parts == set(KNOWS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_point_down_only(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for other, line in imported_parts(path):
        name = other if other in KNOWS or other == "_C" else "__init__"
        assert name in allowed(part) | ({"_C"} if part == "ops" else set()), (
            f"{path}:{line}: {part} must not know {other}"
        )


def past_the_face(path: Path, part: str) -> set[str]:
    """What a file of `part` imports from another package that is not on that package's face."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        names = node.module.split(".")
        if names[0] != "latentpath" or len(names) < 2 or names[1] in (part, "_version"):
            continue
        public = importlib.import_module(f"latentpath.{names[1]}").__all__
        found |= {
            f"{node.module}.{alias.name}"
            for alias in node.names
            if len(names) > 2 or alias.name not in public
        }
    return found


def test_packages_meet_at_their_faces():
    found = set()
    for path in FILES:
        found |= past_the_face(path, path.relative_to(PACKAGE).parts[0].removesuffix(".py"))
    assert found <= PAST_THE_FACE, found - PAST_THE_FACE


@pytest.mark.parametrize("stub", sorted(PACKAGE.rglob("__init__.pyi")), ids=lambda p: p.parent.name)
def test_faces(stub):
    """Every name of a face is there, and none is that of a module, which would hide it."""
    package = ".".join(["latentpath", *stub.parent.relative_to(PACKAGE).parts])
    face = importlib.import_module(package)
    for name in face_names(stub):
        assert getattr(face, name) is not None
        assert name in dir(face)
        assert not (stub.parent / f"{name}.py").exists()
        assert not (stub.parent / name).is_dir()
    with pytest.raises(AttributeError, match="nonsense"):
        _ = face.nonsense


def test_nothing_imports_the_command_line():
    for path in FILES:
        if path.relative_to(PACKAGE).parts[0] not in ("__main__.py", "cli"):
            assert "cli" not in {other for other, _ in imported_parts(path)}, path


def test_a_violation_is_found(tmp_path):
    """The test above can fail: an import inside a function counts."""
    file = tmp_path / "bad.py"
    file.write_text("def f():\n    from latentpath.production import produce\n")
    assert imported_parts(file) == {("production", 2)}
    assert "production" not in allowed("ops")
    assert "training" not in allowed("walks")
    assert "cli" not in allowed("production")
