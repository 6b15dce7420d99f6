"""The examiner: names the species, color and pose of a zoo animal, to check the prior.

    python main.py --config=configs/examiner.py          what ships
    python main.py --config=configs/examiner.py:smoke    every part in seconds

Learns from other individuals than the pocket prior (another seed) and shares nothing
with the judge but those. Its weights come to runs/examiner-embedded/export/examiner.
"""

from ml_collections import ConfigDict


def get_config(size: str = "default") -> ConfigDict:
    """The recipe at a size."""
    sizes = {"default": default, "smoke": smoke}
    if size not in sizes:
        raise ValueError(
            f"the size after the colon must be one of {', '.join(sizes)}, got {size}; "
            "write --config=configs/examiner.py for the default"
        )
    return sizes[size]()


def default() -> ConfigDict:
    """What ships."""
    config = ConfigDict()
    config.data = ConfigDict(
        dict(
            seed=1,  # the prior's are others
            stream="training",
            size=32,
            samples=2,
            parallel=1,
            piece=128,  # sets that are drawn together
            pieces_at_start=24,
            window=128,
        )
    )
    config.examiner = ConfigDict(dict(channels=(48, 96, 128)))
    config.loss_numbers = ConfigDict(
        dict(
            shift=2,  # pixels either way
            blur=0.6,  # most of a pixel that its neighbors make
            noise=0.08,  # most grain
        )
    )
    config.optimizer = ConfigDict(
        dict(
            lr=2e-3,
            warmup=100,
            cooldown=0.6,  # last part of the run, over which the rate falls
            end=0.02,
            b1=0.9,
            b2=0.98,
            clip=1.0,
        )
    )
    config.run = ConfigDict(
        dict(
            stage="examiner",
            start_from="",  # weights of a folder, "examiner" for the shipped ones
            seed=0,
            steps=5_000,
            batch=24,  # sets of four views
            shelf_steps=40,  # a set is seen about seven times
            keep=0.995,
            validation_sets=512,
            validate_every=500,
            log_every=50,
            save_every=500,
            show_every=0,
            devices=1,
        )
    )
    return config


def smoke() -> ConfigDict:
    """A network that learns nothing, in seconds."""
    config = default()
    config.data.size = 16
    config.data.samples = 1
    config.data.piece = 8
    config.data.pieces_at_start = 2
    config.data.window = 3
    config.examiner.channels = (8, 8)
    config.run.steps = 4
    config.run.batch = 4
    config.run.shelf_steps = 2
    config.run.validation_sets = 8
    config.run.validate_every = 2
    config.run.save_every = 2
    config.run.log_every = 1
    return config
