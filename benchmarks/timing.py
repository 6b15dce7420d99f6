"""Process CPU time of several contestants in turns, and tables of it.

CPU time and not the clock, since other work may run beside; turns and medians, since
the machine changes its speed. What lasts of such figures are the ratios of one run.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import jax


def cpu_ms(
    contestants: Mapping[str, Callable[[], object]], *, repeats: int
) -> dict[str, float]:
    """Median milliseconds of process CPU time of each contestant, measured in turns."""
    seconds = {name: [] for name in contestants}
    for function in contestants.values():
        jax.block_until_ready(function())  # compiles
    for _ in range(repeats):
        for name, function in contestants.items():
            start = time.process_time()
            jax.block_until_ready(function())
            seconds[name].append(time.process_time() - start)
    return {name: 1e3 * statistics.median(times) for name, times in seconds.items()}


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers with three digits."""
    show = lambda v: f"{v:.3g}" if isinstance(v, float) else str(v)
    lines = [head, ["---"] * len(head), *([show(v) for v in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def torch_or_none():
    """The torch module with one thread, or None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    return torch
