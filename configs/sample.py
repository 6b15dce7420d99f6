"""Sampling: views of one object, drawn by a diffusion prior from a text.

    python main.py --config=configs/sample.py --config.prompt="a red fox"
    ... --config=configs/sample.py:paper      MVDream's published weights, for a GPU
    ... --config=configs/sample.py:smoke      seconds, random weights, for tests

Needs no download at the default size. At `paper` it fetches the published folder once
(about 5 GB) or reads the one that --config.prior.name=FOLDER names.
"""

from ml_collections import ConfigDict


def get_config(size: str = "default") -> ConfigDict:
    """The recipe at a size."""
    sizes = {"default": default, "paper": paper, "smoke": smoke}
    if size not in sizes:
        raise ValueError(
            f"the size after the colon must be one of {', '.join(sizes)}, got {size}; "
            "write --config=configs/sample.py for the default"
        )
    return sizes[size]()


def default() -> ConfigDict:
    """The embedded prior."""
    config = ConfigDict()
    config.job = "sample"  # what main.py does with this recipe
    config.prompt = "a red fox"
    config.prompt_suffix = ""  # said after every prompt
    config.negative_prompt = ""
    config.prior = ConfigDict(
        dict(
            name="",  # folder, .pt file, hub name or "mvdream"; empty: the embedded one
            # commit of the hub; empty: the newest, which WORKDIR/prior.json then keeps
            revision="",
            dtype="float32",  # or "bfloat16", "float16"
        )
    )
    config.view = ConfigDict(dict(azimuth_deg=0.0, elevation_deg=15.0))
    config.guidance = ConfigDict(dict(scale=3.0, rescale=0.5))
    config.run = ConfigDict(dict(seed=0, steps=30, eta=0.0))
    return config


def paper() -> ConfigDict:
    """MVDream as its authors sample from it."""
    config = default()
    config.prior.name = "mvdream"
    config.prior.dtype = "bfloat16"
    config.prompt_suffix = ", 3d asset"
    config.guidance.scale = 7.5
    config.guidance.rescale = 0.0
    config.run.steps = 50
    return config


def smoke() -> ConfigDict:
    """Random weights: every code path in seconds."""
    config = default()
    config.prior.name = "random"
    config.run.steps = 3
    return config
