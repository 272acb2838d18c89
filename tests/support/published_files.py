"""Pickles in exactly the format of the published StyleGAN2-ADA (PyTorch) code, from stand-ins.

They are written by Python's own pickler, in the ways of different versions of PyTorch.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import warnings
from collections import OrderedDict

import numpy as np
import torch

from support.published_networks import (
    AugmentPipe,
    Discriminator,
    EasyDict,
    Generator,
    published_modules,
)


def easy(kwargs):
    """Nested dicts as EasyDicts, as the published training script passes them."""
    return EasyDict({k: easy(v) if isinstance(v, dict) else v for k, v in kwargs.items()})


def snapshot(generator, **more):
    """What the published training loop pickles."""
    sizes = {"c_dim": 0, "img_resolution": 8, "img_channels": generator.img_channels}
    return {
        "training_set_kwargs": dict(
            easy({"class_name": "training.dataset.ImageFolderDataset", "path": "/data/x.zip",
                  "use_labels": False, "max_size": 70, "xflip": True, "resolution": 64})
        ),
        "G": generator,
        "D": Discriminator(**sizes, block_kwargs=EasyDict()),
        "G_ema": generator,
        "augment_pipe": AugmentPipe(xflip=1),
        **more,
    }  # fmt: skip


class Pickler(pickle.Pickler):
    """Python's pickler, with choices that different versions of PyTorch make.

    Args:
        share: tensors on one storage pickle that storage once.
        storage: rewrites the bytes of each storage's own file.
        zipped: storages as zip archives.
    """

    def __init__(self, file, protocol=None, *, share=False, storage=None, zipped=False):
        super().__init__(file, protocol)
        self.share, self.rewrite, self.zipped = share, storage, zipped
        self.stored = {}

    def reducer_override(self, value):
        if type(value) is not torch.Tensor or not (self.share or self.rewrite or self.zipped):
            return NotImplemented
        pointer = value.untyped_storage().data_ptr()
        key = pointer if self.share else len(self.stored)
        if key not in self.stored:
            self.stored[key] = Stored(self._bytes(value))
        arguments = (self.stored[key], value.storage_offset(), tuple(value.shape), value.stride())
        return torch._utils._rebuild_tensor_v2, (*arguments, False, OrderedDict())

    def _bytes(self, tensor):
        data = storage_bytes(tensor, zipped=self.zipped)
        return data if self.rewrite is None else self.rewrite(data)


class Stored:
    """Pickles as a storage, from bytes that are given."""

    def __init__(self, data):
        self.data = data

    def __reduce__(self):
        return torch.storage._load_from_bytes, (self.data,)


def storage_bytes(tensor, *, zipped=False):
    """The file of `torch.save` that PyTorch pickles for a tensor's storage."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(tensor.storage(), file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def on_a_gpu(data):
    """A storage's file as PyTorch 1.x wrote it for a storage on a GPU."""
    assert b"ctorch\nFloatStorage\n" in data
    data = data.replace(b"ctorch\nFloatStorage\n", b"ctorch.cuda\nFloatStorage\n")
    return data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")


def pickled(value, protocol=pickle.DEFAULT_PROTOCOL, **choices):
    """The bytes that the published code would write for `value`."""
    file = io.BytesIO()
    with published_modules():
        Pickler(file, protocol, **choices).dump(value)
    return file.getvalue()


def as_old_pytorch(module):
    """Turn a module's dicts into those of PyTorch 1.7: ordered ones, and fewer of them."""
    for part in module.modules():
        for name in ("_parameters", "_buffers", "_modules"):
            part.__dict__[name] = OrderedDict(part.__dict__[name])
        for name in [n for n in part.__dict__ if "with_kwargs" in n or "always_called" in n]:
            del part.__dict__[name]
        for name in ("_backward_pre_hooks", "_state_dict_pre_hooks", "_is_full_backward_hook"):
            part.__dict__.pop(name, None)
    return module


def from_reference(path, **synthesis):
    """A stand-in generator with the weights of a file of published figures, and the figures."""
    with np.load(path) as file:
        arrays = {name: np.array(file[name]) for name in file.files}
    kwargs = json.loads(arrays.pop("init_kwargs").tobytes())
    kwargs["synthesis_kwargs"].update(synthesis)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    generator = Generator(**easy(kwargs))
    generator.load_state_dict({n[6:]: t for n, t in tensors.items() if n.startswith("state/")})
    return generator, {n: t for n, t in tensors.items() if "/" not in n}


def small(seed=0, **changes):
    """A stand-in generator of a few thousand weights with non-trivial noise and averages."""
    torch.manual_seed(seed)
    kwargs = {
        "z_dim": 6, "c_dim": 0, "w_dim": 5, "img_resolution": 16, "img_channels": 1,
        "mapping_kwargs": {"num_layers": 2},
        "synthesis_kwargs": {"channel_base": 64, "channel_max": 8},
    }  # fmt: skip
    generator = Generator(**easy({**kwargs, **changes}))
    with torch.no_grad():
        for name, tensor in generator.state_dict().items():
            if name.endswith(("noise_strength", "w_avg", "bias")):
                tensor.copy_(torch.randn_like(tensor) * 0.3)
    return generator


def total_bytes(generator):
    """Size of a generator's weights in bytes."""
    return sum(math.prod(t.shape) * t.element_size() for t in generator.state_dict().values())
