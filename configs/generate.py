"""Generation: a prompt becomes a new model on the skeleton of an extracted one.

    python main.py --config=configs/generate.py --config.generate.source=runs/RUN \
        --config.generate.prompt="a tiger"
    ... --config.generate.motion=runs/OTHER     with the motion of another run

The source is the work folder of an extraction (configs/extract.py or configs/csd.py);
it is only read. What ``generate`` says takes the place of the same section of the
source's recipe; all keys that stand in configs/extract.py mean the same here. Sizes:
default for a CPU, paper (MVDream, 12,000 steps, for a GPU; it has not been run to its
end) and smoke (minutes, most of them compiling).
"""

from ml_collections import ConfigDict

from adreamer_jax.run.recipe import load_recipe

_PROMPTS = (
    "a red fox", "a gray rhino", "a brown bear", "a tiger", "a zebra", "a white sheep",
    "a brown horse", "an elephant", "a giraffe", "a pink pig", "a black cat",
    "a green crocodile", "a camel", "a rabbit", "a lion", "a cow",
)  # fmt: skip


def get_config(size: str = "default") -> ConfigDict:
    """The recipe at a size."""
    sizes = {"default": default, "paper": paper, "smoke": smoke}
    if size not in sizes:
        raise ValueError(
            f"the size after the colon must be one of {', '.join(sizes)}, got {size}; "
            "write --config=configs/generate.py for the default"
        )
    return sizes[size]()


def default() -> ConfigDict:
    """The embedded prior, on a CPU."""
    first = load_recipe("extract.py")
    config = ConfigDict()
    config.prior = first.prior
    config.generate = made = ConfigDict(
        dict(
            source="",  # work folder of the extraction; empty: the run's own
            motion="",  # work folder of another extraction whose motion is taken
            prompt="a pink pig",
            prompt_suffix="",  # said after the prompt
            negative_prompt="",
            start=dict(shape="keep", color="fresh"),  # of the extracted, or "fresh"
            fit=dict(  # of the rest shape to a sampled set of views, at first
                steps=400,
                rings=3,  # of cameras, that the prior draws together
                elevation_deg=(5.0, 30.0),  # of the first and the last ring
                guidance=2.0,
                chain=20,  # DDIM steps
                tries=8,  # the most consistent one is taken that suits the bones
                # the animal moves onto the extracted one's limbs, as far as parts find
                # each other within this, in radii, and by such a scale; 0: it stays
                reach=0.25,
                scale=(0.7, 1.6),
                color=1.0,  # weight of drawn colors beside drawn outlines
                every=2,  # later on, so manyth step goes on with the set; 0: none
                suffix=" standing",  # said after the prompt: as the skeleton at rest
            ),
            judge=dict(
                name="",  # folder of a CLIP; empty: the embedded one
                among=_PROMPTS,  # R-Precision: the prompt must win against these
            ),
        )
    )
    made.data = ConfigDict(dict(views=first.data.views))
    made.scene = ConfigDict(
        dict(
            field=dict(
                beta=((0.0, 0.015), (0.5, 0.009), (1.0, 0.004)),
                detail=((0.0, 0.65), (1.0, 0.85)),  # what 64 pixels can teach
            ),
            bones=dict(reach=1e6),  # the new shape may lie farther from the bones
        )
    )
    made.render = ConfigDict(
        dict(
            grow_until=0.8,  # until this part of the run, space counts that is
            grow_reach=0.12,  # ... no farther from the surface than this
            inverse_steps=3,  # the backward warp was taught with another shape
            inverse_gap=0.02,
        )
    )
    made.csd = first.csd
    made.csd.update(
        dict(
            every=1,
            form="caption",  # the clean estimate of a weak prior melts what is thin
            chain=1,
            shown_deg=0.0,  # of a new animal nothing has been seen
            guidance=5.0,
            time_low=((0.0, 0.02),),
            time_high=((0.0, 0.4),),
            entropy=0.02,
            ratio=0.0,
            share=0.5,  # a bear fills more of the pictures than a fox
        )
    )
    # a term that looks at the clip begins when it is given a weight; its ramp ends it
    made.loss = ConfigDict({name: 0.0 for name in first.loss})
    made.loss.update(
        dict(
            csd=8.0,  # less, and smoothness alone decides about what is thin
            skeleton=1.0,  # joints hold and turn as far as in the clip (L_skel)
            bone=0.1,  # rest centers lie inside of the surface (L_bone)
            bone_skin=0.01,  # the bones' ellipsoids fill the shape
            eikonal=0.3,
            smooth=0.25,  # more, and ears and tails go and legs are bridged
            color_smooth=0.0,
            tear=6.0,  # legs that part are not bridged
        )
    )
    made.loss_numbers = ConfigDict(
        dict(
            # what is cut out of the volume is left just beyond zero, where any noise
            # is a pit: most points of slope and smoothness are moved onto the surface,
            # and their neighbors are near, since across a thin leg the normals differ
            points=2048,
            surface=0.75,
            smooth_distance=0.015,
            tear_most=1.5,  # a stroke may grow so much, as it does over a knee
            tear_points=2048,
            tear_frames=4,
        )
    )
    made.ramp = ConfigDict({name: () for name in made.loss})
    for name in ("rgb", "mask", "flow", "cycle"):
        made.ramp[name] = ((0.0, 1.0), (0.5, 0.0))
    made.ramp.tear = ((0.6, 1.0), (0.8, 2.0))  # while the surface is sharp
    made.optimizer = ConfigDict(
        dict(
            rates=dict(first.optimizer.rates)
            | dict(camera=0.0, focal=0.0, motion=1e-3, plane=0.0),
            starts=dict(motion=1.0),  # part of the run at which a group begins
            warmup=20,
            end=0.1,
        )
    )
    made.run = ConfigDict(
        dict(
            stage="generate",
            seed=0,
            steps=500,
            rigid=0,
            refresh_every=20,
            mesh_level=2.5,  # thin parts are soft: at 1, ears that one sees are missing
            log_every=20,
            save_every=100,
            show_every=100,
        )
    )
    return config


def paper() -> ConfigDict:
    """The published prior and steps, for a GPU."""
    config, first = default(), load_recipe("extract.py:paper")
    made = config.generate
    config.prior, made.data.views = first.prior, first.data.views
    made.csd.update(first.csd)
    made.csd.every = 1
    made.scene.field.beta = ((0.0, 0.02), (1.0, 0.005))
    made.scene.field.beta_learned = False  # as it is in the first stage
    # the network of time holds the bones' rest places, too: held still, neither L_skel
    # nor L_bone would move anything
    made.optimizer.starts.motion = 0.0
    made.scene.field.detail = ()
    made.fit.steps = 0
    made.render.inverse_steps, made.run.mesh_level = 0, 1.0  # as published
    made.loss.update(dict(csd=1.0, eikonal=0.02, smooth=0.02, tear=0.0))
    made.loss_numbers.surface = 0.0
    for name in ("points", "smooth_distance"):
        made.loss_numbers[name] = first.loss_numbers[name]
    made.optimizer.rates.update(first.optimizer.rates)
    made.optimizer.rates.update(dict(camera=0.0, focal=0.0, plane=0.0))
    made.run.update(
        dict(steps=12_000, refresh_every=200, save_every=500, show_every=1000)
    )
    return config


def smoke() -> ConfigDict:
    """Seconds: the whole chain, not its quality."""
    config = default()
    config.prior.name = "random"
    own = dict(config.generate.csd)
    config.generate.csd.update(load_recipe("extract.py:smoke").csd)
    config.generate.csd.update({name: own[name] for name in ("every", "form")})
    config.generate.fit.update(dict(steps=2, rings=2, chain=3, tries=2))
    config.generate.run.update(
        dict(steps=6, refresh_every=3, log_every=1, save_every=2, show_every=6)
    )
    return config
