"""PLY files as another library reads them."""

import numpy as np
import trimesh

from adreamer_jax.run.ply import write_ply
from tests.run.capsule import make_asset


def test_another_reader_gets_the_same_mesh(tmp_path):
    asset = make_asset()
    write_ply(tmp_path / "a.ply", asset.vertices, asset.faces, asset.colors)
    mesh = trimesh.load(tmp_path / "a.ply", process=False)
    assert np.array_equal(mesh.vertices.astype(np.float32), asset.vertices)
    assert np.array_equal(mesh.faces, asset.faces)
    seen = mesh.visual.vertex_colors[:, :3] / 255
    assert np.allclose(seen, asset.colors, atol=0.5 / 255 + 1e-6)
    assert mesh.is_watertight and mesh.volume > 0


def test_without_colors_and_without_faces(tmp_path):
    write_ply(tmp_path / "a.ply", np.zeros((3, 3)), np.array([[0, 1, 2]]))
    assert len(trimesh.load(tmp_path / "a.ply", process=False).vertices) == 3
    write_ply(tmp_path / "b.ply", np.zeros((0, 3)), np.zeros((0, 3), int))
    assert b"element face 0" in (tmp_path / "b.ply").read_bytes()
