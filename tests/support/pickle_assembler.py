"""A small assembler of pickles: instructions as bytes, to be joined.

`value` writes plain values without a memo, so that parts can be put together in any way.
"""

from __future__ import annotations

import io
import struct
import warnings

import torch

from support import published_files as published, published_networks as networks

MARKER = "latentpath-hostile-marker"  # a file that hostile commands would make
COMMAND = f"touch {MARKER}"


def whole(*parts, protocol=4):
    """A pickle of these instructions."""
    return bytes([0x80, protocol]) + b"".join(parts) + b"."


def text(string):
    data = string.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def value(item):
    if isinstance(item, bytes):
        return item  # instructions already
    if item is None or isinstance(item, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[item]
    if isinstance(item, str):
        return text(item)
    if isinstance(item, int):
        data = item.to_bytes(item.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(data)]) + data
    if isinstance(item, float):
        return b"G" + struct.pack(">d", item)
    if isinstance(item, tuple):
        return b"(" + b"".join(map(value, item)) + b"t"
    if isinstance(item, list):
        return b"](" + b"".join(map(value, item)) + b"e"
    assert isinstance(item, dict)
    return b"}(" + b"".join(value(k) + value(v) for k, v in item.items()) + b"u"


def name(title, split=None):
    module, _, attribute = (split or title).rpartition(":" if split else ".")
    return f"c{module}\n{attribute}\n".encode()


def stack_name(module, attribute):
    return text(module) + text(attribute) + b"\x93"


def call(title, *arguments):
    return name(title) + value(tuple(arguments)) + b"R"


def blob(data):
    return b"B" + struct.pack("<I", len(data)) + data


def put(index):
    return b"r" + struct.pack("<I", index)


def get(index):
    return b"j" + struct.pack("<I", index)


def storage(data):
    return call("torch.storage._load_from_bytes", blob(data))


def floats(count=4):
    return published.storage_bytes(torch.arange(float(count)))


def tensor(size, stride, offset=0, data=None, hooks=None):
    hooks = call("collections.OrderedDict") if hooks is None else hooks
    data = storage(floats()) if data is None else data
    return call("torch._utils._rebuild_tensor_v2", data, offset, size, stride, False, hooks)


def network(state, class_name="Generator", **meta):
    described = {
        "type": "class", "version": 6, "module_src": networks.MODULE_SOURCE,
        "class_name": class_name, "state": state, **meta,
    }  # fmt: skip
    return call("torch_utils.persistence._reconstruct_persistent_obj", described)


def within(part):
    """A snapshot whose generator has `part` among its attributes."""
    return whole(value({"G_ema": network({"_parameters": {}, "trap": part})}))


class Calls:
    """Pickles as a call of a function, which Python's unpickler would make."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def saved(thing, zipped=False):
    """A file of `torch.save`."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(thing, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def valid(**choices):
    return published.pickled(published.snapshot(published.small()), **choices)
