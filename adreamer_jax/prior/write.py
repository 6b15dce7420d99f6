"""Prior folders made here: a trained prior for shipping, a tiny random one for tests.

What is written is the layout that `load` reads, torch names and all, so that our own
priors and published ones take the same way in.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from adreamer_jax.prior.text import TextConfig, text_shapes
from adreamer_jax.prior.tree import torch_from_tree
from adreamer_jax.prior.unet_ldm import LdmConfig, unet_ldm_shapes
from adreamer_jax.prior.vae import VaeConfig, vae_shapes
from adreamer_jax.prior.vision import ClipConfig
from adreamer_jax.types import Params

SD_SCHEDULE = {
    "_class_name": "DDIMScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "steps_offset": 1,
    "set_alpha_to_one": False,
}


def write_prior(
    folder: Path,
    *,
    index: Mapping[str, Any],
    unet: tuple[LdmConfig, Params],
    text: tuple[TextConfig, Params],
    words: Sequence[str],
    schedule: Mapping[str, Any] = SD_SCHEDULE,
    vae: tuple[VaeConfig, Params] | None = None,
    dtype: Any = np.float16,
) -> None:
    """Write a prior's networks, words and schedule as a folder that `load_prior` reads.

    ``index`` says ``image_size`` and, for a prior without autoencoder, ``pixel_block``.
    The tokenizer knows ``words``, in this order behind start and end (`word_ids`).
    """
    parts = {
        "unet": (unet, "MultiViewUNetModel", "diffusion_pytorch_model"),
        "text_encoder": (text, "CLIPTextModel", "model"),
        "vae": (vae, "AutoencoderKL", "diffusion_pytorch_model"),
    }
    for part, (network, kind, file) in parts.items():
        if network is not None:
            config, params = network
            settings = {"_class_name": kind, **_settings(config)}
            _write_json(folder / part / "config.json", settings)
            _write_state(folder / part / f"{file}.safetensors", params, dtype)
    _write_json(folder / "scheduler" / "scheduler_config.json", schedule)
    write_tokenizer(folder / "tokenizer", words)
    _write_json(
        folder / "model_index.json", {"_class_name": "MVDreamPipeline", **index}
    )


def write_clip(
    folder: Path,
    config: ClipConfig,
    params: Params,
    *,
    words: Sequence[str],
    dtype: Any = np.float16,
) -> None:
    """Write both towers of CLIP and their words as one folder of transformers."""
    settings = {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "projection_dim": config.projection_dim,
        "text_config": _settings(config.text),
        "vision_config": _settings(config.vision),
    }
    _write_json(folder / "config.json", settings)
    _write_state(folder / "model.safetensors", params, dtype)
    write_tokenizer(folder, words)


def write_network(
    folder: Path, settings: Mapping[str, Any], params: Params, dtype: Any = np.float16
) -> None:
    """Write one network's settings and weights as a folder."""
    _write_json(folder / "config.json", settings)
    _write_state(folder / "model.safetensors", params, dtype)


def _settings(config: Any) -> dict[str, Any]:
    """A config's entries, without those that are off."""
    return {k: v for k, v in dataclasses.asdict(config).items() if v is not None}


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def _write_state(path: Path, params: Params, dtype: Any) -> None:
    from safetensors.numpy import save_file

    state = {name: x.astype(dtype) for name, x in torch_from_tree(params).items()}
    save_file(state, path)
    path.chmod(0o644)  # some versions keep what they write to themselves


START, END, UNKNOWN = 0, 1, 2
_SPECIAL = ("<|startoftext|>", "<|endoftext|>", "<|unknown|>")


def word_ids(words: Sequence[str]) -> dict[str, int]:
    """The id of every word that a written tokenizer knows, special ones first."""
    return {word: i for i, word in enumerate((*_SPECIAL, *words))}


def write_tokenizer(folder: Path, words: Sequence[str]) -> None:
    """Write a tokenizer of whole words in lower case, padded with the end token."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    start, end, unknown = _SPECIAL
    tokenizer = Tokenizer(models.WordLevel(word_ids(words), unk_token=unknown))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, START), (end, END)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": start,
        "eos_token": end,
        "pad_token": end,
        "unk_token": unknown,
    }
    _write_json(folder / "tokenizer_config.json", settings)


_TINY_WORDS = ("a", "red", "blue", "fox", "cat", "dog", "horse", "standing", "walking")


def random_prior(
    folder: Path, *, seed: int = 0, latent: bool = True, alpha: bool = False
) -> None:
    """Write a tiny prior of random weights: every code path, no knowledge.

    In the space of a tiny autoencoder, or on pixels (``latent`` False), with masks if
    ``alpha`` says so.
    """
    text = TextConfig(
        vocab_size=len(_TINY_WORDS) + len(_SPECIAL),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8,
        bos_token_id=START,
        eos_token_id=END,
    )
    channels = 4 if latent else 16 if alpha else 12
    unet = LdmConfig(
        in_channels=channels,
        out_channels=channels,
        model_channels=16,
        channel_mult=(1, 2),
        num_res_blocks=1,
        attention_resolutions=(2,),
        num_head_channels=16,
        context_dim=16,
        norm_groups=8,
    )
    vae = VaeConfig(block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4)
    write_prior(
        folder,
        index={"is_random": True, "image_size": 16, "pixel_block": 2},
        unet=(unet, random_params(seed, unet_ldm_shapes(unet))),
        text=(text, random_params(seed + 1, text_shapes(text))),
        words=_TINY_WORDS,
        vae=(vae, random_params(seed + 2, vae_shapes(vae))) if latent else None,
    )


def random_params(seed: int, shapes: Params) -> Params:
    """A tree of given shapes whose every layer, norms too, does something.

    Kernels have variance 1 / fan-in, norms are near one, the rest is small.
    """
    random = np.random.default_rng(seed)

    def draw(path, leaf):
        noise = random.standard_normal(leaf.shape).astype(np.float32)
        kind = path[-1].key
        if kind == "kernel":
            return noise / np.sqrt(np.prod(leaf.shape[:-1]))
        return 1.0 + 0.1 * noise if kind == "scale" else 0.1 * noise

    return jax.tree_util.tree_map_with_path(draw, shapes)
