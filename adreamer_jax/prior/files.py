"""The files of published networks: found, downloaded and read without running them.

A prior is a folder on this machine or the name of a model on the Hugging Face hub, in
the layout of diffusers. Tensors come from safetensors, or from a torch archive by a
reader that knows tensors and nothing else: whatever other object its pickle asks for
is refused. Every way in which a file can be wrong ends in one sentence.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from adreamer_jax.prior.tree import State

PUBLISHED = {"mvdream": "ashawkey/mvdream-sd2.1-diffusers"}
# Configs, tokenizers and safetensors: never code, never pickles.
PRIOR_FILES = ("*.json", "*/*.json", "*/*.safetensors", "*/merges.txt")
CLIP_FILES = ("*.json", "*.safetensors", "merges.txt")  # a lone CLIP lies at the top


def find_folder(
    name: str,
    *,
    revision: str | None = None,
    pins: Path | None = None,
    tell: Callable[[str], None] = print,
    files: Sequence[str] = PRIOR_FILES,
) -> Path:
    """Where a model's files lie: a path of this machine, or a download from the hub.

    A path always wins. ``mvdream`` stands for its published folder. ``revision`` is a
    commit of the hub, so that the same files come next year. Without one the newest
    commit is looked up once, told, and written into the JSON file ``pins``
    ({hub name: commit}); whoever passes that file again gets the same commit. Only
    ``files`` are fetched.
    """
    if Path(name).exists():
        return Path(name)
    embedded = Path(__file__).parent / name
    if (embedded / "model_index.json").is_file():
        return embedded
    hub_name = PUBLISHED.get(name, name)
    if hub_name.count("/") != 1 or hub_name.startswith((".", "/", "~")):
        raise ValueError(
            f"prior.name must be a folder, {' or '.join(PUBLISHED)}, or an owner/name "
            f"of the Hugging Face hub, got {name}; check the path"
        )
    pinned = read_pins(pins).get(hub_name) if pins else None
    folder = _download(hub_name, revision or pinned, files)
    if is_commit(folder.name) and not revision:
        tell(_pin(hub_name, folder.name, pins))
    return folder


def is_commit(name: str) -> bool:
    """Whether a folder is called after a commit, as the hub's cache calls it."""
    return re.fullmatch(r"[0-9a-f]{40}", name) is not None


def read_pins(path: Path) -> dict[str, str]:
    """The commit of every hub name that was downloaded without a revision."""
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} must be JSON of hub names and commits, got {_first_line(error)}; "
            "delete it, or write --config.prior.revision=COMMIT"
        ) from error


def _pin(name: str, commit: str, pins: Path | None) -> str:
    """Remember a commit where a file for it is given; one line about it."""
    line = f"{name} at commit {commit}"
    if pins is None:
        return f"{line}; write --config.prior.revision={commit} to keep to it"
    content = read_pins(pins) | {name: commit}
    pins.parent.mkdir(parents=True, exist_ok=True)
    pins.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    return f"{line}, which {pins} keeps for the next run"


def _download(name: str, revision: str | None, files: Sequence[str]) -> Path:
    """The hub's folder in the local cache, fetched only where it is not there yet."""
    from huggingface_hub import errors, snapshot_download

    advice = "download the folder elsewhere and give its path as prior.name"
    try:
        folder = snapshot_download(name, revision=revision, allow_patterns=list(files))
    except errors.GatedRepoError as error:
        raise ValueError(
            f"{name} must be open to you, got a gated model; accept its terms on its "
            "page of the hub and log in with `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(
            f"prior.revision must be a commit of {name}, got {revision}; copy one from "
            "the model's list of commits"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ValueError(
            f"prior.name must be a model of the hub, got {name}, which is not there or "
            f"not public; check the name, or {advice}"
        ) from error
    except Exception as error:  # every client has its own errors for a missing network
        raise ValueError(
            f"the hub must be reachable to download {name}, got {_first_line(error)}; "
            f"check the network, or {advice}"
        ) from error
    return Path(folder)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def read_config(folder: Path, file: str = "config.json") -> dict[str, Any]:
    """A config file of diffusers or transformers as a plain dict."""
    path = folder / file
    if not path.is_file():
        raise ValueError(
            f"a prior's folder must hold {folder.name}/{file}, got none; give a folder "
            "in the layout of diffusers, with model_index.json at its top"
        )
    from diffusers.configuration_utils import ConfigMixin

    class Config(ConfigMixin):
        config_name = file

    try:
        found: Any = Config.load_config(str(folder))
        return dict(found)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} must be a config in JSON, got {_first_line(error)}; download it "
            "again"
        ) from error


def read_state(folder: Path) -> State:
    """All tensors of one part of a prior, from its safetensors files.

    Plain files come before variants such as ``.fp16``; a model in shards is joined.
    """
    files = sorted(folder.glob("*.safetensors"))
    plain = [file for file in files if file.name.count(".") == 1]
    if not files:
        other = sorted(file.name for file in folder.glob("*.*"))
        raise ValueError(
            f"{folder} must hold weights as safetensors, got "
            f"{', '.join(other) or 'none'}; convert other formats with the program "
            "that wrote them"
        )
    state: State = {}
    for file in plain or files:
        state |= read_safetensors(file)
    return state


def read_safetensors(path: Path) -> State:
    """All tensors of one safetensors file, in the types in which they are stored."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} must be a whole safetensors file, got one that cannot be read "
            f"({_first_line(error)}); download it again"
        ) from error


_STORAGES = {
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "DoubleStorage": np.dtype(np.float64),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}


def read_torch(path: Path) -> State:
    """All tensors of a torch archive (``.pt``, ``.ckpt``, ``.bin``), without torch."""
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} must be a whole torch archive (a zip, torch 1.6 or later), got "
            "another or a truncated file; download it again or save it anew with a "
            "present torch"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            content = _unpickle(archive, path)
    except (zipfile.BadZipFile, KeyError, EOFError, OSError) as error:
        raise ValueError(
            f"{path} must be a whole torch archive, got a damaged one "
            f"({_first_line(error)}); download it again"
        ) from error
    content = content.get("state_dict", content) if isinstance(content, dict) else {}
    tensors = {k: v for k, v in content.items() if isinstance(v, np.ndarray)}
    if not tensors:
        raise ValueError(
            f"{path} must hold a dict of tensors, got none; save the model's state_dict"
        )
    return tensors


def _unpickle(archive: zipfile.ZipFile, path: Path) -> Any:
    """The archive's object, its storages read as they are asked for."""
    index = [name for name in archive.namelist() if name.endswith("data.pkl")]
    if len(index) != 1:
        raise KeyError("no data.pkl")
    top = index[0].removesuffix("data.pkl")
    if f"{top}byteorder" in archive.namelist():
        if archive.read(f"{top}byteorder") != b"little":
            raise ValueError(
                f"{path} must be little-endian, got another byte order; save it anew "
                "on a present machine"
            )

    def storage(kind: np.dtype, key: str) -> np.ndarray:
        return np.frombuffer(archive.read(f"{top}data/{key}"), kind)

    with archive.open(index[0]) as file:
        stream: Any = file
        return _Tensors(stream, storage, path).load()


class _Tensors(pickle.Unpickler):
    """An unpickler that can build dicts and tensors and has no other names."""

    def __init__(
        self,
        file: BinaryIO,
        storage: Callable[[np.dtype, str], np.ndarray],
        path: Path,
    ):
        """Read from a file; ``storage`` gives the numbers behind a key."""
        super().__init__(file)
        self._storage, self._path = storage, path

    def find_class(self, module: str, name: str) -> Any:
        """One of the few names that tensors need; any other could run code."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise ValueError(
            f"{self._path} must hold tensors alone, got a pickle that asks for "
            f"{module}.{name}, which could run code; use a safetensors file, or save "
            "the state_dict alone"
        )

    def persistent_load(self, pid: tuple) -> np.ndarray:
        """The numbers of ("storage", type, key, device, count)."""
        _, kind, key, _, _ = pid
        return self._storage(kind, key)


def _tensor(
    storage: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple, *_: Any
) -> np.ndarray:
    """The tensor that lies in a storage; one that would reach out of it is refused."""
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if min((offset, *shape, *strides)) < 0 or (0 not in shape and last >= storage.size):
        raise EOFError("a tensor ends outside of its storage")
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(
        storage[offset:], shape, steps, writeable=False
    )


def split_ldm(state: Mapping[str, np.ndarray]) -> dict[str, State]:
    """The parts of an original (ldm) checkpoint: unet, vae and text.

    Noise tables, averaged copies and towers that no sampler reads stay out.
    """
    prefixes = {
        "model.diffusion_model.": "unet",
        "first_stage_model.": "vae",
        "vae_model.": "vae",
        "cond_stage_model.model.": "text",
    }
    unread = ("loss.", "visual.")
    parts: dict[str, State] = {"unet": {}, "vae": {}, "text": {}}
    for key, value in state.items():
        for prefix, part in prefixes.items():
            name = key.removeprefix(prefix)
            if name != key and not name.startswith(unread):
                parts[part][name] = value
    empty = [part for part, tensors in parts.items() if not tensors]
    if empty:
        raise ValueError(
            "an original checkpoint must hold model.diffusion_model, first_stage_model "
            f"and cond_stage_model, got no tensors of {', '.join(empty)}; give "
            "sd-v2.1-base-4view.pt or a folder in the layout of diffusers"
        )
    return parts


def read_tokenizer(
    folder: Path,
    *,
    length: int,
    vocabulary: int,
    tell: Callable[[str], None] | None = None,
) -> Callable[[Sequence[str]], np.ndarray]:
    """A function from texts to ids [n, length], padded and cut as the model expects.

    What stands in the padding (the end token, or "!") is said by the folder's files.
    ``tell`` hears, once each, which words the model does not know and which texts it
    does not read to their end.
    """
    if not folder.is_dir():
        raise ValueError(
            f"{folder} must hold the files of a tokenizer (vocab.json and merges.txt), "
            "got no such folder; copy it from the model's page"
        )
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it asks for torch aloud
    from transformers import AutoTokenizer, CLIPTokenizer

    kind = CLIPTokenizer if (folder / "vocab.json").is_file() else AutoTokenizer
    try:
        tokenizer = kind.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{folder} must hold the files of a tokenizer, got {_first_line(error)}; "
            "copy them from the model's page"
        ) from error

    told: set[str] = set()

    def tokenize(texts: Sequence[str]) -> np.ndarray:
        for line in _unread(tokenizer, texts, length) if tell else ():
            if tell and line not in told:
                told.add(line)
                tell(line)
        rows = tokenizer(
            list(texts),
            padding="max_length",
            max_length=length,
            truncation=True,
            return_tensors="np",
        )
        ids = rows["input_ids"].astype(np.int32)
        if ids.max(initial=0) >= vocabulary:
            raise ValueError(
                f"the tokenizer must know at most the {vocabulary} tokens of its text "
                f"encoder, got token {ids.max()}; take both folders from one model"
            )
        return ids

    return tokenize


def _unread(tokenizer: Any, texts: Sequence[str], length: int) -> list[str]:
    """A sentence about each text that the model would not read as it stands."""
    unknown, lines = tokenizer.unk_token_id, []
    if unknown == tokenizer.eos_token_id:  # as CLIP's, which can spell any word
        unknown = None
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        if len(ids) > length:
            lines.append(f"'{text}' is longer than the {length} tokens that are read")
        words = text.split() if unknown is not None and unknown in ids else []
        strange = [w for w in words if unknown in tokenizer(w)["input_ids"]]
        if strange:
            lines.append(
                f"the words {', '.join(strange)} in '{text}' mean nothing to this "
                "network, which has never read them; say it with others, or take "
                "another prior or judge"
            )
    return lines
