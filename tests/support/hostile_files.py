"""Pickles that mean harm, each with the kind of error that must meet it and what it must name.

`COLLECTION` maps a name to (bytes, error, words of the message). The bytes are made without any
of the code that they ask for.
"""

from __future__ import annotations

import os
import pickle

import numpy as np
import torch

from latentpath.core.errors import WeightsError
from latentpath.generators.published import (
    DamagedPickleError,
    ForeignFileError,
    OversizedPickleError,
    UnsafePickleError,
)
from support import hostile_data, published_files as published, published_stylegan3
from support.pickle_assembler import (
    COMMAND,
    MARKER,
    Calls,
    call,
    floats,
    name,
    network,
    stack_name,
    storage,
    tensor,
    text,
    valid,
    value,
    whole,
    within,
)


def _beside_a_generator(key, trap):
    return published.pickled({**published.snapshot(published.small()), key: trap})


def _in_a_layer(trap):
    stand_in = published.small()
    stand_in.synthesis.b8.conv0.affine.__dict__["trap"] = trap
    return published.pickled(published.snapshot(stand_in))


CALLS = [
    ("os.system", COMMAND), ("posix.system", COMMAND), ("nt.system", COMMAND),
    ("subprocess.Popen", COMMAND), ("subprocess.check_output", ["touch", MARKER]),
    ("builtins.eval", f"__import__('os').system({COMMAND!r})"),
    ("builtins.exec", "raise SystemExit"),
    ("builtins.getattr", "x", "upper"), ("builtins.__import__", "this"),
    ("builtins.compile", "1", "", "eval"), ("builtins.open", MARKER, "w"),
    ("builtins.print", MARKER),
    ("__builtin__.eval", "1"), ("__main__.main",), ("importlib.import_module", "this"),
    ("runpy.run_path", MARKER), ("pickle.loads", "x"), ("_pickle.loads", "x"),
    ("marshal.loads", "x"),
    ("torch.load", MARKER), ("torch.serialization.load", MARKER), ("torch.hub.load", "a/b", "c"),
    ("torch.jit.load", MARKER), ("torch._utils._rebuild_from_type_v2", 1),
    ("torch.nn.Linear", 2, 2),
    ("torch.classes.load_library", MARKER), ("torch.ops.load_library", MARKER),
    ("numpy.fromfile", MARKER), ("numpy.load", MARKER), ("numpy.core.multiarray.fromfile", MARKER),
    ("codecs.open", MARKER, "w"), ("_codecs.decode", "x", "zip"), ("functools.partial", 1),
    ("operator.attrgetter", "x"), ("operator.methodcaller", "x"), ("types.CodeType", 1),
    ("types.FunctionType", 1), ("ctypes.CDLL", "libc.so.6"), ("socket.create_connection", "x"),
    ("pty.spawn", "sh"), ("webbrowser.open", "x"), ("shutil.rmtree", MARKER), ("os.remove", MARKER),
    ("copyreg.add_extension", "os", "system", 1), ("copyreg.__newobj__", 1),
    ("zipimport.zipimporter", "x"),
    ("collections.Counter",), ("builtins.dict",), ("builtins.list",), ("builtins.object",),
    ("torch_utils.persistence._src_to_module", "raise SystemExit"),
    ("dnnlib.util.open_url", "file:///x"),
    ("dnnlib.util.call_func_by_name",), ("torch_utils.custom_ops.get_plugin", "x"),
]  # fmt: skip


def _calls():
    for title, *arguments in CALLS:
        kind = UnsafePickleError
        yield f"call {title}", whole(call(title, *arguments)), kind, title
        yield f"call {title} in a network", within(call(title, *arguments)), kind, title


def _instructions():
    evil = name("os.system")
    yield "INST", whole(b"(" + text(COMMAND) + b"ios\nsystem\n"), UnsafePickleError, "INST"
    yield "OBJ", whole(b"(", name("builtins.set"), text("x"), b"o"), UnsafePickleError, "OBJ"
    yield "NEWOBJ of another class", whole(evil, b")\x81"), UnsafePickleError, "os.system"
    for title in ("collections.OrderedDict", "builtins.set", "numpy.dtype", "numpy.ndarray"):
        yield f"NEWOBJ {title}", whole(name(title), b")\x81"), UnsafePickleError, title
    easy = name("dnnlib.util.EasyDict")
    yield "NEWOBJ with arguments", whole(easy, value(([1],)), b"\x81"), UnsafePickleError, "NEWOBJ"
    yield "NEWOBJ_EX", whole(easy, b")}\x92"), UnsafePickleError, "NEWOBJ_EX"
    for code, title in (
        (b"\x82\x01", "EXT1"),
        (b"\x83\x01\0", "EXT2"),
        (b"\x84\x01\0\0\0", "EXT4"),
    ):
        yield title, whole(code), UnsafePickleError, title
    yield "PERSID", whole(b"Pstorage\n"), UnsafePickleError, "PERSID"
    yield "BINPERSID", whole(value(("storage", "x")), b"Q"), UnsafePickleError, "BINPERSID"
    yield "STRING", whole(b"S'os'\n"), UnsafePickleError, "STRING"
    yield "SHORT_BINSTRING", whole(b"U\x02os"), UnsafePickleError, "SHORT_BINSTRING"
    yield "NEXT_BUFFER", whole(b"\x97", protocol=5), UnsafePickleError, "NEXT_BUFFER"
    yield "READONLY_BUFFER", whole(b"N\x98", protocol=5), UnsafePickleError, "READONLY_BUFFER"
    yield "protocol 6", whole(b"N", protocol=6), DamagedPickleError, "protocol 6"
    yield "no instruction", whole(b"\xff"), DamagedPickleError, "0xff"
    yield "REDUCE of a text", whole(text("os.system"), b")R"), UnsafePickleError, "'os.system'"
    yield "REDUCE of a network", whole(network({}), b")R"), UnsafePickleError, "'Generator'"
    called = call("torch._utils._rebuild_parameter", tensor((2,), (1,)), False, value({}))
    yield "REDUCE of a tensor", whole(called, b")R"), UnsafePickleError, "a tensor"
    yield "REDUCE without a tuple", whole(name("builtins.set"), b"NR"), DamagedPickleError, "set"


def _names():
    dotted = [
        ("os", "path.join"), ("torch", "storage._load_from_bytes"), ("torch.storage", "io.open"),
        ("torch._utils", "_rebuild_parameter.__globals__"), ("builtins", "set.__class__"),
        ("collections", "OrderedDict.__subclasses__"), ("", ""), ("os", ""), ("", "system"),
        ("dnnlib.util", "EasyDict.__init__.__globals__"), ("torch.float32", "__class__"),
        ("numpy.core.multiarray", "scalar.__self__"), ("os\n", "system"), ("\udc80", "system"),
    ]  # fmt: skip
    for module, attribute in dotted:
        data = whole(stack_name(module, attribute))
        word = attribute.split(".")[-1] if attribute else "name"
        yield f"STACK_GLOBAL {module!a} {attribute!a}", data, UnsafePickleError, word
    yield "STACK_GLOBAL of numbers", whole(b"K\1K\2\x93"), DamagedPickleError, "1 and 2"
    yield (
        "GLOBAL of a long name",
        whole(b"c" + b"a" * 5000 + b"\nb\n"),
        OversizedPickleError,
        "line",
    )
    yield "GLOBAL of odd bytes", whole(b"c\xff\x00\nb\n"), UnsafePickleError, "ff"


def _arguments():
    """Calls that the published code makes, with what it never hands them."""
    sized, scalar = name("torch.Size"), "numpy.core.multiarray.scalar"
    unsafe, damaged = UnsafePickleError, DamagedPickleError
    for title, arguments, kind in [
        ("torch_utils.persistence._reconstruct_persistent_obj", ("x",), damaged),
        ("torch._utils._rebuild_tensor_v2", (1, 2), damaged),
        ("torch._utils._rebuild_parameter", (), damaged),
        ("torch.storage._load_from_bytes", ("x",), damaged),
        ("_codecs.encode", ("x", "zip"), unsafe), ("_codecs.encode", (1, "latin1"), unsafe),
        ("_codecs.encode", ("€", "latin1"), damaged),
        ("builtins.bytes", (1 << 40,), unsafe), ("collections.OrderedDict", ([],), unsafe),
        ("builtins.set", (3,), unsafe), ("builtins.set", ([1],), unsafe),
        ("torch.Size", (3,), damaged), ("torch.Size", ((1,), (2,)), damaged),
        ("torch.device", (), damaged), ("torch.device", (0,), damaged),
        ("copyreg._reconstructor", (sized, name("builtins.dict"), {}), unsafe),
        (scalar, (1,), damaged),
        ("numpy.core.multiarray._reconstruct", (sized, (0,), "b"), unsafe),
        ("numpy.core.numeric._frombuffer", (1,), damaged),
        ("numpy.dtype", (), unsafe), ("numpy.dtype", ("O8", False, True), unsafe),
    ]:  # fmt: skip
        said = ", ".join("a name" if isinstance(a, bytes) else repr(a) for a in arguments)
        yield f"{title}({said})", within(call(title, *arguments)), kind, ""


def _states():
    """BUILD, which may set anything on Python's own objects."""
    evil = value({"__setstate__": text("x"), "__class__": name("builtins.dict")})
    yield "BUILD on a dict", whole(b"}", evil, b"b"), UnsafePickleError, "a dict"
    yield "BUILD on a list", whole(b"]", evil, b"b"), UnsafePickleError, "a list"
    yield "BUILD on a network", whole(network({}), evil, b"b"), UnsafePickleError, "'Generator'"
    yield "BUILD on a name", whole(name("builtins.set"), evil, b"b"), UnsafePickleError, "set"
    yield "BUILD on a tensor", whole(tensor((2,), (1,)), evil, b"b"), UnsafePickleError, "a tensor"
    yield "BUILD on a storage", whole(storage(floats()), evil, b"b"), UnsafePickleError, "a storage"
    ordered = call("collections.OrderedDict")
    yield "BUILD on an ordered dict", whole(ordered, evil, b"b"), UnsafePickleError, "a dict"
    easy = name("dnnlib.util.EasyDict") + b")\x81"
    slots = value((None, {"a": 1}))
    yield "BUILD with slots", whole(easy, slots, b"b"), UnsafePickleError, "an EasyDict"
    yield "SETITEM on a list", whole(b"]", text("a"), b"Ns"), UnsafePickleError, "a list"
    yield "APPEND to a dict", whole(b"}Na"), UnsafePickleError, "a dict"
    yield "APPENDS to a network", whole(network({}), b"(Ne"), UnsafePickleError, "'Generator'"
    yield "ADDITEMS to a dict", whole(b"}(K\1\x90"), UnsafePickleError, "a dict"
    yield "a tuple as a key", whole(b"})Ns"), DamagedPickleError, "a tuple"
    yield "a network as a key", whole(b"}", network({}), b"Ns"), DamagedPickleError, "'Generator'"
    yield "a huge integer as a key", whole(b"}", value(1 << 100), b"Ns"), DamagedPickleError, "key"


def _placed():
    """One call in each place of a valid file."""
    system = "system"
    trap = Calls(os.system, COMMAND)
    for key in ("D", "augment_pipe", "training_set_kwargs", "G", "G_ema", "anything"):
        yield f"os.system as {key}", _beside_a_generator(key, trap), UnsafePickleError, system
    yield "os.system in a layer", _in_a_layer(trap), UnsafePickleError, system
    yield "eval in a layer", _in_a_layer(Calls(eval, "1")), UnsafePickleError, "eval"
    stand_in = published.small()
    stand_in._init_kwargs["mapping_kwargs"]["num_layers"] = trap
    yield "os.system as an argument", published.pickled(stand_in), UnsafePickleError, system
    stand_in = published.small()
    stand_in.register_forward_hook(print)
    yield "a hook", published.pickled(stand_in), UnsafePickleError, "print"
    yield "a class", _in_a_layer(torch.nn.ReLU), UnsafePickleError, "ReLU"
    yield "an object array", _in_a_layer(np.array([None, 1])), UnsafePickleError, "dtype"
    yield "a function", _in_a_layer(os.path.join), UnsafePickleError, "join"


def _glued():
    data = valid()
    yield "two files in one", data + data, DamagedPickleError, "after the end"
    yield "bytes behind the end", data + b"\0", DamagedPickleError, "1 bytes after"
    yield "an end at once", whole(), DamagedPickleError, "stack"
    yield "values left over", whole(b"NN"), DamagedPickleError, "left over"
    yield "a mark left over", whole(b"(N"), DamagedPickleError, "left over"
    for code in (b"0", b"1", b"2", b"t", b"d", b"e", b"u", b"a", b"s", b"R", b"b", b"\x85", b"q\0"):
        yield f"an empty stack, {code!a}", whole(code), (DamagedPickleError, UnsafePickleError), ""


def _alias_free():
    """StyleGAN3: options that would build filters and layers without end, and calls among them."""

    def changed(**arguments):
        network = published_stylegan3.generator()
        network._init_kwargs.update(arguments)
        return published.pickled({"G_ema": network})

    yield "a filter of 2**22 taps", changed(filter_size=1 << 20), WeightsError, "taps"
    radial = changed(filter_size=300, use_radial_filters=True)
    yield "a radial filter of 1,200**2 taps", radial, WeightsError, "taps"
    yield (
        "an activation at 2**20 times the rate",
        changed(lrelu_upsampling=1 << 20),
        WeightsError,
        "",
    )
    for attribute, trap in (("num_layers", 10**6), ("margin_size", 1 << 20)):
        network = published_stylegan3.generator()
        setattr(network.synthesis, attribute, trap)
        data = published.pickled({"G_ema": network})
        yield f"StyleGAN3 of {trap} {attribute}", data, WeightsError, ""
    trap = Calls(os.system, COMMAND)
    yield (
        "os.system as an option of StyleGAN3",
        changed(filter_size=trap),
        UnsafePickleError,
        "system",
    )
    for place in ("in_size", "in_cutoff", "padding"):
        network = published_stylegan3.generator()
        setattr(network.synthesis.L1_22_4, place, trap)
        data = published.pickled({"G_ema": network})
        yield f"os.system as {place} of StyleGAN3", data, UnsafePickleError, "system"
    network = published_stylegan3.generator()
    network.synthesis.input.size = np.array([None, 3])
    data = published.pickled({"G_ema": network})
    yield "an object array as size of StyleGAN3", data, UnsafePickleError, "dtype"


def _tensorflow():
    title = "dnnlib.tflib.network.Network"
    data = whole(b"(", (name(title) + b")\x81}" + text("version") + b"K\5sb") * 3, b"t", protocol=3)
    yield "a TensorFlow pickle", data, ForeignFileError, "TensorFlow"
    yield (
        "an older TensorFlow pickle",
        whole(name("tfutil.Network")),
        ForeignFileError,
        "TensorFlow",
    )


SOURCES = (
    _calls,
    _instructions,
    _names,
    _arguments,
    _states,
    _placed,
    _glued,
    _alias_free,
    _tensorflow,
    *hostile_data.SOURCES,
)


def collection():
    """All hostile files: name -> (bytes, error, words of the message)."""
    found = {}
    for source in SOURCES:
        for title, data, kind, words in source():
            assert title not in found, title
            found[title] = data, kind, words
    return found


def as_pickle_sees(data):
    """Whether Python's own unpickler at least parses the instructions of `data`."""
    import pickletools

    try:
        list(pickletools.genops(data))
    except (ValueError, pickle.UnpicklingError):
        return False
    return True
