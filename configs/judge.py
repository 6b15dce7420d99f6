"""The judge: a CLIP at toy size that knows the zoo, to score pictures offline.

    python main.py --config=configs/judge.py           what ships: 0.6 M parameters
    python main.py --config=configs/judge.py:smoke     every part in seconds, for tests

Learns from other individuals than the pocket prior (another seed). Its folder in
runs/judge-embedded/export/judge has the layout of a published CLIP.
"""

from ml_collections import ConfigDict


def get_config(size: str = "default") -> ConfigDict:
    """The recipe at a size."""
    sizes = {"default": default, "smoke": smoke}
    if size not in sizes:
        raise ValueError(
            f"the size after the colon must be one of {', '.join(sizes)}, got {size}; "
            "write --config=configs/judge.py for the default"
        )
    return sizes[size]()


def default() -> ConfigDict:
    """What ships."""
    config = ConfigDict()
    config.data = ConfigDict(
        dict(
            seed=1,  # the prior's is 0
            stream="training",
            size=32,
            samples=2,
            parallel=1,
            workers=0,
            keep=True,
            piece=128,  # sets that are drawn together
            pieces_at_start=24,
            window=256,
        )
    )
    config.judge = ConfigDict(
        dict(
            projection_dim=64,
            vision=dict(
                hidden_size=128,
                intermediate_size=384,
                num_hidden_layers=3,
                num_attention_heads=4,
                patch_size=8,
                hidden_act="quick_gelu",
            ),
            text=dict(
                hidden_size=96,
                intermediate_size=192,
                num_hidden_layers=1,
                num_attention_heads=3,
                max_position_embeddings=18,
                hidden_act="quick_gelu",
            ),
        )
    )
    config.loss_numbers = ConfigDict(
        dict(shift=2, noise=0.1)
    )  # pixels either way; most noise
    config.optimizer = ConfigDict(
        dict(
            lr=1e-3,
            warmup=100,
            cooldown=0.5,  # last part of the run, over which the rate falls
            end=0.02,
            b1=0.9,
            b2=0.98,
            clip=1.0,
        )
    )
    config.run = ConfigDict(
        dict(
            stage="judge",
            seed=0,
            steps=12_000,
            batch=64,  # pictures
            shelf_steps=32,  # a set is seen about 16 times, in another view or text
            keep=0.998,
            validation_sets=512,
            validate_every=1_000,
            log_every=100,
            save_every=1_000,
            show_every=0,
            devices=1,
        )
    )
    return config


def smoke() -> ConfigDict:
    """Towers that learn nothing, in seconds."""
    config = default()
    config.data.size = 16
    config.data.samples = 1
    config.data.piece = 8
    config.data.pieces_at_start = 2
    config.data.window = 3
    for tower in (config.judge.vision, config.judge.text):
        tower.hidden_size = 16
        tower.intermediate_size = 32
        tower.num_hidden_layers = 1
        tower.num_attention_heads = 2
    config.run.steps = 4
    config.run.batch = 4
    config.run.shelf_steps = 2
    config.run.validation_sets = 8
    config.run.validate_every = 2
    config.run.save_every = 2
    config.run.log_every = 1
    return config
