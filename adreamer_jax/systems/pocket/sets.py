"""Sets of views for training: drawn as the run goes on, used a few times, replaced.

Sets come in pieces. A shelf holds what the next steps read; it is drawn from a window
of the newest pieces, and every new shelf finds the window one piece further on. Which
sets stand on shelf number j follows from the recipe and j alone, so a run that is
killed goes on with the very same pictures.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from adreamer_jax.data.cache import cached, content_hash
from adreamer_jax.data.gait import poses_of
from adreamer_jax.data.species import COLORS, SPECIES
from adreamer_jax.data.zoo import BUILDS, NATURAL, PATTERNS
from adreamer_jax.data.zoo_views import describers, sample_sets
from adreamer_jax.types import Bool, Int

__all__ = [
    "NAMES",
    "Pieces",
    "held_out_sets",
    "numbers_of",
    "possible_poses",
    "shelf",
]

NAMES: dict[str, tuple[str, ...]] = {  # of everything that a set is said to show
    "species": tuple(SPECIES),
    "color": (*COLORS, NATURAL),
    "pattern": (*PATTERNS, "netted"),
    "build": BUILDS,
    "pose": tuple(sorted({p for s in SPECIES.values() for p in poses_of(s)})),
}
Sets = dict[str, np.ndarray]  # images uint8 [n 4 h w 4], cameras [n 4 16], captions [n]
DRAWN_AT_ONCE = 128


class Pieces:
    """Pieces of sets by their number, each drawn once and kept in a file.

    The piece after the last one asked for is drawn meanwhile.
    """

    def __init__(self, config: Any, cache: Path):
        """Draw what ``config.data`` describes and keep it in the folder ``cache``.

        With ``data.workers`` that many processes describe the animals; with
        ``data.keep`` False nothing is written, and a run that goes on draws again.
        """
        self._config, self._cache = config, Path(cache)
        workers = config.data.workers
        self._pool = describers(workers) if workers else None
        self._held: OrderedDict[int, Sets] = OrderedDict()
        self._worker = ThreadPoolExecutor(1)
        self._next: tuple[int, Future] | None = None

    def __call__(self, number: int) -> Sets:
        """One piece; only as many as the window is long stay in memory."""
        if number not in self._held:
            self._held[number] = self._awaited(number)
        while len(self._held) > self._config.data.window:
            self._held.popitem(last=False)
        return self._held[number]

    def expect(self, number: int) -> None:
        """Begin to draw a piece that will be asked for later."""
        if number not in self._held and self._next is None:
            self._next = (number, self._worker.submit(self._draw, number))

    def _awaited(self, number: int) -> Sets:
        coming, self._next = self._next, None
        if coming is not None and coming[0] == number:
            return coming[1].result()
        return self._draw(number)

    def _draw(self, number: int) -> Sets:
        data = self._config.data
        cache = self._cache if data.keep else None
        start = number * data.piece
        return _drawn(cache, data, start=start, count=data.piece, pool=self._pool)


def shelf(config: Any, pieces: Callable[[int], Sets], number: int) -> Sets:
    """Shelf ``number``: different sets of the window, in an order of chance."""
    data, run = config.data, config.run
    newest = data.pieces_at_start + number
    window = range(max(0, newest - data.window), newest)
    held = [pieces(i) for i in window]
    random = np.random.default_rng([run.seed, number])
    count = run.shelf_steps * run.batch
    rows = random.choice(len(window) * data.piece, count, replace=False)
    which, place = np.divmod(rows, data.piece)

    def take(name: str) -> np.ndarray:
        first = held[0][name]
        kind = np.result_type(*(piece[name].dtype for piece in held))  # texts: longest
        found = np.empty((count, *first.shape[1:]), kind)
        for i, piece in enumerate(held):
            here = np.flatnonzero(which == i)
            found[here] = piece[name][place[here]]
        return found

    return {name: take(name) for name in held[0]}


def held_out_sets(config: Any, cache: Path, *, count: int) -> Sets:
    """Sets of combinations that training never sees, always the same."""
    return _drawn(
        cache, config.data, start=0, count=count, held_out=True, stream="evaluation"
    )


def _drawn(
    cache: Path | None,
    data: Any,
    *,
    start: int,
    count: int,
    pool: Executor | None = None,
    **options: Any,
) -> Sets:
    """Sets of a seed, from their file in ``cache`` or drawn anew."""
    settings: dict[str, Any] = dict(
        seed=data.seed, size=data.size, samples=data.samples, stream=data.stream
    )
    settings |= options
    most = max(DRAWN_AT_ONCE, data.parallel)
    named = content_hash(*settings.values(), start, count)

    def compute() -> Sets:
        parts = [
            sample_sets(
                **settings,
                start=start + i,
                count=min(most, count),
                parallel=data.parallel,
                pool=pool,
            )
            for i in range(0, count, most)
        ]
        return _joined(parts, count)

    if cache is None:
        return compute()
    return cached(Path(cache) / f"sets-{named}.npz", compute)


def _joined(parts: Sequence[Any], count: int) -> Sets:
    """One table of pictures, cameras, captions and what those speak of."""
    join = lambda get: np.concatenate([np.asarray(get(p)) for p in parts])[:count]
    table = {
        name: join(lambda p, name=name: p[name])
        for name in ("images", "cameras", "captions")
    }
    for name in parts[0]["attributes"]:
        table[name] = join(lambda p, name=name: p["attributes"][name])
    return table


def numbers_of(sets: Sets, what: Sequence[str]) -> Int[np.ndarray, "b a"]:
    """What every set shows, as places in `NAMES`; a column each word of ``what``."""
    columns = [[NAMES[name].index(str(x)) for x in sets[name]] for name in what]
    return np.array(columns).T


def possible_poses() -> Bool[np.ndarray, "species pose"]:
    """Which poses each species takes, in the order of `NAMES`."""
    every = NAMES["pose"]
    return np.array([[p in poses_of(s) for p in every] for s in SPECIES.values()])
