"""Both stages: a clip becomes an animatable model, a prompt a new one on its skeleton.

    python main.py --config=configs/csd.py
    python main.py --config=configs/csd.py --config.data.clip=my_clip \
        --config.prompt="a dog" --config.generate.prompt="a tiger"
    python main.py --config=configs/csd.py:paper --config.data.clip=my_clip \
        --config.prompt="a corgi" --config.generate.prompt="a tiger"

The default size works on the embedded clip with the embedded prior: 17 minutes on two
free cores and 3.1 GB, installation and all products of both stages included. Another
prior cannot be shown views: give --config.csd.shown_deg=0 with it. paper has the
published prior (MVDream), losses and steps, for a GPU; it has not been run to its end.
smoke is the whole chain in minutes, most of them compiling. asymmetric is the default
size for an animal whose sides differ, without the mirror plane: there the prior has to
invent the side that no camera saw, and is asked for more. Where the mirror plane shows
that side, it only mends. All settings of the first stage stand in configs/extract.py,
those of the second one in configs/generate.py.
"""

from ml_collections import ConfigDict

from adreamer_jax.run.recipe import load_recipe

_SIZES = ("default", "asymmetric", "paper", "smoke")


def get_config(size: str = "default") -> ConfigDict:
    """The recipe at a size: both recipes as one."""
    if size not in _SIZES:
        raise ValueError(
            f"the size after the colon must be one of {', '.join(_SIZES)}, got {size}"
            "; write --config=configs/csd.py for the default"
        )
    base = "default" if size == "asymmetric" else size
    config = load_recipe(f"extract.py:{base}")
    second = load_recipe(f"generate.py:{base}")
    config.prior.update(second.prior)
    config.generate = second.generate
    if base != "default":
        config.loss.csd = 0.1
        if base == "paper":  # features are of the clip's own side alone
            config.loss.feature = config.loss.match = 0.0
        return config
    config.loss.csd = 2.0
    # once there is a shape to show, and the clip has the last word
    config.ramp.csd = ((0.35, 0.0), (0.4, 1.0), (0.6, 1.0), (0.75, 0.0))
    config.csd.update(
        dict(
            every=4,
            shown_deg=8.0,  # the embedded prior completes what the clip shows
            chain=6,
            guidance=2.0,
            time_low=((0.0, 0.4),),
            time_high=((0.0, 0.7),),
        )
    )
    if size == "asymmetric":
        config.scene.field.symmetric = False
        config.loss.csd = 8.0
        config.ramp.csd = ((0.35, 0.0), (0.4, 1.0))  # nothing else says anything there
        config.csd.time_low = ((0.0, 0.85), (0.8, 0.85), (1.0, 0.4))
        config.csd.time_high = ((0.0, 0.98), (0.8, 0.98), (1.0, 0.7))
    return config
