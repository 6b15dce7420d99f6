"""Everything that leaves a run for other tools, under export/<stage>/."""

from pathlib import Path
from typing import Any

import numpy as np

from adreamer_jax.run.bvh import write_bvh
from adreamer_jax.run.files import replacing
from adreamer_jax.run.gltf import write_gltf
from adreamer_jax.run.joints import joint_tree
from adreamer_jax.run.ply import write_ply
from adreamer_jax.run.rig_json import write_rig
from adreamer_jax.scene.skeleton import Skeleton, build_skeleton, carried_over
from adreamer_jax.scene.skeleton_strength import color_features
from adreamer_jax.types import Asset, System, TrainState

__all__ = ["asset_skeleton", "export", "write_asset", "write_meshes"]


def asset_skeleton(
    asset: Asset, kept: Skeleton | None = None, **options: Any
) -> Skeleton:
    """Skeleton of an asset; options as of ``build_skeleton``.

    A ``kept`` one comes from another body on the same bones and stays what it is. Where
    no features were learned, colors speak for meaning.
    """
    if kept is not None:
        surface = (asset.vertices, asset.faces, asset.weights, asset.rest_from_bone)
        return carried_over(kept, *surface)
    taught = asset.features is not None
    return build_skeleton(
        asset.vertices,
        asset.faces,
        asset.weights,
        asset.features if taught else color_features(asset.colors),
        asset.rest_from_bone,
        asset.posed_from_rest,
        **options,
    )


def write_asset(asset: Asset, skeleton: Skeleton, folder: Path) -> dict[str, float]:
    """Write model, rest mesh, cameras, rig and motion; return the skinning error."""
    folder = Path(folder)
    error = write_gltf(asset, skeleton, folder / "model.glb")
    write_ply(folder / "canonical.ply", asset.vertices, asset.faces, asset.colors)
    with replacing(folder / "cameras.npz") as part:
        np.savez(
            part,
            camera_from_object=np.asarray(asset.camera_from_object, np.float32),
            intrinsics=np.asarray(asset.intrinsics, np.float32),
        )
    write_rig(asset, skeleton, error, folder / "rig.json")
    tree = joint_tree(asset, skeleton)
    # a leaf points through the middle of its surface
    write_bvh(tree, skeleton.middle[tree.bones], asset.fps, folder / "motion.bvh")
    return error


def write_meshes(
    system: System, state: TrainState, frozen: Any, folder: Path, *, num_frames: int
) -> None:
    """Write the surface in the camera space of every input frame, %05d.ply."""
    for frame in range(num_frames):
        vertices, faces = system.surface(state, frozen, frame)
        write_ply(Path(folder) / f"{frame:05d}.ply", vertices, faces)


def export(
    system: System,
    state: TrainState,
    frozen: Any,
    workdir: Path,
    stage: str,
    **skeleton: Any,
) -> tuple[Asset, Skeleton]:
    """Write all files of ``export/<stage>/``; return what they were made from.

    Further keywords are those of `asset_skeleton`.
    """
    folder = Path(workdir) / "export" / stage
    asset = system.asset(state, frozen)
    bones = asset_skeleton(asset, **skeleton)
    write_asset(asset, bones, folder)
    write_meshes(
        system, state, frozen, folder / "meshes", num_frames=len(asset.posed_from_rest)
    )
    return asset, bones
