"""The hash grid: forward, gradients and the eikonal step, against the same in torch.

    python benchmarks/hashgrid.py --size=small

Prints milliseconds of process CPU time and ratios. Pin it to one core for figures
(`taskset -c 0`): torch uses one thread here and XLA as many as it finds. Without torch
only our own forms are compared.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # from a checkout, anywhere

from adreamer_jax.core.hashgrid import GridSpec, encode, encode_with_slopes, init_grid
from benchmarks.timing import cpu_ms, table, torch_or_none

SIZES = {
    "tiny": (GridSpec(levels=4, log2_slots=10, features=2, finest=64), 2_048),
    "small": (GridSpec(levels=8, log2_slots=14, features=2, finest=256), 65_536),
    "large": (GridSpec(levels=16, log2_slots=19, features=2, finest=2048), 65_536),
}
PRIMES = (1, 2654435761, 805459861)


def plain(tables, points, spec):
    """Autodiff's own form: every level and corner in one gather, then one sum."""
    cells = jnp.asarray(spec.resolutions(), jnp.float32)[:, None, None]
    scaled = points[None] * cells
    low = jnp.minimum(jnp.floor(scaled), cells - 1)
    place = scaled - low
    bits = np.array([[i & 1, (i >> 1) & 1, (i >> 2) & 1] for i in range(8)])
    corner = low.astype(jnp.uint32)[:, :, None] + jnp.asarray(bits, jnp.uint32)
    side = (cells.astype(jnp.uint32) + 1)[..., 0][:, None]
    x, y, z = (corner[..., a] for a in range(3))
    hashed = x ^ (y * jnp.uint32(PRIMES[1])) ^ (z * jnp.uint32(PRIMES[2]))
    fits = jnp.asarray((spec.resolutions() + 1) ** 3 <= spec.slots)[:, None, None]
    slot = jnp.where(fits, x + side * y + side * side * z, hashed) % spec.slots
    weight = jnp.prod(
        jnp.where(bits == 1, place[:, :, None], 1 - place[:, :, None]), -1
    )
    entry = jax.vmap(lambda t, s: t[s])(tables, slot.astype(jnp.int32))
    out = jnp.sum(weight[..., None] * entry, axis=2)
    return jnp.moveaxis(out, 0, 1).reshape(points.shape[0], -1)


def torch_forms(torch, tables, points, spec):
    """The usual formula in torch (int64 hash, one look-up) and its gradients."""
    cells = torch.tensor(spec.resolutions())
    bits = torch.tensor([[i & 1, (i >> 1) & 1, (i >> 2) & 1] for i in range(8)])
    fits = torch.tensor((spec.resolutions() + 1) ** 3 <= spec.slots)[:, None, None]
    weights = torch.tensor(np.asarray(tables))
    where = torch.tensor(np.asarray(points))
    level = torch.arange(spec.levels)[:, None, None]

    def forward(t, p):
        scaled = p[None] * cells[:, None, None]
        low = torch.minimum(torch.floor(scaled), cells[:, None, None] - 1)
        place = (scaled - low)[:, :, None]
        x, y, z = (low.long()[:, :, None] + bits).unbind(-1)
        side = (cells + 1)[:, None, None]
        hashed = x ^ (y * PRIMES[1]) ^ (z * PRIMES[2])
        slot = torch.where(fits, x + side * y + side * side * z, hashed) % spec.slots
        weight = torch.where(bits == 1, place, 1 - place).prod(-1)
        out = (weight[..., None] * t[level, slot]).sum(2)
        return out.movedim(0, 1).reshape(p.shape[0], -1)

    def grown(t, p):
        return t.clone().requires_grad_(), p.clone().requires_grad_()

    def table_gradient():
        t, _ = grown(weights, where)
        return torch.autograd.grad(forward(t, where).square().sum(), t)

    def both_gradients():
        t, p = grown(weights, where)
        return torch.autograd.grad(forward(t, p).square().sum(), (t, p))

    def eikonal():
        t, p = grown(weights, where)
        (slope,) = torch.autograd.grad(forward(t, p).sum(), p, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), t)

    with torch.no_grad():
        check = forward(weights, where).numpy()
    no_grad = torch.no_grad()(lambda: forward(weights, where))
    return [no_grad, table_gradient, both_gradients, eikonal], check


def jax_forms(function, tables, points):
    """Forward, table gradient, both gradients and eikonal of one look-up function."""
    energy = lambda t, p: jnp.sum(function(t, p) ** 2)

    def slope(t, p):
        return jnp.sum(jax.grad(lambda p: jnp.sum(function(t, p)))(p) ** 2)

    forms = [function, jax.grad(energy), jax.grad(energy, (0, 1)), jax.grad(slope)]
    return [partial(jax.jit(f), tables, points) for f in forms]


def main():
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--size", choices=SIZES, default="small")
    words.add_argument("--repeats", type=int, default=5)
    words = words.parse_args()
    spec, count = SIZES[words.size]
    tables = init_grid(jax.random.key(0), spec, scale=1.0)
    points = jax.random.uniform(jax.random.key(1), (count, 3))
    ours = jax_forms(lambda t, p: encode(t, p, spec), tables, points)

    def slopes(t, p):
        return jnp.sum(jnp.sum(encode_with_slopes(t, p, spec)[1], axis=-1) ** 2)

    ours[3] = partial(jax.jit(jax.grad(slopes)), tables, points)
    contests = {
        "ours": ours,
        "plain": jax_forms(lambda t, p: plain(t, p, spec), tables, points),
    }
    torch = torch_or_none()
    if torch is not None:
        contests["torch"], check = torch_forms(torch, tables, points, spec)
        print("difference from torch", np.abs(check - ours[0]()).max())
    print("difference from plain", np.abs(contests["plain"][0]() - ours[0]()).max())
    rows = []
    for i, what in enumerate(("forward", "d tables", "d tables, points", "eikonal")):
        times = cpu_ms({k: v[i] for k, v in contests.items()}, repeats=words.repeats)
        ratios = [times[k] / times["ours"] for k in times if k != "ours"]
        rows.append([what, *times.values(), *ratios])
    others = [k for k in contests if k != "ours"]
    head = ["CPU ms", *contests, *(f"{k} / ours" for k in others)]
    print(
        f"{words.size}: {spec.levels} levels, 2^{spec.log2_slots} slots, {count} points"
    )
    print(table(head, rows))


if __name__ == "__main__":
    main()
