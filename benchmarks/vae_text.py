"""The real-size autoencoder and text encoder of SD 2.1: JAX against torch on a CPU.

Two processes with the same random weights on the same cores take turns, so that a busy
machine slows both. Times are CPU seconds of the process; memory is the peak resident
set during the calls, above what the process holds at rest. Torch, diffusers and
transformers live in an environment of their own:

    python benchmarks/vae_text.py --torch-python=/path/to/torch/venv/bin/python

Tasks: encode (mean latent of one picture), gradient (of it by the picture, weights
frozen: what distillation asks for), text (two prompts of 77 tokens). Needs about 6 GB.
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

MANIFESTS = {
    "encode": "sd_vae",
    "gradient": "sd_vae",
    "text": "sd21_text_encoder",
}


def weights(task):
    """Every tensor in torch's layout; norms near one, outputs of ordinary size."""
    path = ROOT / "tests" / "golden" / "manifests" / f"{MANIFESTS[task]}.json"
    generator = np.random.default_rng(1)
    for name, shape in json.loads(path.read_text()).items():
        value = generator.standard_normal(shape, np.float32)
        if len(shape) == 1:
            yield name, 0.1 * value + float("norm" in name and "weight" in name)
        elif "embedding" in name:
            yield name, value
        else:
            yield name, value * np.float32(np.prod(shape[1:])) ** -0.5


def picture(size):
    """One picture in [0, 1], NHWC, and the cotangent of its mean latent."""
    generator = np.random.default_rng(0)
    cotangent = generator.standard_normal((1, size // 8, size // 8, 4), np.float32)
    return generator.random((1, size, size, 3), np.float32), cotangent


def token_ids():
    """Two rows of 77 tokens, the end token last."""
    ids = np.random.default_rng(0).integers(320, 40_000, (2, 77))
    ids[:, -1] = 49407
    return ids


def jax_task(task, size):
    """A function that runs the task once in JAX."""
    import jax
    import jax.numpy as jnp

    from adreamer_jax.prior.text import TextConfig, text_tokens
    from adreamer_jax.prior.tree import tree_from_torch
    from adreamer_jax.prior.vae import VaeConfig, vae_moments

    # array by array, so that no second copy of all weights stays behind
    tree = tree_from_torch({name: jnp.asarray(x) for name, x in weights(task)})
    vae = VaeConfig()

    def mean(params, image):
        return vae_moments(vae, params, image)[0]

    def gradient(params, image, cotangent):
        return jax.grad(lambda x: jnp.sum(mean(params, x) * cotangent))(image)

    image, cotangent = picture(size)
    calls = {
        "encode": (mean, image),
        "gradient": (gradient, image, cotangent),
        "text": (
            lambda params, ids: text_tokens(TextConfig(), params, ids),
            token_ids().astype(np.int32),
        ),
    }
    function, *inputs = calls[task]
    compiled = jax.jit(function).lower(tree, *inputs).compile()
    return lambda: np.asarray(compiled(tree, *inputs))


def torch_vae(task, size, layout):
    """A function that encodes once in torch, or differentiates the encoding."""
    import torch
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        network = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
        )
    state = {name: torch.from_numpy(value) for name, value in weights(task)}
    network.load_state_dict(state, assign=True)
    network.eval().requires_grad_(False)
    image, cotangent = (torch.from_numpy(x) for x in picture(size))
    image = 2.0 * image.permute(0, 3, 1, 2).contiguous() - 1.0
    cotangent = cotangent.permute(0, 3, 1, 2).contiguous()
    if layout == "channels_last":
        network.to(memory_format=torch.channels_last)
        image = image.contiguous(memory_format=torch.channels_last)

    def encode():
        with torch.inference_mode():
            found = network.encode(image).latent_dist.mean
        return found.permute(0, 2, 3, 1).numpy()

    def gradient():
        leaf = image.detach().clone().requires_grad_(True)
        found = network.encode(leaf).latent_dist.mean
        (slope,) = torch.autograd.grad(found, leaf, cotangent)
        return 2.0 * slope.permute(0, 2, 3, 1).numpy()  # by our [0, 1], not by [-1, 1]

    return {"encode": encode, "gradient": gradient}[task]


def torch_text():
    """A function that runs the text encoder once in torch."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=23,
        num_attention_heads=16,
        hidden_act="gelu",
        eos_token_id=49407,
    )
    network = CLIPTextModel(config)
    own = dict(network.named_parameters())
    for name, value in weights("text"):
        short = name.removeprefix("text_model.")  # newer classes lack the first name
        own[name if name in own else short].data = torch.from_numpy(value)
    network.eval()
    ids = torch.from_numpy(token_ids())

    def run():
        with torch.inference_mode():
            return network(ids).last_hidden_state.numpy()

    return run


def main():
    """Compare, or be one of the workers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", nargs="?", default="compare")
    parser.add_argument("--task", choices=MANIFESTS, default="encode")
    parser.add_argument("--size", type=int, default=256, help="pixels a side")
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/adreamer_vae_bench"))
    options = parser.parse_args()
    kind, task, size = options.kind, options.task, options.size
    threads, folder = options.threads, options.folder
    if kind == "compare":
        kinds = ("torch_contiguous", "torch_channels_last")
        report = compare(
            __file__,
            kinds[:1] if task == "text" else kinds,
            torch_python=options.torch_python,
            threads=threads,
            rounds=options.rounds,
            folder=folder,
            words=(f"--task={task}", f"--size={size}"),
        )
        print(json.dumps({"task": task, "size": size} | report, indent=1))
        return
    answer(rival(kind, task, size, threads), folder / f"{kind}.npy")


def rival(kind, task, size, threads):
    """The function of a worker."""
    if kind == "jax":
        return jax_task(task, size)
    import torch

    torch.set_num_threads(threads)
    layout = kind.removeprefix("torch_")
    return torch_text() if task == "text" else torch_vae(task, size, layout)


if __name__ == "__main__":
    main()
