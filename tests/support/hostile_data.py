"""Hostile arrays, storages, tensors and networks, and files that ask for too much of anything.

Each is (name, bytes, error, words of the message), as in `hostile_files`.
"""

from __future__ import annotations

import os
import struct

import torch

from latentpath.generators.published import (
    DamagedPickleError,
    ForeignFileError,
    OversizedPickleError,
    UnsafePickleError,
)
from support.pickle_assembler import (
    COMMAND,
    Calls,
    blob,
    call,
    floats,
    get,
    name,
    network,
    put,
    saved,
    storage,
    tensor,
    text,
    value,
    whole,
    within,
)


def _arrays():
    def dtype(code, order="<", *more):
        state = value((3, order, *(more or (None, None, None)), -1, -1, 0))
        return call("numpy.dtype", code, False, True) + state + b"b"

    for code in ("O8", "O", "V8", "U4", "S3", "M8", "c16", "f16", "f8,O", "", "os.system"):
        part = call("numpy.dtype", code, False, True)
        yield f"dtype {code}", within(part), UnsafePickleError, "dtype"
    yield "dtype of a number", within(call("numpy.dtype", 3)), UnsafePickleError, "dtype"
    fields = (None, value(("a",)), value({"a": (name("builtins.set"), 0)}))
    yield "dtype with fields", within(dtype("f8", "<", *fields)), UnsafePickleError, "dtype"
    yield "dtype of odd order", within(dtype("f8", "!")), UnsafePickleError, "dtype"
    scalar = "numpy.core.multiarray.scalar"
    yield "scalar of objects", within(call(scalar, "O", blob(b"x" * 8))), UnsafePickleError, "NumPy"
    short = call(scalar, dtype("f8"), blob(b"x" * 7))
    yield "scalar of 7 bytes", within(short), DamagedPickleError, "7 bytes"
    rebuilt = "numpy.core.multiarray._reconstruct"
    other = call(rebuilt, name("builtins.set"), (0,), blob(b"b"))
    yield "array of another class", within(other), UnsafePickleError, "class"
    array = call(rebuilt, name("numpy.ndarray"), (0,), blob(b"b"))
    for shape in ((1 << 40,), (1 << 50,), (-1,), (3,), ("x",), (2,) * 9, [2]):
        state = value((1, shape, dtype("f8"), False, blob(b"x" * 16)))
        yield f"array of shape {shape}", within(array + state + b"b"), DamagedPickleError, "NumPy"
    objects = value((1, (1,), value("O"), False, [name("builtins.set")]))
    yield "array of objects", within(array + objects + b"b"), UnsafePickleError, "NumPy"
    yield "array called", within(call("numpy.ndarray", (2,))), UnsafePickleError, "numpy.ndarray"


def _nested():
    """Bytes within `_load_from_bytes`, which the published loader gives to `torch.load`."""
    trap = Calls(os.system, COMMAND)
    system = "posix.system" if os.name == "posix" else "nt.system"
    for zipped in (False, True):
        kind = "zip" if zipped else "stream"
        data = within(storage(saved(trap, zipped)))
        yield f"os.system in a nested {kind}", data, UnsafePickleError, system
        data = within(storage(saved([torch.zeros(2), trap], zipped)))
        yield f"os.system behind a nested tensor, {kind}", data, UnsafePickleError, "name"
        data = within(storage(saved({"a": 1}, zipped)))
        yield f"a dict in a nested {kind}", data, DamagedPickleError, "storage"
        data = within(storage(saved(torch.nn.Linear(2, 2), zipped)))
        yield f"a module in a nested {kind}", data, UnsafePickleError, "Linear"
    stream = floats()
    magic, version, facts, rest = stream[:15], stream[15:21], stream[21:137], stream[137:]
    evil = whole(call("os.system", COMMAND), protocol=2)
    for place, parts in {
        "magic number": [evil, version, facts, rest],
        "version": [magic, evil, facts, rest],
        "machine": [magic, version, evil, rest],
        "object": [magic, version, facts, evil, rest],
        "keys": [magic, version, facts, rest[: rest.index(b"Q.") + 2], evil],
    }.items():
        data = within(storage(b"".join(parts)))
        yield f"os.system as nested {place}", data, UnsafePickleError, "'os.system'"
    again = whole(storage(floats()), protocol=2)
    data = within(storage(magic + version + facts + again))
    yield "_load_from_bytes in nested bytes", data, UnsafePickleError, "_load_from_bytes"
    for key in (
        ("module", name("os.system"), "x.py", "source"),
        ("storage", name("os.system"), "0", "cpu", 4, None),
        ("storage", name("torch.FloatStorage"), "0", "cpu", 4, ("1", 0, 4)),
        ("storage", name("torch.FloatStorage"), "0", "cpu", 4),
    ):
        inner = whole(value(key), b"Q", protocol=2)
        data = within(storage(magic + version + facts + inner + rest[-40:]))
        word = "os.system" if b"os\nsystem" in inner else "persistent id"
        yield f"persistent id {key[0]} {len(key)} {word}", data, UnsafePickleError, word
    yield (
        "a plain pickle in nested bytes",
        within(storage(whole(b"K\1"))),
        DamagedPickleError,
        "torch",
    )
    yield "nothing in nested bytes", within(storage(b"")), DamagedPickleError, "end"
    yield (
        "a text as nested bytes",
        within(call("torch.storage._load_from_bytes", "x")),
        (DamagedPickleError),
        "storage",
    )


def _storages():
    def changed(old, new):
        assert floats().count(old) == 1
        return within(storage(floats().replace(old, new)))

    counted = struct.pack("<q", 4)
    for count in (3, 5, -1, 1 << 60, -(1 << 63)):
        data = changed(counted + bytes(6), struct.pack("<q", count) + bytes(6))
        yield f"a storage counted as {count}", data, DamagedPickleError, "storage"
    for count in (3, 5, 255):
        data = changed(b"cpuq\x03K\x04", b"cpuq\x03K" + bytes([count]))
        yield f"a storage announced as {count}", data, DamagedPickleError, f"{count} elements"
    huge = changed(b"cpuq\x03K\x04", b"cpuq\x03\x8a\x08" + struct.pack("<q", (1 << 62) + 4))
    yield "a storage of 2**62", huge, DamagedPickleError, "elements"
    for kind in ("ComplexFloatStorage", "QInt8Storage", "UntypedStorage", "Storage", "load"):
        yield kind, changed(b"FloatStorage", kind.encode()), UnsafePickleError, f"torch.{kind}"
    data = changed(b"ctorch\nFloatStorage", b"ctorch.xla\nFloatStorage")
    yield "a storage of another device", data, UnsafePickleError, "torch.xla"
    yield "a longer storage", within(storage(floats() + b"1234")), DamagedPickleError, "storage"
    yield "a shorter storage", within(storage(floats()[:-1])), DamagedPickleError, "storage"
    archive = saved(torch.arange(4.0).storage(), zipped=True)
    entry, end = archive.index(b"PK\x01\x02"), archive.rindex(b"PK\x05\x06")
    for what, place, new, kind in [
        ("method", entry + 10, b"\x08", UnsafePickleError),
        ("encryption", entry + 8, b"\x01", UnsafePickleError),
        ("checksum", entry + 16, b"\0\0\0\0", DamagedPickleError),
        ("packed size", entry + 20, b"\xff\xff\xff\x7f", UnsafePickleError),
        ("both sizes", entry + 20, b"\xff\xff\xff\x7f" * 2, DamagedPickleError),
        ("offset", entry + 42, b"\xff\xff\xff\x7f", DamagedPickleError),
        ("a wrong offset", entry + 42, b"\x07\0\0\0", DamagedPickleError),
        ("a long name", entry + 28, b"\xff\xff", DamagedPickleError),
        ("another name", entry + 46, b"/elsewhere"[:9], DamagedPickleError),
        ("entry", entry, b"PK\x07\x08", DamagedPickleError),
        ("number", end + 10, b"\xff\xff", OversizedPickleError),
        ("fewer", end + 10, b"\0\0", DamagedPickleError),
        ("more", end + 10, b"\x20\0", DamagedPickleError),
        ("directory", end + 16, b"\xff\xff\xff\x7f", DamagedPickleError),
        ("end", end, b"PK\0\0", DamagedPickleError),
        ("data", archive.index(b"ctorch\n") + 7, b"Doub", DamagedPickleError),
    ]:
        broken = archive[:place] + new + archive[place + len(new) :]
        yield f"a zip archive, {what}", within(storage(broken)), kind, ""
    yield "half a zip archive", within(storage(archive[:100])), DamagedPickleError, "zip archive"


def _tensors():
    for size, stride, offset in [
        ((5,), (1,), 0), ((4,), (1,), 1), ((2, 2), (3, 1), 0), ((2,), (1,), -1), ((-2,), (1,), 0),
        ((2,), (-1,), 1), ((2,), (1, 1), 0), ((1 << 63,), (1,), 0), ((1 << 40, 1 << 40), (1, 1), 0),
        ((2,), (1 << 40,), 0), (("2",), (1,), 0), ((2.0,), (1,), 0), ((True,), (1,), 0),
        ([2], (1,), 0), ((2,), None, 0), ((2,), (1,), "0"), ((1,), (0,), 1 << 62),
    ]:  # fmt: skip
        data = within(tensor(size, stride, offset))
        kind = (DamagedPickleError, OversizedPickleError)
        yield f"a tensor {size} {stride} {offset}", data, kind, "tensor"
    yield "a tensor of 9 axes", within(tensor((1,) * 9, (1,) * 9)), OversizedPickleError, "9"
    yield (
        "a tensor of a text",
        within(tensor((1,), (1,), data=text("x"))),
        DamagedPickleError,
        "'x'",
    )
    hooks = value({"a": 1})
    yield "a tensor with hooks", within(tensor((1,), (1,), hooks=hooks)), UnsafePickleError, "hooks"
    parameter = call("torch._utils._rebuild_parameter", "x", False, value({}))
    yield "a parameter of a text", within(parameter), DamagedPickleError, "parameter"
    expanded = tensor((1 << 20, 1 << 20), (0, 0))
    data = whole(value({"G_ema": _generator_with(expanded)}))
    yield "a terabyte of one number", data, OversizedPickleError, "bytes"


def _generator_with(weight, **sizes):
    sizes = {"z_dim": 4, "c_dim": 0, "w_dim": 4, "img_resolution": 4, "img_channels": 1, **sizes}
    layer = network({"_parameters": {"weight": weight}}, "FullyConnectedLayer")
    mapping = network({"_modules": {"fc0": layer}}, "MappingNetwork")
    parts = {"synthesis": network({}, "SynthesisNetwork"), "mapping": mapping}
    return network({"_init_kwargs": sizes, "_modules": parts})


def _bombs():
    most = OversizedPickleError
    yield "LONG4 of 2 GB", whole(b"\x8b\xff\xff\xff\x7f"), most, "LONG4"
    yield "LONG4 of a negative size", whole(b"\x8b\xff\xff\xff\xff"), most, "LONG4"
    yield "LONG1 of 255 bytes", whole(b"\x8a\xff" + b"\x7f" * 255), most, "LONG1"
    yield "INT of 300 digits", whole(b"I" + b"9" * 300 + b"\n"), most, "line"
    for code, title in ((b"\x8e", "BINBYTES8"), (b"\x8d", "BINUNICODE8"), (b"\x96", "BYTEARRAY8")):
        for size in (1 << 33, (1 << 63) - 1, (1 << 64) - 1):
            data = whole(code + struct.pack("<Q", size) + b"x", protocol=5)
            yield f"{title} of {size}", data, DamagedPickleError, "end"
    frame = whole(b"\x95" + struct.pack("<Q", 1 << 62) + b"N")
    yield "FRAME of 2**62", frame, DamagedPickleError, "FRAME"
    yield "BINBYTES of 4 GB", whole(b"B\xff\xff\xff\xffx"), DamagedPickleError, "end"
    yield "a memo of 2**32", whole(b"N" + put(0xFFFFFFFF)), ForeignFileError, "None"
    yield "PUT of 39 digits", whole(b"Np" + b"9" * 39 + b"\n"), ForeignFileError, "None"
    yield "an absent memo", whole(get(7)), DamagedPickleError, "7"
    yield "instructions", whole(b"N0" * 600_000), most, "instructions"
    yield "empty sets", whole(b"\x8f0" * 600_000), most, "instructions"
    yield "a deep stack", whole(b"N" * 200_000), most, "stack"
    yield "many marks", whole(b"(" * 200_000), most, "stack"
    yield "a memo of many", whole(b"}" + b"\x94" * 1_100_000), most, "instructions"
    yield "deep tuples", whole(b")" + b"\x85" * 400_000), ForeignFileError, "a tuple"
    yield "a list without a mark", whole(b"Nl"), DamagedPickleError, "group"
    yield "doubled tuples", whole(b")" + b"2\x86" * 200_000), ForeignFileError, "a tuple"
    link = name("torch_utils.persistence._reconstruct_persistent_obj") + value(
        ({"type": "class", "version": 6, "module_src": "", "class_name": "Link",
          "state": {"next": get(0)}},)
    ) + b"R" + put(0) + b"0"  # fmt: skip
    chain = whole(b"N" + put(0) + b"0" + link * 10_000 + get(0))
    yield "a long chain of networks", chain, ForeignFileError, "'Link'"
    doubled = b")" + b"2\x86" * 100
    yield "doubled tuples as a key", whole(b"}" + doubled + b"Ns"), DamagedPickleError, "a tuple"
    yield "doubled tuples as a size", within(tensor(doubled, (1,))), DamagedPickleError, "a tuple"
    yield "doubled tuples as a name", whole(doubled + b"N\x93"), DamagedPickleError, "a tuple"
    yield "doubled tuples as type", whole(network({}, type=doubled)), DamagedPickleError, "a tuple"
    words = value([f"word{i}" for i in range(20_000)])
    once = name("builtins.set") + put(1) + b"0" + words + put(2) + b"0"
    copied = whole(once + (get(1) + get(2) + b"\x85R0") * 1000 + b"N")
    yield "a list copied many times", copied, most, "copied items"
    letters = name("_codecs.encode") + put(1) + b"0" + value("x" * 1_000_000) + put(2) + b"0"
    spelled = whole(letters + (get(1) + get(2) + text("latin1") + b"\x86R0") * 1000 + b"N")
    yield "bytes spelled many times", spelled, most, "bytes to copy"
    long = "y" * (2 << 20)
    yield "a long text as a class", whole(network({}, class_name=long)), DamagedPickleError, "text"
    yield "long source text", whole(network({}, module_src=long)), DamagedPickleError, "text"


def _networks():
    """Records that contain themselves, or the same part so often that walking takes forever."""
    modules = b"}" + put(1)
    sizes = {"z_dim": 4, "c_dim": 0, "w_dim": 4, "img_resolution": 4, "img_channels": 1}
    cycle = network(value({"_init_kwargs": sizes, "_modules": modules})) + put(2)
    cycle += b"0" + get(1) + text("synthesis") + get(2) + b"s" + text("mapping") + get(2) + b"s0"
    yield (
        "a network in itself",
        whole(cycle + value({"G_ema": get(2)})),
        DamagedPickleError,
        "nested",
    )
    inner = network({}) + put(0)
    wide = b""
    for level in range(1, 5):
        children = {f"c{i}": get(level - 1) for i in range(300)}
        wide += b"0" + network({"_modules": children}) + put(level)
    top = network({"_init_kwargs": sizes, "_modules": {"synthesis": get(3), "mapping": get(3)}})
    yield (
        "a network 27 million parts wide",
        whole(inner + wide + b"0" + value({"G_ema": top})),
        (OversizedPickleError),
        "items",
    )
    for part in ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set"):
        state = {"_modules": {"synthesis": network({}), "mapping": network({})}}
        state = {"_init_kwargs": sizes, **state, part: "x"}
        data = whole(value({"G_ema": network(state)}))
        yield f"a text as {part}", data, DamagedPickleError, part
    state = {"_modules": {"synthesis": text("x"), "mapping": network({})}}
    yield "a text as a module", whole(network(state)), DamagedPickleError, "'x'"
    for changed in ({"w_dim": 1 << 20}, {"img_resolution": 1 << 20}, {"z_dim": 1 << 40}):
        data = whole(_generator_with(tensor((2, 2), (2, 1)), **changed))
        yield f"a generator of {changed}", data, ValueError, ""
    source = f"__import__('os').system({COMMAND!r})"
    data = whole(network({}, module_src=source, type="function"))
    yield "source text that runs", data, DamagedPickleError, "'function'"


SOURCES = (_arrays, _nested, _storages, _tensors, _bombs, _networks)
