"""Every file of the export folder is there and says the same."""

import json

import numpy as np
import pytest
import trimesh

from adreamer_jax.run.export import export
from tests.run.capsule import make_asset, make_system


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    asset, work = make_asset(), tmp_path_factory.mktemp("work")
    return (
        asset,
        export(make_system(asset), None, None, work, "extract"),
        work / "export/extract",
    )


def test_folder_is_complete(exported):
    _, _, folder = exported
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    meshes = {f"meshes/{i:05d}.ply" for i in range(5)}
    single = {"model.glb", "canonical.ply", "cameras.npz", "rig.json", "motion.bvh"}
    assert names == meshes | single


def test_meshes_lie_in_camera_space(exported):
    asset, _, folder = exported
    cameras = np.load(folder / "cameras.npz")
    assert cameras["camera_from_object"].shape == (5, 4, 4)
    assert cameras["intrinsics"].shape == (5, 4)
    mesh = trimesh.load(folder / "meshes/00003.ply", process=False)
    camera = cameras["camera_from_object"][3]
    expected = asset.posed_vertices[3] @ camera[:3, :3].T + camera[:3, 3]
    assert np.allclose(mesh.vertices, expected, atol=1e-5)
    assert (mesh.vertices[:, 2] > 0).all() and mesh.volume > 0


def test_returns_what_the_files_were_made_from(exported):
    asset, (same, skeleton), folder = exported
    assert same is asset
    rig = json.loads((folder / "rig.json").read_text())
    assert len(rig["bones"]) == len(skeleton.parent)
    assert rig["skinning_error"]["max_percent"] < 0.5
