"""Training of the extraction recipe's smoke size, without its products.

Run as a program it trains in a work folder: `python train_only.py WORKDIR`.
"""

import sys
from pathlib import Path

from adreamer_jax.run import devices, pipeline, recipe
from adreamer_jax.run.train import train
from tests.run.common import write_end


def smoke():
    config = recipe.load_recipe("extract.py:smoke")
    config.run.save_every = 4
    config.run.log_every = 2
    return config


def build(folder):
    config = smoke()
    recipe.remember(config, folder)
    clip, truth = pipeline.read(config)
    return config, pipeline.build(config, folder, clip, truth)


if __name__ == "__main__":
    devices.set_backend()
    folder = Path(sys.argv[1])
    config, model = build(folder)
    state = train(model.system, model.frozen, config.run, folder, stage=model.stage)
    write_end(folder, state)
