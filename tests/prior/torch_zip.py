"""Torch archives written without torch, as its own writer lays them out."""

import pickle
import zipfile

import ml_dtypes
import numpy as np

STORAGES = {
    np.dtype(np.float32): "FloatStorage",
    np.dtype(np.float16): "HalfStorage",
    np.dtype(ml_dtypes.bfloat16): "BFloat16Storage",
    np.dtype(np.int64): "LongStorage",
}


class Name:
    """A global that the reader is asked to look up."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self):
        """Nothing: picklers want a callable."""


class Tensor:
    """A view into a storage."""

    def __init__(self, key, storage, offset, shape, strides):
        self.key, self.storage = key, storage
        self.args = offset, shape, strides, False, {}


class Storage:
    """What torch keeps apart from the pickle."""

    def __init__(self, key, array):
        self.key, self.array = key, array


class Writer(pickle._Pickler):
    """Pickles names as names and storages as references."""

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        kind = Name("torch", STORAGES[value.array.dtype])
        return "storage", kind, value.key, "cpu", value.array.size

    def save(self, value, save_persistent_id=True):
        if isinstance(value, Name):
            self.write(f"c{value.module}\n{value.name}\n".encode())
        elif isinstance(value, Tensor):
            rebuild = Name("torch._utils", "_rebuild_tensor_v2")
            args = (Storage(value.key, value.storage), *value.args)
            self.save_reduce(rebuild, args)
        else:
            super().save(value, save_persistent_id)


def tensor(key, array):
    """A whole array as a tensor."""
    strides = tuple(step // array.itemsize for step in array.strides)
    return Tensor(key, array.reshape(-1), 0, array.shape, strides)


def write_torch(path, content):
    """Write a dict of arrays or prepared tensors as an archive."""
    content = {
        key: tensor(str(i), value) if isinstance(value, np.ndarray) else value
        for i, (key, value) in enumerate(content.items())
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        with archive.open("archive/data.pkl", "w") as file:
            Writer(file, protocol=2).dump(content)
        archive.writestr("archive/byteorder", b"little")
        for value in content.values():
            if isinstance(value, Tensor):
                data = np.ascontiguousarray(value.storage).tobytes()
                archive.writestr(f"archive/data/{value.key}", data)
