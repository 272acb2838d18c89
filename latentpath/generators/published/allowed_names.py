"""The names that a published generator's pickle may mention, and what each makes here.

They are those that the published code writes with Python 3 and PyTorch 1.7 to 2.x, under the
spellings of NumPy 1 and 2 and of pickle protocols 0 to 5. Each stands for a function of ours that
checks its arguments and returns an inert value; none is imported. Deliberately not here, though
PyTorch can write them: tensor subclasses (`_rebuild_from_type_v2`), sparse, quantised and
storage-less tensors, float8 and other types of `_rebuild_tensor_v3`, and classes of `torch.nn`,
which a published network holds none of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from latentpath.generators.published.bounded_reading import (
    WANTED,
    Blob,
    BoundedReading,
    ForeignFileError,
    shown,
)
from latentpath.generators.published.pickle_machine import Names
from latentpath.generators.published.pickle_records import (
    EASY_DICT,
    EasyDict,
    LongText,
    Name,
    NetworkRecord,
    Storage,
    TensorRecord,
    check_window,
    make_array,
    make_dtype,
    make_empty_array,
    make_scalar,
)
from latentpath.generators.published.torch_storages import read_storage

_PERSISTENCE_VERSION = 6
_DICT = Name("builtins.dict")
_ENCODINGS = ("latin1", "latin-1")


def _network(arguments: tuple, reading: BoundedReading) -> NetworkRecord:
    """`torch_utils.persistence._reconstruct_persistent_obj(meta)`.

    `meta["module_src"]`, which the published code would run here, is dropped unread.
    """
    meta = arguments[0] if len(arguments) == 1 else None
    if not isinstance(meta, dict):
        raise reading.damaged("a network without its description")
    if meta.get("type") != "class" or meta.get("version") != _PERSISTENCE_VERSION:
        raise reading.damaged(
            f"a network of type {shown(meta.get('type'))}, version {shown(meta.get('version'))}, "
            f"instead of 'class' and {_PERSISTENCE_VERSION}"
        )
    if not isinstance(meta.get("module_src"), str):
        raise reading.damaged(f"{shown(meta.get('module_src'))} as source text of a network")
    class_name, state = meta.get("class_name"), meta.get("state")
    if not isinstance(class_name, str) or not isinstance(state, dict):
        raise reading.damaged(
            f"a network of class {shown(class_name)} with {shown(state)} as state"
        )
    return NetworkRecord(class_name, state, reading)


def _tensor(arguments: tuple, reading: BoundedReading) -> TensorRecord:
    """`torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)`."""
    # A seventh argument says that the numbers are conjugated or negated: of real ones, {} or None.
    if len(arguments) not in (6, 7) or (len(arguments) == 7 and arguments[6]):
        raise reading.damaged("a tensor with arguments of another form")
    storage, offset, size, stride, _, hooks = arguments[:6]
    if not isinstance(storage, Storage):
        raise reading.damaged(f"{shown(storage)} as storage of a tensor")
    _check_no_hooks(hooks, reading)
    check_window(storage, offset, size, stride, reading)
    return TensorRecord(storage, offset, size, stride)


def _parameter(arguments: tuple, reading: BoundedReading) -> TensorRecord:
    """`torch._utils._rebuild_parameter(data, requires_grad, hooks)`.

    With a fourth argument it is `_rebuild_parameter_with_state`, whose state are attributes that
    somebody set on the parameter; they are dropped.
    """
    if len(arguments) not in (3, 4) or not isinstance(arguments[0], TensorRecord):
        raise reading.damaged("a parameter with arguments of another form")
    _check_no_hooks(arguments[2], reading)
    return arguments[0]


def _check_no_hooks(hooks: Any, reading: BoundedReading) -> None:
    if hooks is not None and not (isinstance(hooks, dict) and not hooks):
        raise reading.unsafe(f"{shown(hooks)} as hooks of a tensor")


def _storage(arguments: tuple, reading: BoundedReading) -> Storage:
    """`torch.storage._load_from_bytes(data)`: a file of `torch.save` within the file."""
    if len(arguments) != 1 or not isinstance(arguments[0], Blob):
        raise reading.damaged("a storage with arguments of another form")
    return read_storage(arguments[0], reading)


def _encoded(arguments: tuple, reading: BoundedReading) -> Blob:
    """`_codecs.encode(text, "latin1")`, which is how protocols 0 to 2 spell bytes."""
    text = arguments[0] if len(arguments) == 2 and arguments[1] in _ENCODINGS else None
    if not isinstance(text, (str, LongText)):
        raise reading.unsafe("a call of _codecs.encode for something other than bytes")
    try:
        if isinstance(text, LongText):
            reading.count_copied(2 * len(text.blob))
            text = str(text.blob.view(), text.encoding)
        reading.count_copied(len(text))
        return Blob(text.encode("latin1"))
    except UnicodeError as error:
        raise reading.damaged("bytes spelled with impossible characters") from error


def _no_bytes(arguments: tuple, reading: BoundedReading) -> Blob:
    """`bytes()`, which is how protocols 0 to 2 spell no bytes at all."""
    if arguments:
        raise reading.unsafe("a call of bytes with arguments")
    return Blob(b"")


def _ordered_dict(arguments: tuple, reading: BoundedReading) -> dict:
    """`collections.OrderedDict()`: its items follow."""
    if arguments:
        raise reading.unsafe("a call of collections.OrderedDict with arguments")
    return {}


def _set(arguments: tuple, reading: BoundedReading) -> set:
    """`set([...])`, as protocols below 4 spell it."""
    items = arguments[0] if len(arguments) == 1 else None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise reading.unsafe("a call of set for something other than a list of texts")
    reading.count_items(len(items))
    return set(items)


def _size(arguments: tuple, reading: BoundedReading) -> tuple:
    """`torch.Size((...))`."""
    if len(arguments) != 1 or not isinstance(arguments[0], tuple):
        raise reading.damaged("a torch.Size with arguments of another form")
    return arguments[0]


def _device(arguments: tuple, reading: BoundedReading) -> str:
    """`torch.device("cuda", 0)`: its type; everything is read to the CPU."""
    if not arguments or not isinstance(arguments[0], str):
        raise reading.damaged("a torch.device with arguments of another form")
    return arguments[0]


def _easy_dict(arguments: tuple, reading: BoundedReading) -> EasyDict:
    """`copyreg._reconstructor(EasyDict, dict, {...})`, of protocols 0 and 1."""
    kind, base, items = arguments if len(arguments) == 3 else (None, None, None)
    if kind is not EASY_DICT or base is not _DICT or not isinstance(items, dict):
        raise reading.unsafe(f"a call of copyreg._reconstructor for {shown(kind)}")
    reading.count_items(len(items))
    return EasyDict(items)


def _names(calls: dict[str, Callable[[tuple, BoundedReading], Any] | None]) -> dict[str, Name]:
    return {title: Name(title, call) for title, call in calls.items()}


_BY_TITLE = {
    **_names(
        {
            "torch_utils.persistence._reconstruct_persistent_obj": _network,
            "torch._utils._rebuild_tensor_v2": _tensor,
            "torch._utils._rebuild_parameter": _parameter,
            "torch._utils._rebuild_parameter_with_state": _parameter,
            "torch.storage._load_from_bytes": _storage,
            "torch.Size": _size,
            "torch.device": _device,
            "torch.float16": None,
            "torch.float32": None,
            "torch.float64": None,
            "collections.OrderedDict": _ordered_dict,
            "builtins.set": _set,
            "builtins.bytes": _no_bytes,
            "_codecs.encode": _encoded,
            "copyreg._reconstructor": _easy_dict,
            "numpy.dtype": make_dtype,
            "numpy.ndarray": None,
            "numpy.core.multiarray.scalar": make_scalar,
            "numpy.core.multiarray._reconstruct": make_empty_array,
            "numpy.core.numeric._frombuffer": make_array,
        }
    ),
    EASY_DICT.title: EASY_DICT,
    _DICT.title: _DICT,
}
# What the same thing is called by NumPy 2, and by pickle protocols 0 to 2 (Python 2's names).
_SPELLINGS = {
    "numpy._core.multiarray.scalar": "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct": "numpy.core.multiarray._reconstruct",
    "numpy._core.numeric._frombuffer": "numpy.core.numeric._frombuffer",
    "__builtin__.set": "builtins.set",
    "__builtin__.bytes": "builtins.bytes",
    "__builtin__.dict": "builtins.dict",
    "copy_reg._reconstructor": "copyreg._reconstructor",
}


def _split(title: str) -> tuple[str, str]:
    module, _, name = title.rpartition(".")
    return module, name


NAMES: Names = {
    **{_split(title): name for title, name in _BY_TITLE.items()},
    **{_split(spelling): _BY_TITLE[title] for spelling, title in _SPELLINGS.items()},
}


def refuse_tensorflow(module: str, name: str, reading: BoundedReading) -> None:
    """Raise ForeignFileError for the names that only TensorFlow's StyleGAN pickles begin with."""
    if module.split(".")[:2] == ["dnnlib", "tflib"] or module == "tfutil":
        raise ForeignFileError(
            expected=f"{WANTED} in {reading.path}",
            got=f"a StyleGAN pickle of the TensorFlow code ({shown(f'{module}.{name}')})",
            fix="convert it with legacy.py of the published PyTorch code, on a machine that may "
            "run code from the file",
        )
