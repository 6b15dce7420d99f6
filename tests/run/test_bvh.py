"""The BVH file read back by an independent reader and posed."""

import numpy as np
from scipy.spatial.transform import Rotation

from adreamer_jax.run.bvh import write_bvh
from adreamer_jax.run.export import asset_skeleton
from adreamer_jax.run.joints import joint_tree
from tests.run.capsule import make_asset


def read_bvh(path):
    """Joints as (name, parent, offset) in channel order, frame rows, frame time."""
    hierarchy, motion = path.read_text().split("MOTION\n")
    found, stack, at_end = [], [], False
    for words in (line.split() for line in hierarchy.splitlines()):
        if words[0] in ("ROOT", "JOINT"):
            found.append([words[1], stack[-1] if stack else -1, None])
            current = len(found) - 1
        elif words[0] == "End":
            at_end = True
        elif words[0] == "{":
            stack.append(current)
        elif words[0] == "}":
            stack.pop()
            at_end = False
        elif words[0] == "OFFSET" and not at_end:
            found[current][2] = np.array(words[1:], float)
    count, time, *rows = motion.splitlines()
    rows = np.array([row.split() for row in rows], float)
    assert int(count.split()[1]) == len(rows)
    return found, rows.reshape(len(rows), len(found), 6), float(time.split()[2])


def test_reposing_the_file_gives_the_bones_motion(tmp_path):
    asset = make_asset()
    tree = joint_tree(asset, asset_skeleton(asset))
    path = write_bvh(
        tree, asset.rest_from_bone[tree.bones, :3, 3], 10.0, tmp_path / "m.bvh"
    )
    found, rows, time = read_bvh(path)
    assert np.isclose(time, 0.1) and len(rows) == 5
    for frame, row in enumerate(rows):
        world, rest = [], []
        for (name, parent, offset), (x, y, z, *angles) in zip(found, row, strict=True):
            local = np.eye(4)
            local[:3, :3] = Rotation.from_euler("ZXY", angles, degrees=True).as_matrix()
            local[:3, 3] = x, y, z
            world.append(local if parent < 0 else world[parent] @ local)
            rest.append(offset if parent < 0 else rest[parent] + offset)
            bone = int(name.split("_")[1])
            carried = world[-1].copy()
            carried[:3, 3] -= world[-1][:3, :3] @ rest[-1]
            assert np.abs(carried - asset.posed_from_rest[frame, bone]).max() < 1e-5


def test_channels_follow_the_zxy_matrix_product():
    z, x, y = np.radians([20.0, 30.0, 40.0])
    turn = [
        Rotation.from_rotvec(v).as_matrix() for v in ([0, 0, z], [x, 0, 0], [0, y, 0])
    ]
    euler = Rotation.from_matrix(turn[0] @ turn[1] @ turn[2]).as_euler(
        "ZXY", degrees=True
    )
    assert np.allclose(euler, [20, 30, 40])
