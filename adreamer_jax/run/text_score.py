"""Whether pictures show what a text says: CLIP score, R-Precision, CLIP-T.

Any CLIP in the layout of transformers measures, a published one or the judge that lies
in the package and knows the zoo's words only. Figures of different judges cannot be
compared, so each is told with its judge's name. CLIP-T is not defined where it was
first reported; here it is the likeness of consecutive frames.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.prior.files import (
    CLIP_FILES,
    find_folder,
    is_commit,
    read_config,
    read_state,
    read_tokenizer,
)
from adreamer_jax.prior.load import read_part
from adreamer_jax.prior.vision import (
    clip_config,
    clip_image,
    clip_shapes,
    clip_text,
    prepare_clip,
)
from adreamer_jax.types import Float

EMBEDDED = "judge"
_BUFFERS = ("position_ids",)  # in older files; no parameters
CHUNK = 32  # pictures or texts at a time


class Judge(NamedTuple):
    """A CLIP at work on the host."""

    name: str
    of_texts: Callable  # (texts) -> [n, p], of length one
    of_pictures: Callable  # (pictures [n, h, w, 3] in [0, 1]) -> [n, p], of length one


def load_judge(
    name: str = "",
    *,
    dtype: Any = jnp.float32,
    pins: Path | None = None,
    tell: Callable[[str], None] | None = None,
) -> Judge:
    """The CLIP of a folder or hub name; without a name the embedded one.

    ``pins`` keeps which version of a downloaded one was taken; ``tell`` hears that, and
    what of a text the judge cannot read.
    """
    folder = find_folder(
        name or str(embedded_judge()),
        pins=pins,
        tell=tell or (lambda line: None),
        files=CLIP_FILES,
    )
    config = clip_config(read_config(folder))
    tokenize = read_tokenizer(
        folder,
        length=config.text.max_position_embeddings,
        vocabulary=config.text.vocab_size,
        tell=tell,
    )
    params = read_part(
        partial(_parameters, folder),
        clip_shapes(config),
        dtype=dtype,
        what=f"the CLIP of {folder}",
    )
    read = jax.jit(partial(clip_text, config))
    prepare = lambda x: prepare_clip(x, config.vision.image_size)
    see = jax.jit(lambda weights, x: clip_image(config, weights, prepare(x)))
    return Judge(
        name=name if is_commit(folder.name) else folder.name,
        of_texts=lambda texts: _chunked(partial(read, params), tokenize(list(texts))),
        of_pictures=lambda x: _chunked(partial(see, params), np.asarray(x, np.float32)),
    )


def embedded_judge() -> Path:
    """The folder of the judge that lies in the package."""
    from adreamer_jax import prior

    return Path(prior.__file__).parent / EMBEDDED


def _parameters(folder: Path) -> dict[str, np.ndarray]:
    state = read_state(folder)
    return {k: v for k, v in state.items() if not k.endswith(_BUFFERS)}


def _chunked(function: Callable, rows: np.ndarray) -> np.ndarray:
    """The function of all rows, some at a time; repeats fill the last chunk."""
    parts = []
    for i in range(0, len(rows), CHUNK):
        some = rows[i : i + CHUNK]
        filled = np.resize(np.arange(len(some)), CHUNK)
        parts.append(np.asarray(function(some[filled]))[: len(some)])
    return np.concatenate(parts)


def clip_score(
    pictures: Float[np.ndarray, "n p"], text: Float[np.ndarray, "p"]
) -> float:
    """A hundred times the mean cosine of a scene's pictures with its text."""
    return float(100.0 * np.mean(pictures @ text))


def ranks(
    pictures: Float[np.ndarray, "n p"],
    texts: Float[np.ndarray, "t p"],
    own: Sequence[int] | np.ndarray,
) -> np.ndarray:
    """How many texts fit each picture better than its own; ties are shared evenly."""
    cosines = pictures @ texts.T
    mine = cosines[np.arange(len(pictures)), np.asarray(own)][:, None]
    ties = (cosines == mine).sum(1) - 1
    return (cosines > mine).sum(1) + 0.5 * ties


def r_precision(
    pictures: Float[np.ndarray, "n p"],
    texts: Float[np.ndarray, "t p"],
    own: Sequence[int] | np.ndarray,
    *,
    k: int = 1,
) -> float:
    """Percent of pictures whose own text is among the k that fit best."""
    if not 1 <= k <= len(texts):
        raise ValueError(
            f"k of R-Precision must be in 1 ... {len(texts)}, the number of texts, got "
            f"{k}; give more texts"
        )
    return float(100.0 * np.mean(ranks(pictures, texts, own) < k))


def clip_t(frames: Float[np.ndarray, "t p"]) -> float:
    """A hundred times the mean cosine of consecutive frames of a video."""
    if len(frames) < 2:
        raise ValueError(
            f"CLIP-T must be asked of two frames or more, got {len(frames)}; give the "
            "whole video"
        )
    return float(100.0 * np.mean(np.sum(frames[1:] * frames[:-1], axis=-1)))


def _meaning(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower())) - {"a", "an", "the"}


def scores(
    judge: Judge,
    videos: dict[str, Float[np.ndarray, "t h w 3"]],
    *,
    among: Sequence[str] = (),
    k: Sequence[int] = (1, 10),
) -> dict[str, Any]:
    """All figures of scenes by their prompt, each a row of pictures in order.

    R-Precision ranks the scenes' prompts together with the texts ``among``, but for
    those that say less or more of the same and would be as true ("a tiger" beside "a
    tiger walking").
    """
    prompts = list(videos)
    meant = [_meaning(prompt) for prompt in prompts]
    other = lambda text: (
        not any(_meaning(text) <= one or one <= _meaning(text) for one in meant)
    )
    texts = prompts + [text for text in among if other(text)]
    read = judge.of_texts(texts)
    seen = {prompt: judge.of_pictures(video) for prompt, video in videos.items()}
    every = np.concatenate(list(seen.values()))
    own = np.repeat(np.arange(len(prompts)), [len(s) for s in seen.values()])
    figures: dict[str, Any] = {
        "judge": judge.name,
        "texts": len(texts),
        "clip_score": float(
            np.mean([clip_score(seen[p], read[i]) for i, p in enumerate(prompts)])
        ),
        "clip_t": float(np.mean([clip_t(s) for s in seen.values() if len(s) > 1])),
    }
    precision = {
        f"r_precision@{n}": r_precision(every, read, own, k=n)
        for n in k
        if n <= len(texts)
    }
    return figures | precision
