"""A bending colored body on three bones, and priors that know how it looks."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp

from adreamer_jax.core.camera import seen_from
from adreamer_jax.core.encoding import frame_time
from adreamer_jax.core.hashgrid import GridSpec
from adreamer_jax.prior.load import alpha_code
from adreamer_jax.prior.noise import epsilon_of
from adreamer_jax.prior.oracle import oracle_prior
from adreamer_jax.scene.bones import BonesSpec, init_bones
from adreamer_jax.scene.field import FieldSpec, init_field
from adreamer_jax.scene.pose import PoseSpec, init_pose
from adreamer_jax.systems.animatable.distill_views import Views, draw_rays
from adreamer_jax.systems.animatable.model import Model
from adreamer_jax.systems.animatable.upkeep import fresh_aims, fresh_upkeep
from tests.systems.tiny import tiny_recipe

FRAMES = 3
REACH = 0.8  # half side of everybody's box

SETTINGS = {
    "csd.resolution": 8,
    "csd.thinning": 1,
    "csd.samples": 12,
    "csd.share": 1.0,
    "csd.rescale": 0.0,
    "scene.field.beta": ((0.0, 0.08),),
    "scene.field.detail": ((0.0, 1.0),),
    "run.steps": 100,
}


def small_recipe(**changes):
    """Settings of a step of distillation on the small model."""
    return tiny_recipe(**(SETTINGS | changes))


def small_model(*, backbone="mlp", radii=(0.28, 0.25, 0.62), bend=0.6, seed=0):
    """A body along z whose ends bend to either side; no frame shows it straight."""
    keys = jax.random.split(jax.random.key(seed), 3)
    spec = FieldSpec(
        backbone=backbone,
        grid=GridSpec(levels=3, log2_slots=10, features=2, coarsest=4, finest=16),
        width=16, mlp_width=16, mlp_depth=4, frequencies=3, features=2,
        offset_scale=0.15, symmetric=False,
    )  # fmt: skip
    field = init_field(
        keys[0], spec, center=jnp.zeros(3), axes=jnp.eye(3), radii=jnp.array(radii),
        side=jnp.array([1.0, 0.0, 0.0]), beta=0.08,
    )  # fmt: skip
    centers = jnp.array([[0.0, 0.0, -0.45], [0.0, 0.0, 0.0], [0.0, 0.0, 0.45]])
    bones = init_bones(
        keys[1], BonesSpec(count=3, terms=2), center=centers,
        scale=jnp.full(3, 0.3),
    )  # fmt: skip
    turn = jnp.array([[-1.0], [0.0], [1.0]]) * jnp.array([0.0, bend, 0.0])
    shift = jnp.array([[1.0], [0.0], [1.0]]) * jnp.array([0.3 * bend, 0.0, 0.0])
    motion = bones.motion.at[1].set(jnp.concatenate([turn, shift], axis=-1))
    pose = init_pose(
        keys[2], PoseSpec(terms=2), intrinsics=jnp.array([20.0, 20, 8, 8]),
        camera_from_object=jnp.tile(jnp.eye(4), (FRAMES, 1, 1)), size=(16, 16),
    )  # fmt: skip
    return Model(field=field, bones=bones.replace(motion=motion), pose=pose)


def small_upkeep(config):
    """Nothing is known to be empty; every frame has the same box and ball."""
    upkeep = fresh_upkeep(config, FRAMES) | fresh_aims(FRAMES)
    wide = jnp.array([1.0, 1.0, 1.0, 3.0**0.5 * REACH])
    box = {"box": upkeep["box"] * REACH, "aim": upkeep["aim"] * wide}
    return upkeep | box | {"aim_rest": upkeep["aim_rest"] * wide}


def fixed_prior(side=8, views=2):
    """A prior of one picture for all views: its weights."""
    return oracle_prior(
        lambda pictures, cameras: jnp.concatenate([pictures, pictures]),
        image_size=side,
        num_views=views,
    )


def small_scene(**changes):
    """A model that bends, a prior of one fixed picture, and what a step takes."""
    config = small_recipe(**({"scene.skin.delta": True} | changes))
    wanted = jax.random.uniform(jax.random.key(8), (2, 8, 8, 3))
    return SimpleNamespace(
        config=config,
        model=small_model(),
        upkeep=small_upkeep(config),
        prior=fixed_prior(),
        frozen={"prior": wanted, "contexts": jnp.zeros((2, 1, 1))},
    )


def pictures_of(config, model, upkeep, seen, time):
    """Color and mask of every camera of the prior's space: means over each pixel."""
    middle, reach = jnp.zeros(3), REACH * 3.0**0.5
    camera = seen_from(seen, jnp.eye(3), middle, reach)
    views = Views(camera, seen, time[None], upkeep["box"][0])
    height, width = seen.size
    total = len(seen.focal) * height * width
    look = lambda key: draw_rays(
        config, model, upkeep, jnp.array(0), views, key, jnp.arange(total)
    )[:2]
    keys = jax.random.split(jax.random.key(9), 4)
    color, mask = jax.tree.map(lambda x: x.mean(0), jax.lax.map(look, keys))
    shape = (-1, height, width)
    return color.reshape(*shape, 3), mask.reshape(shape)


def knowing_prior(config, *, side, views=4):
    """A prior of the small model in any of its poses.

    Its law of pictures is an even mixture of the frames, so its exact estimate is
    their mean under the probability of each given the noised views. Its weights are a
    model and a number: by so many places the cameras are shifted among the views that
    it believes to see.
    """
    blind = oracle_prior(lambda w, c: w, image_size=side, num_views=views)
    as_clean = blind.schedule.replace(prediction="sample")

    def denoise(weights, latents, t, context, cameras):
        model, turned = weights
        upkeep = small_upkeep(config)
        half = jax.tree.map(lambda x: jnp.roll(x[:views], turned, axis=0), cameras)
        times = frame_time(jnp.arange(FRAMES, dtype=jnp.float32), FRAMES)
        clean = jax.lax.map(
            lambda time: alpha_code(*pictures_of(config, model, upkeep, half, time)),
            times,
        )
        a = blind.schedule.alphas_cumprod[t[0]]
        gap = jnp.sum((latents[:views] - jnp.sqrt(a) * clean) ** 2, axis=(1, 2, 3, 4))
        believed = jax.nn.softmax(-0.5 * gap / (1.0 - a))
        mean = jnp.einsum("f,f...->...", believed, clean)
        both = jnp.tile(mean, (latents.shape[0] // views, 1, 1, 1))
        return epsilon_of(as_clean, both, latents, t)

    return blind._replace(
        encode=lambda weights, image, mask=None: alpha_code(image, mask),
        decode_mask=lambda weights, latents: 0.5 * latents[..., 3] + 0.5,
        denoise=denoise,
        latent_shape=(side, side, 4),
    )


def vivid(model):
    """The model in strong colors that change from place to place."""
    *hidden, last = model.field.color
    strong = last | {"weight": 60.0 * last["weight"]}
    return model.replace(field=model.field.replace(color=[*hidden, strong]))
