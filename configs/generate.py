"""Generation: a prompt becomes a new model on the skeleton of an extracted one.

    python main.py --config=configs/generate.py --config.generate.source=runs/RUN \
        --config.generate.prompt="a tiger"
    ... --config.generate.motion=runs/OTHER     with the motion of another run

The source is the work folder of an extraction (configs/extract.py or configs/csd.py);
it is only read. What ``generate`` says takes the place of the same section of the
source's recipe. Sizes: default for a CPU, paper (MVDream, 12,000 steps, for a GPU; it
has not been run to its end) and smoke (seconds).
"""

from ml_collections import ConfigDict

_PROMPTS = (
    "a red fox", "a gray wolf", "a brown bear", "a tiger", "a zebra", "a white sheep",
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
    config = ConfigDict()
    config.prior = ConfigDict(
        dict(
            name="",  # folder, .pt file, hub name or "mvdream"; empty: the embedded one
            revision="",  # commit of the hub; empty: the newest
            dtype="float32",  # or "bfloat16", "float16"
        )
    )
    config.generate = ConfigDict(
        dict(
            source="",  # work folder of the extraction; empty: the run's own
            motion="",  # work folder of another extraction whose motion is taken
            prompt="a brown bear",
            prompt_suffix="",  # said after the prompt
            negative_prompt="",
            start=dict(shape="keep", color="fresh"),  # of the extracted: or "fresh"
            data=dict(
                frames_per_step=8,  # of the clip, where a term still looks at it
                views=dict(elevation_deg=(-10.0, 40.0)),
            ),
            scene=dict(
                field=dict(
                    beta=((0.0, 0.04), (0.6, 0.012), (1.0, 0.007)),
                    detail=((0.0, 0.6), (0.4, 1.0)),
                ),
                bones=dict(reach=1e6),  # the new shape may lie farther from the bones
            ),
            render=dict(
                grow_until=0.8,  # until this part of the run, space counts that is
                grow_reach=0.12,  # ... no farther from the surface than this
            ),
            csd=dict(
                every=1,
                guidance=5.0,
                time_low=((0.0, 0.6), (0.6, 0.02)),
                time_high=((0.0, 0.98), (0.6, 0.5)),
                entropy=0.0,
                ratio=0.0,
            ),
            loss=dict(
                csd=1.0,
                skeleton=1.0,  # joints hold and turn as far as in the clip (L_skel)
                bone=0.1,  # rest centers lie inside of the surface (L_bone)
                bone_skin=0.01,  # the bones' ellipsoids fill the shape
                eikonal=0.02,
                smooth=0.02,
                color_smooth=0.0,
                neighbor=0.0,
                gauge=0.0,
                bone_smooth=0.0,
                rgb=0.0,  # terms that look at the clip: give them a weight, and a ramp
                mask=0.0,  # that takes them away
                flow=0.0,
                feature=0.0,
                match=0.0,
                visibility=0.0,
                hidden_visibility=0.0,
                cycle=0.0,
                symmetry=0.0,
                opacity_entropy=0.0,
                delta_skin=0.0,
                skin_entropy=0.0,
                bone_mask=0.0,
                camera_prior=0.0,
                camera_acceleration=0.0,
                motion_size=0.0,
            ),
            ramp=dict(
                csd=(),
                skeleton=(),
                bone=(),
                bone_skin=(),
                eikonal=(),
                smooth=(),
                color_smooth=(),
                neighbor=(),
                gauge=(),
                bone_smooth=(),
                rgb=((0.0, 1.0), (0.5, 0.0)),
                mask=((0.0, 1.0), (0.5, 0.0)),
                flow=((0.0, 1.0), (0.5, 0.0)),
            ),
            optimizer=dict(
                rates=dict(
                    table=1e-2,
                    network=2e-3,
                    sharpness=1e-3,
                    camera=0.0,
                    focal=0.0,
                    motion=1e-3,
                    delta=1e-3,
                    bones=1e-3,
                    plane=0.0,
                ),
                starts=dict(motion=1.0),  # part of the run at which a group begins
                warmup=20,
                end=0.1,
            ),
            judge=dict(
                name="",  # folder of a CLIP; empty: the embedded one
                among=_PROMPTS,  # R-Precision: the prompt must win against these
            ),
            run=dict(
                stage="generate",
                seed=0,
                steps=600,
                rigid=0,
                refresh_every=20,
                log_every=20,
                save_every=100,
                show_every=150,
            ),
        )
    )
    return config


def paper() -> ConfigDict:
    """The published prior and steps, for a GPU."""
    config = default()
    config.prior.name, config.prior.dtype = "mvdream", "bfloat16"
    made = config.generate
    made.csd.guidance = 50.0
    made.csd.time_low = ((0.0, 0.98), (0.67, 0.02))
    made.csd.time_high = ((0.0, 0.98), (0.67, 0.5))
    made.scene.field.beta = ((0.0, 0.02), (1.0, 0.005))
    made.scene.field.detail = ()
    made.optimizer.rates.update(dict(network=5e-4, delta=5e-4, bones=5e-3, motion=5e-4))
    made.run.steps = 12_000
    made.run.refresh_every = 200
    made.run.save_every = 500
    made.run.show_every = 1000
    return config


def smoke() -> ConfigDict:
    """Seconds: the whole chain, not its quality."""
    config = default()
    config.prior.name = "random"
    config.generate.run.update(
        dict(steps=6, refresh_every=3, log_every=1, save_every=2, show_every=6)
    )
    return config
