"""Extraction: one monocular clip becomes an animatable model.

    python main.py --config=configs/extract.py                         embedded clip
    python main.py --config=configs/extract.py --config.data.clip=DIR  your own
    python main.py --config=configs/extract.py:smoke                   for tests

Sizes: default takes nine minutes on one core for a clip of 60 frames and 2.7 GB,
installation and products included. smoke is the whole chain in about a minute and
shows no quality. paper has the published networks, losses and steps, for a GPU; it has
not been run to its end.
"""

from ml_collections import ConfigDict


def get_config(size: str = "default") -> ConfigDict:
    """The recipe at a size."""
    sizes = {"default": default, "paper": paper, "smoke": smoke}
    if size not in sizes:
        raise ValueError(
            f"the size after the colon must be one of {', '.join(sizes)}, got {size}; "
            "write --config=configs/extract.py for the default"
        )
    return sizes[size]()


def default() -> ConfigDict:
    """Good results on two cores in minutes."""
    config = ConfigDict()
    config.data = ConfigDict(
        dict(
            clip="",  # folder of a clip; empty: the embedded one
            embedded=dict(num_frames=60, size=(256, 256), cycles=4.0),  # ... as this
            resolution=128,  # longest side that training sees, in pixels
            # noisy ones smoothed, unknown ones searched ("auto"); "searched" though
            # they are known; "given" as they are; or one "constant" pose
            cameras="auto",
            smooth_degree=2,  # of the polynomial in time around a steady turn
            depth_ratio=0.4,  # first guess of thickness over the smaller half extent
            fill=0.75,  # longest half extent of the first shape in the unit cube
            frames_per_step=16,
            rays_per_frame=64,
            draw_background=0.6,  # shares of the pixels that are drawn: around the
            draw_edge=0.1,  # object, along its silhouette, and in thin parts; the
            draw_thin=0.05,  # rest evenly inside
            flow_gaps=(1, 2, 4, 8),
            views=dict(  # from where the prior looks at the posed object
                elevation_deg=(-10.0, 40.0),
                fov_deg=(35.0, 60.0),
                fill=(0.82, 1.08),  # diameter of the object over the picture's height
                up=(0.0, 1.0, 0.0),  # in object space
                azimuth_offset_deg=0.0,  # where the front is, from +z towards +x
                find_front=False,  # of eight about it, let the prior choose
            ),
        )
    )
    config.prompt = ""  # what is to be seen, for the prior; empty: the clip's own words
    config.prompt_suffix = ""  # said after every prompt
    config.negative_prompt = ""
    config.prior = ConfigDict(
        dict(
            name="",  # folder, .pt file, hub name or "mvdream"; empty: the embedded one
            revision="",  # commit of the hub; empty: the newest, kept from then on
            dtype="float32",  # or "bfloat16", "float16"
            view_attention=True,  # the views of a group are judged as one scene
        )
    )
    config.csd = ConfigDict(  # canonical score distillation; loss.csd switches it on
        dict(
            groups=1,  # of views a step, spread over the devices
            every=2,  # so manyth step
            resolution=64,  # side of the pictures that are rendered
            thinning=4,  # one pixel in so many carries their gradient, by chance
            samples=40,  # along a ray
            share=0.35,  # slots for samples near the object, of all samples
            memory_mb=256.0,  # for rendering with gradient; decides the chunk of rays
            # distance to the clean estimate ("x0", or "sds" with its weight), or
            # "caption": only what the prompt adds to it, without chain and rescale
            form="x0",
            chain=1,  # DDIM steps to the clean estimate
            # above 0: views no farther than this from where the clip's cameras looked
            # are shown to the prior, which completes the others from them
            shown_deg=0.0,
            color=0.1,  # weight of completed colors beside completed outlines
            guidance=3.0,
            rescale=0.5,  # part of the spread that guidance added and is taken back
            # least and largest time over the run, as shares of the schedule
            time_low=((0.0, 0.5), (0.67, 0.02)),
            time_high=((0.0, 0.6), (0.67, 0.5)),
            background="gray",  # for priors without alpha; or "white", "random"
            entropy=0.0,  # of opacities: pays for fog
            space="posed",  # or "canonical": the rest shape, seen without the warp
            moves="canonical+warp",  # or "canonical": no gradient through the warp
            # above 0: every group of parameters gets this part of the norm of
            # reconstruction's gradient, times loss.csd
            ratio=0.0,
        )
    )
    config.scene = ConfigDict(
        dict(
            field=dict(
                backbone="hash",  # or "mlp"
                grid=dict(levels=8, log2_slots=14, features=2, coarsest=8, finest=160),
                width=48,
                depth=1,
                mlp_width=128,
                mlp_depth=5,
                symmetric=True,  # one shape for both sides of a learned mirror plane
                stance=6.0,  # 2: starts as an ellipsoid; more: boxier below, for legs
                gap=0.3,  # of that half along the mirror plane, as a share of its width
                density="volsdf",  # or "neus"
                # sharpness over the run, geometric between the knots
                # soft for long: a limb that has faded grows back where fog can reach
                beta=((0.0, 0.06), (0.5, 0.025), (0.8, 0.012), (1.0, 0.007)),
                beta_learned=False,
                detail=((0.0, 0.5), (0.33, 1.0)),  # share of open levels over the run
            ),
            bones=dict(
                count=36,  # the paper's 25 leave one or two for a leg
                motion="cosine",  # or "mlp", the paper's network of time
                terms_per_frame=0.8,  # cosines of motion: a gallop has overtones
                falloff_per_frame=1 / 6,  # ... the later ones move less and less
                seed_share=0.2,  # bones start in the shape and in this weak hull
                seed_reach=0.3,  # ... no farther from the shape than this
                reach=12.0,  # squared Mahalanobis distance beyond which space is empty
            ),
            skin=dict(delta=False),  # learned correction of the skinning
            warp=dict(blend="dqs"),  # or "lbs"
            pose=dict(motion="cosine", terms=6, zoom=False),  # or "frames", "mlp"
        )
    )
    config.render = ConfigDict(
        dict(
            samples=48,
            capacity=2048,  # slots a frame for samples near the object
            occupancy_cells=40,
            occupancy_band=0.06,  # cells no farther from the surface than this count,
            occupancy_margin=3.0,  # ... and this times the sharpness
            grow_until=0.8,  # until this part of the run, carved space counts too
            grow_share=0.2,  # ... where so many of the masks agree
            grow_reach=0.3,  # ... no farther from the surface than this
            chunk=2048,
            picture_samples=96,
            picture_share=0.25,  # slots of a picture's chunk, as a share of its samples
            inverse_steps=0,  # from the backward warp to the inverse of the forward one
            inverse_gap=0.02,  # what that misses by more, in field space, is empty
        )
    )
    config.loss = ConfigDict(
        dict(
            rgb=1.0,
            mask=1.0,
            flow=2.0,
            feature=0.0,
            match=0.0,
            visibility=0.0,
            hidden_visibility=0.0,
            cycle=0.1,
            eikonal=0.05,
            smooth=0.02,
            symmetry=0.0,
            opacity_entropy=0.0,
            delta_skin=0.005,
            skin_entropy=0.0,
            bone_skin=0.0,
            bone_mask=0.0,
            bone=0.0,
            bone_smooth=0.0,
            camera_prior=0.2,
            camera_acceleration=2000.0,
            motion_size=0.02,
            motion_rank=0.3,  # few movements in all: hidden limbs go in step
            parallax=25.0,  # more of it hinders motion that is slow in truth
            gauge=1.0,
            neighbor=10.0,
            csd=0.0,
        )
    )
    config.loss_numbers = ConfigDict(
        dict(
            points=512,
            smooth_distance=0.04,
            match_rays=32,
            # how far bones on one side of the mirror plane belong together where there
            # is no matter between them: a limb that fades keeps its bones
            tie=1.0,
            # weight of rays beside the object over the run: a generous shape first,
            # else a leg that swings is carved away before the bones can follow it
            background=((0.0, 0.3), (0.55, 0.3), (0.8, 1.0)),
        )
    )
    # multiplier of each term: ((part of the run, value), ...), straight between
    config.ramp = ConfigDict({name: () for name in config.loss})
    config.optimizer = ConfigDict(
        dict(
            lr=1.0,  # multiplies all rates
            rates=dict(
                table=1e-2,
                network=2e-3,
                sharpness=1e-3,
                camera=5e-3,
                focal=0.0,
                motion=5e-3,
                delta=1e-3,
                bones=1e-3,
                plane=5e-3,
            ),
            camera_after=0.0,  # camera rate once bones move and can excuse a drift
            warmup=50,
            end=0.15,  # rate at the end
            clip=5.0,
            b2=0.99,
            eps=1e-15,
            decay=0.0,
        )
    )
    config.run = ConfigDict(
        dict(
            stage="extract",
            seed=0,
            steps=1200,
            rigid=300,  # steps before the bones
            refresh_every=50,
            log_every=20,
            save_every=200,
            show_every=300,
            evaluate_every=7,  # frames; 7 is the protocol of all published figures
            mesh_level=1.0,  # surfaces lie so many beta outside of the zero set
            mesh_cells=72,  # along the longest side of a frame's surface
            rest_cells=96,  # along the cube for the rest mesh
            video_side=128,  # longest side of the videos' renders, in pixels
            picture_side=192,  # ... of the pictures at the end
            devices=1,
        )
    )
    return config


def paper() -> ConfigDict:
    """The published networks, losses and steps, for a GPU.

    Kept from the default where nothing is published or ours is the safer: colors by
    their absolute and not their squared error, flow errors limited at .375 of a quarter
    of the picture, one second moment (.99, for hash tables) for all parameters.
    """
    config = default()
    config.data.resolution = 256
    config.data.frames_per_step = 64
    field = config.scene.field
    field.grid = ConfigDict(
        dict(levels=16, log2_slots=19, features=2, coarsest=16, finest=4096)
    )
    field.width, field.depth = 64, 2
    field.symmetric, field.stance, field.gap = False, 2.0, 0.0
    field.beta, field.beta_learned = ((0.0, 0.1),), True
    field.detail = ((0.0, 0.5), (0.2, 0.5), (0.6, 1.0))
    config.scene.bones.count = 25
    config.scene.bones.motion = "mlp"
    config.scene.pose.motion = "mlp"
    config.scene.skin.delta = True
    config.render.samples = 64
    config.render.capacity = 64 * 64  # no sample is left out while the shape is fat
    for name in config.loss:
        config.loss[name] = 0.0
    config.loss.update(
        dict(
            rgb=0.1,
            mask=0.1,
            # published for errors in pictures; ours are in quarters of one
            flow=0.125,
            feature=0.01,
            match=0.0125,
            visibility=0.01,
            hidden_visibility=1e-4,
            eikonal=1e-3,
            cycle=0.01,
            delta_skin=5e-3,
            skin_entropy=5e-4,
            bone_skin=1e-3,
            bone_mask=0.01,
            bone=0.1,
            camera_prior=0.1,
        )
    )
    config.loss_numbers.background = ((0.0, 1.0),)
    # a hundred times more over the run, by equal factors
    config.ramp.eikonal = tuple((i / 8, 100.0 ** (i / 8)) for i in range(9))
    config.ramp.bone_mask = ((0.0, 1.0), (0.33, 0.0))
    config.ramp.bone = ((0.0, 1.0), (1.0, 0.0))
    config.ramp.camera_prior = ((0.0, 1.0), (0.067, 0.0))
    config.optimizer.warmup, config.optimizer.end = 400, 0.04
    rates = dict(network=5e-4, motion=5e-4, camera=5e-4, delta=5e-4, bones=5e-3)
    config.optimizer.rates.update(rates | dict(sharpness=5e-3))
    config.optimizer.decay = 1e-4
    config.data.views.fov_deg = (40.0, 70.0)
    config.prior.name, config.prior.dtype = "mvdream", "bfloat16"
    config.csd.update(
        dict(
            resolution=200,
            thinning=1,
            samples=64,
            share=1.0,
            memory_mb=4096.0,
            guidance=50.0,
            time_low=((0.0, 0.98), (0.67, 0.02)),
            time_high=((0.0, 0.98), (0.67, 0.5)),
            background="random",
        )
    )
    config.run.steps = 12_000
    config.run.rigid = 0
    return config


def smoke() -> ConfigDict:
    """Seconds: the whole chain, not its quality."""
    config = default()
    config.data.embedded = ConfigDict(dict(num_frames=16, size=(96, 96), cycles=1.0))
    config.data.flow_gaps = (1, 2)
    config.data.resolution = 64
    config.data.frames_per_step = 8
    config.data.rays_per_frame = 32
    config.render.samples = 32
    config.render.capacity = 384
    config.render.chunk = 1152
    config.render.picture_samples = 48
    config.render.picture_share = 0.6  # the early shape is fat
    config.csd.resolution = 16
    config.csd.samples = 16
    config.run.steps = 60
    config.run.rigid = 20
    config.run.refresh_every = 20
    config.run.save_every = 20
    config.run.show_every = 60
    config.run.mesh_cells = 40
    config.run.rest_cells = 48
    config.run.video_side = 48
    config.run.picture_side = 64
    return config
