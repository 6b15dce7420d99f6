"""Forward of the real-size SD 2.1 UNet on four 32x32 latents: JAX against torch.

Two processes with the same random weights on the same cores take turns, so that a busy
machine slows both. Times are CPU seconds of the process, memory is the peak resident
set during the forwards. Torch and diffusers live in an environment of their own:

    python benchmarks/unet.py --torch-python=/path/to/torch/venv/bin/python --threads=1

needs about 12 GB. The worker modes (``jax``, ``torch``) are started by the script.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # from a checkout, anywhere

from benchmarks.rivals import answer, compare

ROOT = Path(__file__).parents[1]

SHAPE = (4, 32, 32, 4)


def inputs():
    """Latents NHWC, times and context: the same in both processes."""
    generator = np.random.default_rng(0)
    latents = generator.standard_normal(SHAPE, np.float32)
    context = generator.standard_normal((SHAPE[0], 77, 1024), np.float32)
    return latents, np.full(SHAPE[0], 500, np.int64), context


def weights():
    """Yield name and value of every tensor, in torch's layout."""
    path = ROOT / "tests" / "golden" / "manifests" / "sd21_unet.json"
    generator = np.random.default_rng(1)
    for name, shape in json.loads(path.read_text()).items():
        value = generator.standard_normal(shape, np.float32)
        if len(shape) == 1:
            norm = "norm" in name and name.endswith("weight")
            yield name, 0.1 * value + float(norm)
        else:
            yield name, value * np.float32(np.prod(shape[1:])) ** -0.5


def jax_forward():
    """Return a function that runs the forward once."""
    import jax
    import jax.numpy as jnp

    from adreamer_jax.prior.load import tree_from_torch
    from adreamer_jax.prior.unet_diffusers import UNetConfig, unet

    def place(item):
        name, value = item
        return jax.tree.map(
            lambda x: jnp.array(np.ascontiguousarray(x)), tree_from_torch({name: value})
        )

    params = {}
    for item in weights():
        params = merge(params, place(item))
    config = UNetConfig()
    run = jax.jit(lambda params, *arrays: unet(config, params, *arrays))
    arrays = inputs()
    compiled = run.lower(params, *arrays).compile()
    jax.clear_caches()  # the traced program is not needed any more
    return lambda: np.asarray(compiled(params, *arrays))


def merge(tree, branch):
    """Put a one-leaf tree into a tree."""
    for name, value in branch.items():
        if isinstance(value, dict):
            merge(tree.setdefault(name, {}), value)
        else:
            tree[name] = value
    return tree


def torch_forward(threads, layout):
    """Return a function that runs the forward once, in the memory format named."""
    import torch
    from diffusers import UNet2DConditionModel

    torch.set_num_threads(threads)
    with torch.device("meta"):
        network = UNet2DConditionModel(
            block_out_channels=(320, 640, 1280, 1280),
            attention_head_dim=(5, 10, 20, 20),
            cross_attention_dim=1024,
            use_linear_projection=True,
            sample_size=64,
        )
    state = {name: torch.from_numpy(value) for name, value in weights()}
    network.load_state_dict(state, assign=True)
    del state
    network.eval()
    latents, times, context = (torch.from_numpy(x) for x in inputs())
    latents = latents.permute(0, 3, 1, 2).contiguous()
    if layout == "channels_last":
        network.to(memory_format=torch.channels_last)
        latents = latents.contiguous(memory_format=torch.channels_last)

    def forward():
        with torch.inference_mode():
            out = network(latents, times, context).sample
        return np.ascontiguousarray(out.permute(0, 2, 3, 1).numpy())

    return forward


def main():
    """Compare, or be one of the workers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", nargs="?", default="compare")
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/adreamer_unet_bench"))
    options = parser.parse_args()
    kind, threads, folder = options.kind, options.threads, options.folder
    if kind == "compare":
        report = compare(
            __file__,
            ("torch_contiguous", "torch_channels_last"),
            torch_python=options.torch_python,
            threads=threads,
            rounds=options.rounds,
            folder=folder,
        )
        print(json.dumps(report, indent=1))
        return
    layout = kind.removeprefix("torch_")
    forward = jax_forward() if kind == "jax" else torch_forward(threads, layout)
    answer(forward, folder / f"{kind}.npy")


if __name__ == "__main__":
    main()
