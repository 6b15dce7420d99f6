"""The command line: words to a job, and every failure to one clear sentence.

`main` takes the words and gives the exit code: 0 done, 1 failed, 2 wrongly asked,
130 stopped by hand. With --debug a failure shows its traceback instead.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from adreamer_jax.run import devices, recipe, stages

JOBS = (
    *("train", "render", "export", "evaluate", "track", "pose", "view"),
    *("sample", "prepare", "ablate"),
)
USAGE = """One clip of an animal becomes an animatable 3D model.

  python main.py --config=configs/csd.py
  python main.py --config=configs/extract.py:smoke --config.data.clip=my_clip
  python main.py --job=render --workdir=runs/extract-my_clip
"""


class Usage(ValueError):
    """The words on the command line do not say a job."""


def entry() -> None:
    """The `adreamer` command."""
    sys.exit(main(sys.argv))


def main(argv: Sequence[str]) -> int:
    """Do what the words say; give the exit code."""
    debug = "--debug" in argv
    try:
        _run(list(argv))
    except KeyboardInterrupt:
        return _fail("stopped; the same command goes on from the last checkpoint", 130)
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _fail(sentence(error), 2 if isinstance(error, Usage) else 1)
    return 0


def sentence(error: BaseException) -> str:
    """What a person should read about an error: one line, with what to do."""
    if full_disk(error):
        return (
            "the disk must have room for the run's files, got no space left on device; "
            "free some space and repeat the same command, it goes on where it was"
        )
    text = " ".join(str(error).split())
    if "RESOURCE_EXHAUSTED" in text or isinstance(error, MemoryError):
        return (
            f"the step must fit into memory, got '{text[:160]}'; choose a smaller size "
            "of the recipe or fewer rays a step"
        )
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; check the path and its permissions"
    if isinstance(error, ValueError | FloatingPointError | OSError | ImportError):
        return text or type(error).__name__
    return f"{type(error).__name__}: {text}; --debug shows where this comes from"


def full_disk(error: BaseException | None) -> bool:
    """Whether this error, or one that led to it, is a full disk or quota."""
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def parse(argv: list[str]) -> flags.FlagValues:
    """Flags of a command line; raises Usage with a sentence."""
    from ml_collections import config_flags

    argv = [_resolve(word) for word in _joined(argv)]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file(
        "config", None, "recipe file[:size]", flag_values=values, sys_argv=argv
    )
    flags.DEFINE_enum(
        "job", None, JOBS, "what to do; else the recipe's own job", flag_values=values
    )
    flags.DEFINE_string("workdir", "", "the run's folder", flag_values=values)
    flags.DEFINE_string("points", "", "track: a points.json", flag_values=values)
    flags.DEFINE_string("pose", "", "pose: a pose.json", flag_values=values)
    flags.DEFINE_string(
        "stage",
        "",
        "extract or generate; else the last ended (track: extract)",
        flag_values=values,
    )
    flags.DEFINE_string(
        "cache", devices.CACHE, "compiled programs; empty: none", flag_values=values
    )
    flags.DEFINE_bool("debug", False, "show tracebacks", flag_values=values)
    flags.DEFINE_bool("help", False, "show this help", flag_values=values)
    _check_overrides(argv)
    try:
        rest = values(argv)
    except (flags.Error, AttributeError, KeyError, TypeError, OSError) as error:
        raise Usage(_flag_sentence(error)) from error
    if len(rest) > 1:
        raise Usage(f"words must be flags such as --workdir=..., got {rest[1]}")
    return values


def _run(argv: list[str]) -> None:
    values = parse(argv)
    if values.help:
        print(USAGE + values.get_help())
        return
    job = _job(values)
    config, workdir = _what(values, job)
    devices.set_backend(values.cache)
    from adreamer_jax.run import parallel, pipeline

    parallel.join()
    more = {"points": values.points, "stage": values.stage, "pose": values.pose}
    pipeline.do(job, config, workdir, **more)


def _job(values: flags.FlagValues) -> str:
    """The job that is asked for: the flag's, else the recipe's own, else to train."""
    own = "train" if values.config is None else values.config.get("job", "train")
    if values.job not in (None, own) and own != "train":
        raise Usage(
            f"--job must be {own} with this recipe, got {values.job}; leave it out"
        )
    return values.job or own


def _what(values: flags.FlagValues, job: str) -> tuple:
    """The config and the work folder that the flags mean."""
    if values.config is None:
        if job == "train" or not values.workdir:
            raise Usage(
                "--config must name a recipe, got nothing; "
                "write --config=configs/extract.py"
            )
        return stages.reopened(Path(values.workdir)), Path(values.workdir)
    flag: Any = values["config"]
    name = flag.config_filename
    workdir = Path(values.workdir or recipe.default_workdir(name, values.config))
    return values.config, workdir


def _joined(argv: list[str]) -> list[str]:
    """The words with `--config x` written as `--config=x`."""
    words = iter(argv)
    bare = ("--config", "-config")
    return [f"{w}={next(words, '')}" if w in bare else w for w in words]


def _resolve(word: str) -> str:
    """The word, with the path of a recipe that we ship made whole."""
    flag, equals, name = word.partition("=")
    if flag not in ("--config", "-config") or not equals:
        return word
    path, size = recipe.split_name(_usage(recipe.find_recipe, name))
    if ":" in path:  # of a drive; ml_collections takes the first one for the size's
        path = os.path.relpath(path)
    return f"{flag}={path}:{size}" if size else f"{flag}={path}"


def _check_overrides(argv: list[str]) -> None:
    """Refuse unknown sizes and keys before the flags are parsed, in clear words."""
    words = [word.lstrip("-").partition("=") for word in argv if word.startswith("-")]
    names = [value for flag, _, value in words if flag == "config" and value]
    keys = [flag[7:] for flag, _, _ in words if flag.startswith("config.")]
    if keys and not names:
        raise Usage(
            f"--config.{keys[0]} must come with a recipe; write "
            f"--config=configs/extract.py --config.{keys[0]}=..."
        )
    for name in names:
        config = _usage(recipe.load_recipe, name)
        _usage(recipe.check_keys, config, keys)


def _usage(function, *arguments):
    """Call a function whose ValueError is the caller's mistake."""
    try:
        return function(*arguments)
    except ValueError as error:
        raise Usage(str(error)) from error


def _flag_sentence(error: Exception) -> str:
    """What absl and ml_collections say, as one line."""
    text = " ".join(str(error).split())
    if isinstance(error, flags.IllegalFlagValueError) and "config." in text:
        flag, _, reason = text.removeprefix("flag ").partition(": ")
        name, _, value = flag.partition("=")
        return f"{name} must have the type of the recipe's value, got {value}; {reason}"
    return text


def _fail(text: str, code: int) -> int:
    print(f"adreamer: {text}", file=sys.stderr)
    return code
