"""A clip and a recipe so small that a whole system trains in seconds."""

import numpy as np

from adreamer_jax.types import Clip
from configs.extract import get_config

FRAMES, SIZE = 12, 32


def tiny_clip(*, features=0, frames=FRAMES):
    """A colored ellipse that walks, swells and turns; nothing is known of cameras."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    masks, images = [], []
    for t in np.linspace(0, 1, frames):
        angle = 0.4 * np.sin(2 * np.pi * t)
        u, v = x - 13 - 6 * t, y - 16
        along = (np.cos(angle) * u + np.sin(angle) * v) / (9 + 2 * t)
        across = (np.cos(angle) * v - np.sin(angle) * u) / 5
        masks.append(along**2 + across**2 < 1)
        wave = 0.5 + 0.3 * np.sin(3 * along)
        images.append(np.stack([wave, 0.5 + 0.4 * across, 1 - wave], -1).clip(0, 1))
    described = None
    if features:
        draw = np.random.default_rng(0).normal(size=(frames, 8, 8, features))
        described = draw / np.linalg.norm(draw, axis=-1, keepdims=True)
    return Clip(
        name="ellipse",
        fps=10.0,
        prompt="an ellipse",
        images=(255 * np.stack(images)).astype(np.uint8),
        masks=np.stack(masks),
        camera_from_object=None,
        intrinsics=None,
        cameras="none",
        features=described,
    )


def tiny_recipe(**changes):
    """The smoke recipe made smaller; changes are dotted keys."""
    config = get_config("smoke")
    small = {
        "data.resolution": SIZE,
        "data.frames_per_step": 4,
        "data.rays_per_frame": 16,
        "data.flow_gaps": (1, 2),
        "data.cameras": "constant",  # a search would take longer than the tests
        "scene.field.grid.levels": 3,
        "scene.field.grid.log2_slots": 9,
        "scene.field.grid.features": 2,
        "scene.field.grid.coarsest": 4,
        "scene.field.grid.finest": 16,
        "scene.field.width": 16,
        "scene.field.mlp_width": 16,
        "scene.field.mlp_depth": 4,
        "scene.bones.count": 4,
        "scene.bones.terms_per_frame": 0.5,
        "render.samples": 12,
        "render.capacity": 192,
        "render.occupancy_cells": 12,
        "render.chunk": 256,
        "render.picture_samples": 12,
        "render.picture_share": 0.6,
        # so few steps carve no outline out of a generous shape
        "loss_numbers.background": ((0.0, 1.0),),
        "loss_numbers.points": 32,
        "loss_numbers.match_rays": 8,
        "optimizer.warmup": 2,
        "run.steps": 20,
        "run.rigid": 3,
        "run.refresh_every": 4,
        "run.mesh_cells": 16,
        "run.rest_cells": 20,
    }
    for key, value in (small | changes).items():
        *path, last = key.split(".")
        place = config
        for word in path:
            place = place[word]
        place[last] = value
    return config
