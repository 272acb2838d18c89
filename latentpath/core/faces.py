"""The faces of packages: public names that are loaded when they are first used.

A package's face is its `__init__.pyi`, a list of `from package.module import Name as Name`. Type
checkers and editors read it as it is; at run time `lazy_face` reads the same list, so that a name
is written once, and importing one name of a package does not load the rest of it.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def lazy_face(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The `__getattr__`, `__dir__` and `__all__` of a package whose face is its `__init__.pyi`.

    No public name may be that of one of the package's modules: importing the module would hide it.

    Args:
        package: `__name__` of the package.
    """
    module = sys.modules[package]
    names = face_names(Path(str(module.__file__)).with_suffix(".pyi"))

    def load(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(names[name]), name)
        setattr(module, name, value)
        return value

    def listed() -> list[str]:
        return sorted({*vars(module), *names})

    return load, listed, sorted(names)


def face_names(stub: Path) -> dict[str, str]:
    """Public names of a face, with the modules that define them."""
    return {
        alias.name: str(statement.module)
        for statement in ast.parse(stub.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
