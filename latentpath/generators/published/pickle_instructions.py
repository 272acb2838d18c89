"""The instructions that a published pickle may use.

Left out, and so refused by name: INST, OBJ and NEWOBJ_EX (other ways to call a class), PERSID and
the EXT family (names by number), out-of-band buffers, and Python 2's byte strings.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from latentpath.generators.published.bounded_reading import Blob, shown
from latentpath.generators.published.pickle_machine import Instruction, Machine
from latentpath.generators.published.pickle_records import (
    EASY_DICT,
    ArrayRecord,
    DtypeRecord,
    EasyDict,
    LongText,
    Name,
)

_NAME_BYTES = 256
_DIGITS = 40
_PROTOCOLS = range(6)


def _protocol(machine: Machine) -> None:
    if (version := machine.source.byte()) not in _PROTOCOLS:
        raise machine.damaged(f"pickle protocol {version}")


def _frame(machine: Machine) -> None:
    if (size := machine.source.number(8)) > machine.source.left:
        raise machine.damaged(f"a frame of {size:,} bytes, more than are left")


def _constant(value: Any) -> Instruction:
    return lambda machine: machine.push(value)


def _integer(size: int, signed: bool = False) -> Instruction:
    return lambda machine: machine.push(machine.source.number(size, signed))


def _long(length_bytes: int) -> Instruction:
    def long(machine: Machine) -> None:
        size = machine.source.number(length_bytes)
        if size > machine.reading.limits.integer_bytes:
            raise machine.oversized(f"an integer of {size:,} bytes")
        machine.push(machine.source.number(size, signed=True))

    return long


def _decimal(machine: Machine) -> None:  # protocol 0; booleans are spelled 00 and 01
    line = machine.source.line(_DIGITS).removesuffix(b"L")
    if line in (b"00", b"01"):
        machine.push(line == b"01")
        return
    digits = line.removeprefix(b"-")
    if not digits.isdigit():
        raise machine.damaged(f"{line!a} as an integer")
    machine.push(int(line))


def _decimal_float(machine: Machine) -> None:
    line = machine.source.line(_DIGITS)
    try:
        machine.push(float(line))
    except ValueError as error:
        raise machine.damaged(f"{line!a} as a number") from error


def _float(machine: Machine) -> None:
    machine.push(struct.unpack(">d", machine.source.read(8))[0])


def _text(length_bytes: int) -> Instruction:
    def text(machine: Machine) -> None:
        blob = machine.source.blob(machine.source.number(length_bytes))
        if len(blob) > machine.reading.limits.text_bytes:
            machine.push(LongText(blob, "utf-8"))  # of use as the spelling of bytes alone
            return
        machine.push(_decoded(machine, bytes(blob.view()), "utf-8", "surrogatepass"))

    return text


def _text_line(machine: Machine) -> None:
    line = machine.source.line(machine.source.left)
    if len(line) > machine.reading.limits.text_bytes:
        machine.reading.count_copied(len(line))
        machine.push(LongText(Blob(line), "raw-unicode-escape"))
        return
    machine.push(_decoded(machine, line, "raw-unicode-escape", "strict"))


def _decoded(machine: Machine, data: bytes, encoding: str, errors: str) -> str:
    machine.reading.count_text(len(data))
    try:
        return data.decode(encoding, errors)
    except UnicodeDecodeError as error:
        raise machine.damaged("a text with impossible characters") from error


def _bytes(length_bytes: int) -> Instruction:
    return lambda machine: machine.push(machine.source.blob(machine.source.number(length_bytes)))


def _empty(kind: type) -> Instruction:
    return lambda machine: machine.push(kind())


def _list(machine: Machine) -> None:
    machine.push(machine.group())


def _tuple(machine: Machine) -> None:
    machine.push(tuple(machine.group()))


def _short_tuple(length: int) -> Instruction:
    def short_tuple(machine: Machine) -> None:
        values = [machine.pop() for _ in range(length)]
        machine.push(tuple(reversed(values)))

    return short_tuple


def _dict(machine: Machine) -> None:
    values = machine.group()
    made: dict[Any, Any] = {}
    _set_items(machine, made, values)
    machine.push(made)


def _frozen_set(machine: Machine) -> None:
    machine.push(frozenset(checked_keys(machine.damaged, machine.group())))


def _append(machine: Machine) -> None:
    value = machine.pop()
    _topmost(machine, list).append(value)


def _appends(machine: Machine) -> None:
    values = machine.group()
    _topmost(machine, list).extend(values)


def _set_item(machine: Machine) -> None:
    value, key = machine.pop(), machine.pop()
    _set_items(machine, _topmost(machine, dict), [key, value])


def _set_many(machine: Machine) -> None:
    values = machine.group()
    _set_items(machine, _topmost(machine, dict), values)


def _add_items(machine: Machine) -> None:
    values = machine.group()
    _topmost(machine, set).update(checked_keys(machine.damaged, values))


def _set_items(machine: Machine, made: dict[Any, Any], values: list[Any]) -> None:
    if len(values) % 2:
        raise machine.damaged("a key without a value")
    keys = checked_keys(machine.damaged, values[::2])
    made.update(zip(keys, values[1::2], strict=True))


def _topmost(machine: Machine, kind: type) -> Any:
    value = machine.top()
    if not isinstance(value, kind):
        raise machine.unsafe(f"items put into {shown(value)}")
    return value


def checked_keys(error: Callable[[str], Exception], keys: list[Any]) -> list[Any]:
    """Return `keys` if they may be keys of a dict or members of a set, else raise.

    Others would take long to hash (nested tuples), or have equal hashes on purpose (large ints).
    """
    for key in keys:
        if not (isinstance(key, str) or (isinstance(key, int) and abs(key) < 1 << 31)):
            raise error(f"{shown(key)} as a key")
    return keys


def _put(machine: Machine, index: int) -> None:
    machine.memo[index] = machine.top()


def _get(machine: Machine, index: int) -> None:
    if index not in machine.memo:
        raise machine.damaged(f"an unknown value number {index}")
    machine.push(machine.memo[index])


def _by_line(act: Callable[[Machine, int], None]) -> Instruction:
    def by_line(machine: Machine) -> None:
        line = machine.source.line(_DIGITS)
        if not line.isdigit():
            raise machine.damaged(f"{line!a} as the number of a value")
        act(machine, int(line))

    return by_line


def _by_number(act: Callable[[Machine, int], None], size: int) -> Instruction:
    return lambda machine: act(machine, machine.source.number(size))


def _pop(machine: Machine) -> None:
    # Python's own unpickler lets POP take a mark as well; so do recursive tuples' pickles.
    if machine.stack:
        machine.stack.pop()
    else:
        machine.group()


def _pop_group(machine: Machine) -> None:
    machine.group()


def _duplicate(machine: Machine) -> None:
    machine.push(machine.top())


def _name(machine: Machine) -> None:
    parts = [machine.source.line(_NAME_BYTES) for _ in range(2)]
    module, name = (part.decode("utf-8", "backslashreplace") for part in parts)
    machine.push(machine.find(module, name))


def _stack_name(machine: Machine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.push(machine.find(module, name))


def _call(machine: Machine) -> None:
    arguments, function = machine.pop(), machine.pop()
    if not isinstance(function, Name) or function.call is None:
        raise machine.unsafe(f"a call of {shown(function)}")
    if not isinstance(arguments, tuple):
        raise machine.damaged(f"a call of {function.title} with {shown(arguments)}")
    machine.push(function.call(arguments, machine.reading))


def _new_object(machine: Machine) -> None:
    arguments, kind = machine.pop(), machine.pop()
    if kind is not EASY_DICT or not isinstance(arguments, tuple) or arguments:
        raise machine.unsafe(f"an object made of {shown(kind)}")
    machine.push(EasyDict())


def _build(machine: Machine) -> None:
    state, value = machine.pop(), machine.top()
    if isinstance(value, EasyDict) and isinstance(state, dict):
        machine.reading.count_items(len(state))
        value.update(state)
    elif isinstance(value, (DtypeRecord, ArrayRecord)) and isinstance(state, tuple):
        value.set_state(state, machine.reading)
    else:
        raise machine.unsafe(f"a state given to {shown(value)}")


def _persistent_id(machine: Machine) -> None:
    key = machine.pop()
    if machine.persistent is None:
        raise machine.unsafe("a persistent id, which only files of torch.save hold")
    machine.push(machine.persistent(key))


_ALLOWED: dict[bytes, Instruction] = {
    b"\x80": _protocol,
    b"\x95": _frame,
    b"N": _constant(None),
    b"\x88": _constant(True),
    b"\x89": _constant(False),
    b")": _constant(()),
    b"K": _integer(1),
    b"M": _integer(2),
    b"J": _integer(4, signed=True),
    b"\x8a": _long(1),
    b"\x8b": _long(4),
    b"I": _decimal,
    b"L": _decimal,
    b"F": _decimal_float,
    b"G": _float,
    b"\x8c": _text(1),
    b"X": _text(4),
    b"\x8d": _text(8),
    b"V": _text_line,
    b"C": _bytes(1),
    b"B": _bytes(4),
    b"\x8e": _bytes(8),
    b"\x96": _bytes(8),
    b"]": _empty(list),
    b"}": _empty(dict),
    b"\x8f": _empty(set),
    b"l": _list,
    b"t": _tuple,
    b"\x85": _short_tuple(1),
    b"\x86": _short_tuple(2),
    b"\x87": _short_tuple(3),
    b"d": _dict,
    b"\x91": _frozen_set,
    b"a": _append,
    b"e": _appends,
    b"s": _set_item,
    b"u": _set_many,
    b"\x90": _add_items,
    b"p": _by_line(_put),
    b"q": _by_number(_put, 1),
    b"r": _by_number(_put, 4),
    b"\x94": lambda machine: _put(machine, len(machine.memo)),
    b"g": _by_line(_get),
    b"h": _by_number(_get, 1),
    b"j": _by_number(_get, 4),
    b"(": Machine.mark,
    b"0": _pop,
    b"1": _pop_group,
    b"2": _duplicate,
    b"c": _name,
    b"\x93": _stack_name,
    b"R": _call,
    b"\x81": _new_object,
    b"b": _build,
    b"Q": _persistent_id,
}
INSTRUCTIONS: dict[int, Instruction] = {code[0]: act for code, act in _ALLOWED.items()}


def unpickle(machine: Machine) -> Any:
    """Read one pickle with these instructions; see `Machine.run`."""
    return machine.run(INSTRUCTIONS)
