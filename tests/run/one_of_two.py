"""One of two processes that train the toy together: `one_of_two.py WORKDIR STEPS`."""

import sys
from pathlib import Path

import jax

from adreamer_jax.run import parallel
from adreamer_jax.run.train import train
from tests.run.common import write_end
from tests.run.toy import frozen_toy, run_section, toy

if __name__ == "__main__":
    parallel.join()
    folder, steps = Path(sys.argv[1]), int(sys.argv[2])
    assert jax.process_count() == 2 and len(jax.devices()) == 4
    run = run_section(devices=0)
    state = train(toy(steps), frozen_toy(), run, folder, stage="toy")
    if parallel.is_first():
        write_end(folder, state)
