"""Ablation: both stages with one part of the method taken away at a time.

    python main.py --config=configs/ablation.py --config.ablation.clips="('my_clip',)"

Every arm is configs/csd.py with the few changes that ``ablation.changes`` lists, so any
of them can be run alone, for example
`python main.py --config=configs/csd.py --config.generate.loss.skeleton=0.0`. The arms
of one clip and prompt share one extraction. Leaves ablation.md and ablation.html. Sizes
are those of configs/csd.py.
"""

from ml_collections import ConfigDict

_CHANGES = dict(
    full=(),
    without_csd=(("generate.loss.csd", 0.0),),
    sds_in_canonical_space=(("generate.csd.space", "canonical"),),
    no_gradient_through_the_warp=(("generate.csd.moves", "canonical"),),
    without_skeleton=(("generate.loss.skeleton", 0.0),),
    without_bone=(("generate.loss.bone", 0.0),),
    without_bone_and_skeleton=(
        ("generate.loss.bone", 0.0),
        ("generate.loss.skeleton", 0.0),
    ),
    frozen_bones=(
        ("generate.optimizer.rates.bones", 0.0),
        ("generate.optimizer.rates.motion", 0.0),
        ("generate.optimizer.rates.delta", 0.0),
    ),
    # the recipe holds the clip's motion still; these let the prior move it
    learned_motion=(("generate.optimizer.starts.motion", 0.2),),
    learned_motion_without_skeleton=(
        ("generate.optimizer.starts.motion", 0.2),
        ("generate.loss.skeleton", 0.0),
    ),
    # or prior.name, the folder of a prior that was trained so, as Stable Diffusion's
    single_view_prior=(("prior.view_attention", False),),
)


def get_config(size: str = "default") -> ConfigDict:
    """The recipe at a size."""
    if size not in ("default", "paper", "smoke"):
        raise ValueError(
            f"the size after the colon must be one of default, paper, smoke, got {size}"
            "; write --config=configs/ablation.py for the default"
        )
    config = ConfigDict()
    config.job = "ablate"  # what main.py does with this recipe
    config.ablation = ConfigDict(
        dict(
            size=size,
            clips=("",),  # folders of clips; an empty name is the embedded one
            prompts=("a brown bear",),
            seed=0,
            arms=tuple(_CHANGES)[: 2 if size == "smoke" else None],
            changes=_CHANGES,  # of each arm: (key of configs/csd.py, value)
        )
    )
    return config
