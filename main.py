"""The front door: `python main.py --config=configs/extract.py`."""

from adreamer_jax.run.cli import entry

if __name__ == "__main__":
    entry()
