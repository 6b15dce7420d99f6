"""The examiner: names the species, color and pose of a zoo animal, to check the prior.

    python main.py --config=configs/examiner.py:gpu      what ships, in minutes
    python main.py --config=configs/examiner.py          the same network, on one core
    python main.py --config=configs/examiner.py:smoke    every part in seconds

Learns from other individuals than the pocket prior (another seed) and shares nothing
with the judge but those. Its weights come to runs/examiner-embedded/export/examiner.
"""

from ml_collections import ConfigDict

from adreamer_jax.run.recipe import load_recipe


def get_config(size: str = "default") -> ConfigDict:
    """The recipe at a size."""
    sizes = {"default": default, "gpu": gpu, "smoke": smoke}
    if size not in sizes:
        raise ValueError(
            f"the size after the colon must be one of {', '.join(sizes)}, got {size}; "
            "write --config=configs/examiner.py for the default"
        )
    return sizes[size]()


def default() -> ConfigDict:
    """What ships: 64 x 64 pixels, 1.2 M parameters."""
    first = load_recipe("judge.py")
    config = ConfigDict()
    config.data = first.data
    config.data.size = 64
    config.data.window = 128
    config.examiner = ConfigDict(dict(channels=(48, 96, 128, 160)))
    config.loss_numbers = ConfigDict(
        dict(
            shift=4,  # pixels either way
            blur=0.6,  # most of a pixel that its neighbors make
            noise=0.08,  # most grain
        )
    )
    config.optimizer = first.optimizer
    config.optimizer.update(dict(lr=2e-3, cooldown=0.6))
    config.run = first.run
    config.run.update(
        dict(
            stage="examiner",
            steps=5_000,
            batch=24,  # sets of four views
            shelf_steps=40,  # a set is seen about seven times
            keep=0.995,
            validate_every=500,
            log_every=50,
            save_every=500,
        )
    )
    config.run.start_from = ""  # a folder of weights, "examiner" for the shipped ones
    return config


def gpu() -> ConfigDict:
    """The same network with large batches."""
    config = default()
    config.data.parallel = 1024
    config.data.workers = 3
    config.data.keep = False
    config.data.piece = 1024
    config.data.pieces_at_start = 12
    config.data.window = 64
    config.run.steps = 7_000
    config.run.batch = 64
    config.run.shelf_steps = 160
    config.run.validate_every = 1_000
    config.run.save_every = 3_500
    config.run.log_every = 200
    return config


def smoke() -> ConfigDict:
    """A network that learns nothing, in seconds."""
    config, first = default(), load_recipe("judge.py:smoke")
    config.data = first.data
    config.examiner.channels = (8, 8)
    config.run.update(first.run)
    config.run.stage = "examiner"
    return config
