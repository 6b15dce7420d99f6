"""The pocket prior: text to four views of an animal, trained on the procedural zoo.

    python main.py --config=configs/pocket.py:gpu      what ships, from nothing
    python main.py --config=configs/pocket.py          the same network, on one core
    python main.py --config=configs/pocket.py:smoke    every part in seconds, for tests
    python main.py --job=export --workdir=runs/pocket-embedded   the weights so far

Sizes: gpu learns from 2,100 sets of four views in a second on an H100 (1.5 M sets, 12
minutes; what ships had three runs, benchmarks/results/pocket.md), default from 6 on one
free core. Goes on from other weights, and from them alone, with
--config.run.start_from=FOLDER (pocket: the shipped ones).
"""

from ml_collections import ConfigDict

PROMPTS = (
    "a red cat", "a blue cat standing", "a zebra", "an elephant",
    "a giraffe", "a pink flamingo", "a penguin", "a green crocodile",
    "a yellow striped horse", "a fat purple bear", "a rabbit", "a tiger walking",
)  # fmt: skip


def get_config(size: str = "default") -> ConfigDict:
    """The recipe at a size."""
    sizes = {"default": default, "gpu": gpu, "smoke": smoke}
    if size not in sizes:
        raise ValueError(
            f"the size after the colon must be one of {', '.join(sizes)}, got {size}; "
            "write --config=configs/pocket.py for the default"
        )
    return sizes[size]()


def default() -> ConfigDict:
    """What ships: 64 x 64 pixels, 5.6 M parameters."""
    config = ConfigDict()
    config.data = ConfigDict(
        dict(
            seed=0,
            stream="training",  # of individuals; evaluation and clips have their own
            size=64,  # pixels
            samples=2,  # squared: rays of a pixel
            parallel=1,  # pictures drawn at a time: some hundreds on a GPU
            workers=0,  # processes that describe animals; 0: the run itself
            keep=True,  # pieces are kept on disk for a run that goes on
            piece=128,  # sets that are drawn together
            pieces_at_start=16,  # before the first step
            window=128,  # newest pieces that a step may read
        )
    )
    config.prior = ConfigDict(
        dict(
            alpha=True,  # the network knows object from background
            block=4,  # pixels a side that make one place of the network
            positions=True,  # learned maps of position
            dtype="float32",
            unet=dict(
                model_channels=72,
                channel_mult=(1, 2),
                num_res_blocks=1,
                attention_resolutions=(2,),
                num_head_channels=72,
                norm_groups=8,
                text_embed=True,  # the whole text beside the time, as the camera
            ),
            text=dict(
                hidden_size=128,
                intermediate_size=256,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=18,
            ),
        )
    )
    config.loss = ConfigDict(dict(color=1.0, alpha=0.25))
    config.loss_numbers = ConfigDict(
        dict(
            most=10.0,  # weight of the clean picture's error at low noise
            # levels of noise are u^power: below one more high noise, above one less
            level_power=((0.0, 0.85), (0.5, 1.0), (0.9, 1.5)),
            silent=0.1,  # share of sets without text, for guidance
            mirror=0.5,  # share of sets that are mirrored
            shown=0.4,  # share of sets in which one to three views are shown
            clear=0.1,  # highest level of noise of those
        )
    )
    config.optimizer = ConfigDict(
        dict(
            lr=1.6e-3,
            warmup=150,
            cooldown=0.35,  # last part of the run, over which the rate falls
            end=0.02,  # share of the rate that is left then
            b1=0.9,
            b2=0.99,
            clip=1.0,
        )
    )
    config.sheet = ConfigDict(dict(prompts=PROMPTS, steps=20, scale=3.0, rescale=0.5))
    config.run = ConfigDict(
        dict(
            stage="pocket",
            start_from="",  # weights of a finished prior, "pocket" for the shipped one
            seed=0,
            steps=9_000,
            batch=8,  # sets of four views
            shelf_steps=48,  # steps on one shelf: a set is used about three times
            keep=0.998,  # of the averaged weights, in every step
            validation_sets=128,
            validate_every=1_000,
            log_every=20,
            save_every=250,
            show_every=1_000,
            devices=1,
        )
    )
    return config


def gpu() -> ConfigDict:
    """The same network with large batches in half precision."""
    config = default()
    config.data.parallel = 1024
    config.data.workers = 8
    config.data.keep = False
    config.data.piece = 1024
    config.data.pieces_at_start = 24
    config.data.window = 128
    config.prior.dtype = "bfloat16"
    config.optimizer.warmup = 500
    config.optimizer.cooldown = 0.6
    config.run.steps = 12_000
    config.run.batch = 128
    config.run.shelf_steps = 96
    config.run.keep = 0.9995
    config.run.validation_sets = 512
    config.run.validate_every = 2_000
    config.run.log_every = 100
    config.run.save_every = 8_000
    config.run.show_every = 8_000
    return config


def smoke() -> ConfigDict:
    """A network that learns nothing, in seconds."""
    config = default()
    config.data.size = 16
    config.data.samples = 1
    config.data.piece = 8
    config.data.pieces_at_start = 2
    config.data.window = 3
    config.prior.block = 2
    config.prior.unet.model_channels = 16
    config.prior.unet.num_head_channels = 16
    config.prior.text.hidden_size = 16
    config.prior.text.intermediate_size = 32
    config.prior.text.num_hidden_layers = 1
    config.sheet.prompts = PROMPTS[:2]
    config.sheet.steps = 2
    config.run.steps = 4
    config.run.batch = 2
    config.run.shelf_steps = 2
    config.run.validation_sets = 8
    config.run.validate_every = 2
    config.run.save_every = 2
    config.run.show_every = 4
    config.run.log_every = 1
    return config
