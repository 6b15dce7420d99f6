"""Recipes: from the words on the command line to a locked config, and back from disk.

A recipe is a file with `get_config(size)`; a work folder keeps the resolved recipe in
config.json and takes no other one.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from adreamer_jax.run.files import write_text

# How and where a run goes, not what it computes: these may change when it goes on.
_WATCHED = ("log_every", "save_every", "show_every", "evaluate_every", "devices")
FREE = tuple(f"{run}.{key}" for run in ("run", "generate.run") for key in _WATCHED)


def split_name(name: str) -> tuple[str, str]:
    """A recipe's path, and the size after its last colon; empty where it has none.

    What follows the colon of a drive (or of a folder) is no size.
    """
    path, _, size = name.rpartition(":")
    return (path, size) if path and re.fullmatch(r"[^./\\]*", size) else (name, "")


def find_recipe(name: str) -> str:
    """The path (and size) of a recipe: a file, or the name of one that we ship.

    `configs/extract.py:smoke`, `extract.py:smoke` and `extract:smoke` all mean the
    recipe that lies in configs/ of a source tree or inside the installed package.
    """
    path, size = split_name(name)
    if Path(path).is_file():
        return name
    folders = [Path(__file__).parents[n] / "configs" for n in (1, 2)]
    for folder in folders:
        candidate = folder / f"{Path(path).stem}.py"
        if candidate.is_file() and Path(path).parent.name in ("", "configs"):
            return f"{candidate}:{size}" if size else str(candidate)
    ours = sorted(f.name for folder in folders for f in folder.glob("[a-z]*.py"))
    listed = ", ".join(f"configs/{name}" for name in ours)
    raise ValueError(
        f"--config must name a recipe file, got {path or 'nothing'}; "
        f"write one of {listed}"
    )


def load_recipe(name: str) -> ConfigDict:
    """The config that a recipe file gives for the size after the colon."""
    path, size = split_name(find_recipe(name))
    get_config = _get_config(Path(path))
    return get_config(size) if size else get_config()


def check_keys(config: ConfigDict, keys: Iterable[str]) -> None:
    """Raise a ValueError that says what to write for a key that is not there."""
    known = list(flatten(config.to_dict()))
    for key in keys:
        if key in known or _at(config, key) is not None:
            continue
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        last = [name for name in known if name.split(".")[-1] == key.split(".")[-1]]
        advice = f"write --config.{(last or close or [known[0]])[0]}=..."
        raise ValueError(f"--config.{key} must be a key of the recipe; {advice}")


def recipe_name(name: str) -> str:
    """A recipe's short name: configs/extract.py:smoke is extract-smoke."""
    path, size = split_name(name)
    return Path(path).stem + (f"-{size}" if size and size != "default" else "")


def default_workdir(name: str, config: ConfigDict) -> Path:
    """runs/<recipe>-<clip>; the embedded clip is called embedded.

    A second stage that starts from another run is called after that run's folder.
    """
    source = config.to_dict().get("generate", {}).get("source", "")
    clip = Path(source or clip_of(config) or "embedded").name
    return Path("runs") / f"{recipe_name(name)}-{clip}"


def slug(text: str) -> str:
    """A file name that still reads as the text, in whatever script it is."""
    words = re.sub(r"[\W_]+", "-", text.lower()).strip("-")
    if 0 < len(words) <= 60:
        return words
    mark = hashlib.sha256(text.encode()).hexdigest()[:7]  # two long ones stay two
    return f"{words[:52]}-{mark}".strip("-")


def clip_of(config: ConfigDict) -> str:
    """The folder of the clip that a recipe names; empty for the embedded one."""
    return config.to_dict().get("data", {}).get("clip", "")


def check_clip(config: ConfigDict, workdir: Path, content: str) -> None:
    """Refuse a work folder whose clip, of the same name, has become another one."""
    path = Path(workdir) / "clip.json"
    if not clip_of(config) or not path.is_file():
        return
    if json.loads(path.read_text(encoding="utf-8"))["content"] != content:
        raise ValueError(
            f"the clip in {clip_of(config)} must be the one that {workdir} was begun "
            "with, got other frames, masks or cameras; choose another --workdir for it"
        )


def remember_clip(config: ConfigDict, workdir: Path, content: str) -> None:
    """Keep in a work folder what its clip holds, by the hash of its content.

    Not of the embedded clip: it is computed, and may differ by a rounding elsewhere.
    """
    check_clip(config, workdir, content)
    if clip_of(config):
        kept = {"clip": clip_of(config), "content": content}
        write_text(Path(workdir) / "clip.json", json.dumps(kept, indent=2) + "\n")


def check_workdir(config: ConfigDict, workdir: Path, *, whole: bool = True) -> None:
    """Refuse a work folder that holds another recipe, and say which keys differ.

    Without ``whole`` the one that it holds may lack keys, as an older version's does.
    """
    if not (Path(workdir) / "config.json").exists():
        return
    kept = read_recipe(workdir).to_dict()
    changes = differences(kept, config.to_dict())
    free = FREE if whole else (*FREE, *(changes.keys() - flatten(kept).keys()))
    serious = [line for key, line in changes.items() if key not in free]
    if serious:
        shown = "; ".join(serious[:6]) + ("; ..." if len(serious) > 6 else "")
        raise ValueError(
            f"--workdir must be new or hold this very recipe, got {workdir}, where "
            f"{shown}; choose another --workdir or leave these keys as they were"
        )


def remember(config: ConfigDict, workdir: Path) -> None:
    """Write the resolved recipe into a work folder that is new or holds it already."""
    check_workdir(config, workdir)
    text = json.dumps(config.to_dict(), indent=2, default=str)
    write_text(Path(workdir) / "config.json", text + "\n")


def read_recipe(workdir: Path) -> ConfigDict:
    """The recipe that a work folder remembers."""
    path = Path(workdir) / "config.json"
    if not path.is_file():
        raise ValueError(
            f"--workdir must be the folder of a run, got {workdir} without "
            "config.json; name the folder that training wrote, or give --config"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} must be JSON, got '{error}'; delete it and give --config again"
        ) from error
    return ConfigDict(_tuples(values)).lock()


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves of nested dicts under dotted names."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            leaves |= flatten(value, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = value
    return leaves


def differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, str]:
    """One readable line for each dotted key whose values differ."""
    was, now = flatten(_tuples(old)), flatten(_tuples(new))
    return {
        key: f"{key} was {was.get(key, 'absent')!r}, now {now.get(key, 'absent')!r}"
        for key in sorted(was.keys() | now.keys())
        if was.get(key, "absent") != now.get(key, "absent")
    }


def _get_config(path: Path) -> Callable[..., ConfigDict]:
    spec = importlib.util.spec_from_file_location(f"recipe_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise ValueError(f"--config must be a file with get_config(size), got {path}")
    return module.get_config


def _at(config: ConfigDict, key: str) -> ConfigDict | None:
    """The section of a dotted name, if it is one."""
    section: Any = config
    for name in key.split("."):
        if not isinstance(section, ConfigDict) or name not in section:
            return None
        section = section[name]
    return section if isinstance(section, ConfigDict) else None


def _tuples(value: Any) -> Any:
    """JSON has lists only; recipes use tuples, which are hashable."""
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_tuples(item) for item in value)
    return value
