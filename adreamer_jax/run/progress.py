"""What a run says to a person: a bar in a terminal, plain lines elsewhere.

Everything goes to stderr, so that stdout stays free.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm

LINE_SECONDS = 20.0  # at most one plain line in this time


def say(text: str) -> None:
    """Print one line for a person."""
    tqdm.write(text, file=sys.stderr)


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Say that something long goes on, in a terminal with a running count."""
    start, done = time.monotonic(), threading.Event()
    if sys.stderr.isatty():
        clock = threading.Thread(target=_count, args=(what, start, done), daemon=True)
        clock.start()
    else:
        clock = None
        say(f"{what} ...")
    try:
        yield
    finally:
        done.set()
        if clock:
            clock.join()
    say(f"{what}: {time.monotonic() - start:.1f} s")


class Progress:
    """The bar (or the lines) of one stage; use it in a ``with``."""

    def __init__(self, name: str, *, start: int, total: int):
        """Begin at ``start`` of ``total`` steps."""
        self.name, self.start, self.step, self.total = name, start, start, total
        self._began = self._said = time.monotonic()
        self._asked = (start, self._began)
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(desc=name, initial=start, total=total, unit="step")

    def __enter__(self) -> Progress:
        """Give the bar to the block."""
        return self

    def __exit__(self, *_) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()

    def advance(self, step: int) -> None:
        """Say that ``step`` steps are done."""
        if self._bar is not None:
            self._bar.update(step - self.step)
        self.step = step

    def pace(self) -> float:
        """Seconds that a step took since the last time this was asked."""
        now = time.monotonic()
        pace = (now - self._asked[1]) / max(self.step - self._asked[0], 1)
        self._asked = (self.step, now)
        return pace

    def show(self, loss: float) -> None:
        """Show the loss; as a plain line only when the last one is long ago."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.4g}")
            return
        now = time.monotonic()
        if now - self._said >= LINE_SECONDS or self.step == self.total:
            self._said = now
            say(_line(self, loss, now - self._began))


def _line(progress: Progress, loss: float, seconds: float) -> str:
    pace = seconds / max(progress.step - progress.start, 1)
    left = pace * (progress.total - progress.step)
    return (
        f"{progress.name}: step {progress.step}/{progress.total}, loss {loss:.4g}, "
        f"{pace * 1000:.0f} ms a step, {duration(left)} left"
    )


def duration(seconds: float) -> str:
    """Seconds as a person says them: 42 s, 7 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _count(what: str, start: float, done: threading.Event) -> None:
    while not done.wait(0.5):
        sys.stderr.write(f"\r{what} ... {time.monotonic() - start:.0f} s ")
        sys.stderr.flush()
    sys.stderr.write("\r\x1b[K")
