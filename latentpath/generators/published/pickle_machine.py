"""A pickle machine that makes plain values, and asks a table of names for everything else.

Python's own unpickler cannot be bounded: a file of a few bytes makes it reserve gigabytes before
a subclass is asked anything. This one is a loop over the instructions of the pickle protocols 0
to 5 (documented in Python's `pickletools`). It imports nothing, calls nothing but the functions
in its table, copies no data, and counts what it makes. What an instruction would do to a real
object, such as setting its state, is done here to three inert kinds of values or refused.

The instructions themselves are in `latentpath.generators.published.pickle_instructions`.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any

from latentpath.generators.published.bounded_reading import BoundedReading, Source, shown
from latentpath.generators.published.pickle_records import Name

Names = Mapping[tuple[str, str], Name]
"""(module, name) to what it stands for; all other names are refused."""

Instruction = Callable[["Machine"], None]

_TITLES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
_STOP = ord(".")


class Machine:
    """Reads one pickle.

    Args:
        source: where it is; afterwards its position is behind the pickle.
        names: the names that the pickle may mention.
        reading: bounds and errors.
        persistent: what a persistent id stands for; without it such ids are refused.
        foreign: raises if a name that is not in `names` betrays another kind of file.
    """

    def __init__(
        self,
        source: Source,
        names: Names,
        reading: BoundedReading,
        persistent: Callable[[Any], Any] | None = None,
        foreign: Callable[[str, str], None] | None = None,
    ) -> None:
        self.source, self.names, self.reading = source, names, reading
        self.persistent, self.foreign = persistent, foreign
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []  # the stacks below each mark
        self.memo: dict[int, Any] = {}
        self._opcode, self._position, self._depth = 0, source.position, 0

    def run(self, instructions: Mapping[int, Instruction]) -> Any:
        """Read up to the end of the pickle and return its value.

        Raises:
            WeightsError: `UnsafePickleError`, `DamagedPickleError` or `OversizedPickleError`.
        """
        while True:
            self._position = self.source.position
            self._opcode = self.source.byte()
            self.reading.count_opcode()
            if self._opcode == _STOP:
                break
            instruction = instructions.get(self._opcode)
            if instruction is None:
                raise self._refused()
            instruction(self)
        value = self.pop()
        if self.stack or self.outer:
            raise self.damaged("values left over at the end")
        return value

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        if len(self.stack) + self._depth >= self.reading.limits.stack:
            raise self._too_deep()
        self.stack.append(value)

    def pop(self) -> Any:
        """Take the topmost value off the stack."""
        if not self.stack:
            raise self.damaged("an empty stack")
        return self.stack.pop()

    def top(self) -> Any:
        """The topmost value, which stays."""
        if not self.stack:
            raise self.damaged("an empty stack")
        return self.stack[-1]

    def mark(self) -> None:
        """Begin a group of values."""
        self._depth += len(self.stack) + 1
        if self._depth >= self.reading.limits.stack:
            raise self._too_deep()
        self.outer.append(self.stack)
        self.stack = []

    def group(self) -> list[Any]:
        """Take the values since the last mark, and the mark."""
        if not self.outer:
            raise self.damaged("a group without a beginning")
        values = self.stack
        self.stack = self.outer.pop()
        self._depth -= len(self.stack) + 1
        return values

    def find(self, module: Any, name: Any) -> Name:
        """What the name `module.name` stands for."""
        if not (isinstance(module, str) and isinstance(name, str)):
            raise self.damaged(f"{shown(module)} and {shown(name)} as a name")
        value = self.names.get((module, name))
        if value is None:
            if self.foreign is not None:
                self.foreign(module, name)
            raise self.unsafe(f"the name {shown(f'{module}.{name}')}")
        return value

    def unsafe(self, what: str) -> Exception:
        """An error about the instruction that is being carried out."""
        return self.reading.unsafe(f"{what} ({self._place()})")

    def damaged(self, what: str) -> Exception:
        """An error about the instruction that is being carried out."""
        return self.reading.damaged(f"{what} ({self._place()})")

    def oversized(self, what: str) -> Exception:
        """An error about the instruction that is being carried out."""
        return self.reading.oversized(f"{what} ({self._place()})")

    def _too_deep(self) -> Exception:
        return self.oversized(f"more than {self.reading.limits.stack:,} values on the stack")

    def _place(self) -> str:
        title = _TITLES.get(self._opcode, f"byte 0x{self._opcode:02x}")
        return f"{title} at byte {self._position:,}"

    def _refused(self) -> Exception:
        if self._opcode in _TITLES:
            return self.unsafe(f"the instruction {_TITLES[self._opcode]}")
        return self.damaged("something that is no instruction of a pickle")
