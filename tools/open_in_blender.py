"""Opens a run's exported files in Blender and asks whether they move as they ought to.

    python3.11 -m venv blender && blender/bin/pip install bpy
    blender/bin/python tools/open_in_blender.py runs/x/export/extract

Blender imports model.glb and motion.bvh of each folder. At every frame, each bone's own
motion of rig.json, blended by the vertex groups that Blender reads, ought to give the
surface that Blender's tree of bones makes of the file's animation; and the joints of
the .bvh ought to stand on those of the .glb. Prints the largest distances in percent of
the box's diagonal, and exits with 1 where one is above 0.1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import bpy  # Blender as a Python module  # pyright: ignore[reportMissingImports]
import numpy as np

LARGEST = 0.1  # percent of the diagonal: what a .bvh's rounded angles may move a joint


def blended(
    rest: np.ndarray, weights: np.ndarray, motion: dict, frame: int
) -> np.ndarray:
    """(V, 3) rest positions moved by each bone's motion, blended by (V, B) weights."""
    w, *axis = np.moveaxis(np.array(motion["rotation"][frame]), -1, 0)
    axis = np.stack(axis, -1)
    along = np.cross(axis[:, None], rest)  # (B, V, 3)
    turned = rest + 2 * (w[:, None, None] * along + np.cross(axis[:, None], along))
    moved = turned + np.array(motion["translation"][frame])[:, None]
    return np.einsum("vb,bvi->vi", weights, moved)


def group_weights(surface: bpy.types.Object, bones: list[str]) -> np.ndarray:
    """(V, B) weights of the vertex groups, a column a bone."""
    column = [bones.index(group.name) for group in surface.vertex_groups]
    weights = np.zeros((len(surface.data.vertices), len(bones)))
    for vertex in surface.data.vertices:
        for group in vertex.groups:
            weights[vertex.index, column[group.group]] = group.weight
    return weights


def moved_surface(surface: bpy.types.Object) -> np.ndarray:
    """(V, 3) world positions of a mesh's vertices after its modifiers."""
    moved = surface.evaluated_get(bpy.context.evaluated_depsgraph_get())
    flat = np.empty(3 * len(moved.data.vertices), np.float32)
    moved.data.vertices.foreach_get("co", flat)
    matrix = np.array(moved.matrix_world)
    return flat.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]


def joints(armature: bpy.types.Object) -> dict[str, np.ndarray]:
    """World position of every bone's head."""
    matrix = armature.matrix_world
    return {bone.name: np.array(matrix @ bone.head) for bone in armature.pose.bones}


def only(kind: str, new: list[bpy.types.Object]) -> bpy.types.Object:
    """The one new object of a kind; of meshes, the one that an armature moves."""
    found = [o for o in new if o.type == kind and (kind != "MESH" or o.vertex_groups)]
    if len(found) != 1:
        raise SystemExit(f"{len(found)} objects of kind {kind} instead of one")
    return found[0]


def check(folder: Path) -> bool:
    """Imports one export folder, prints what was found; whether all is in its place."""
    rig = json.loads((folder / "rig.json").read_text())
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps = round(rig["fps"])
    bpy.ops.import_scene.gltf(filepath=str(folder / "model.glb"))
    armature = only("ARMATURE", list(bpy.data.objects))
    surface = only("MESH", list(bpy.data.objects))
    before = set(bpy.data.objects)
    bpy.ops.import_anim.bvh(
        filepath=str(folder / "motion.bvh"), axis_forward="-Z", axis_up="Y"
    )
    walker = only("ARMATURE", [o for o in bpy.data.objects if o not in before])
    print(
        f"{folder}: {len(surface.data.vertices)} vertices, "
        f"{len(armature.data.bones)} bones, "
        f"actions {[a.name for a in bpy.data.actions]}, "
        f"colors {[c.name for c in surface.data.color_attributes]}"
    )

    # glTF's y up and z toward the viewer is Blender's z up and y away from the viewer
    blender_from_gltf = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    positions = np.empty(3 * len(surface.data.vertices), np.float32)
    surface.data.vertices.foreach_get("co", positions)
    rest = positions.reshape(-1, 3) @ blender_from_gltf
    weights = group_weights(surface, [bone["name"] for bone in rig["bones"]])
    diagonal = np.linalg.norm(np.ptp(rest, axis=0))
    off, apart = [], []
    for frame in range(rig["num_frames"]):
        scene.frame_set(frame + 1)  # Blender's first frame of a .bvh is 1
        walking = joints(walker)
        scene.frame_set(frame)
        ought = blended(rest, weights, rig["posed_from_rest"], frame)
        moved = moved_surface(surface) @ blender_from_gltf
        off.append(np.linalg.norm(moved - ought, axis=1).max() / diagonal)
        here = joints(armature)
        apart += [np.linalg.norm(walking[k] - here[k]) / diagonal for k in here]
    print(
        f"  over {rig['num_frames']} frames, in % of the diagonal: surface off by "
        f"{100 * max(off):.4f}, joints of .bvh and .glb apart by {100 * max(apart):.4f}"
    )
    return bool(100 * max(off) < LARGEST and 100 * max(apart) < LARGEST)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    sys.exit(not all([check(Path(folder)) for folder in sys.argv[1:]]))
