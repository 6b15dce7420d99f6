"""Figures of an evaluation: known answers on made-up surfaces, paths and points."""

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from adreamer_jax.core import shape
from adreamer_jax.data.clip import Truth
from adreamer_jax.run import score

INTRINSICS = np.array([150.0, 150.0, 64.0, 64.0])
SIZE = (128, 128)


def cameras(count):
    """A quarter turn around an object four units away."""
    path = np.tile(np.eye(4), (count, 1, 1))
    angle = np.linspace(0, np.pi / 2, count)[:, None]
    path[:, :3, :3] = Rotation.from_euler("y", angle).as_matrix()
    path[:, 2, 3] = 4.0
    return path


def bumpy():
    """A closed shape without symmetry, so that ICP has one answer."""
    ball = trimesh.creation.icosphere(3)
    x, y, z = np.asarray(ball.vertices).T
    radius = 1 + 0.25 * np.sin(3 * x + 1) * np.sin(4 * y + x)
    return np.stack([x, 0.55 * y, 0.4 * z], 1) * radius[:, None], np.asarray(ball.faces)


@pytest.fixture(scope="module")
def truth():
    vertices, faces = bumpy()
    path = cameras(3)
    seen = np.einsum("tij,nj->tni", path[:, :3, :3], vertices) + path[:, None, :3, 3]
    return Truth(seen, faces, path, INTRINSICS, None)


@pytest.fixture(scope="module")
def reference(truth):
    return score.make_reference(truth, SIZE, points=3000)


def measure(reference, mesh_at):
    return score.score_shape(reference, mesh_at, range(3))


TURN = Rotation.from_rotvec([0.05, -0.08, 0.06]).as_matrix()


@pytest.mark.parametrize(
    "change", [lambda v: v, lambda v: 7.0 * (v @ TURN.T + [0.1, -0.08, 0.05])]
)
def test_the_truth_scores_full_whatever_its_scale_and_pose(reference, change):
    out = measure(reference, lambda t: (change(reference.vertices[t]), faces_of()))
    assert out["f2"] > 0.98
    assert out["chamfer_percent"] < 2.5  # samples of one surface lie apart
    assert out["missing_frames"] == 0
    assert min(out["seen"]["f2"], out["unseen"]["f2"]) > 0.97


def faces_of():
    return bumpy()[1]


def test_a_quarter_turn_sees_part_of_the_surface(reference):
    assert 0.45 < reference.seen.mean() < 0.9
    depth = shape.points_at(reference.vertices[0], reference.faces, reference.places)
    first_third = depth[:, 2] < np.quantile(depth[:, 2], 0.2)
    assert reference.seen[first_third].mean() > 0.95


def test_missing_meshes_are_failures(reference):
    meshes = [None, (np.zeros((0, 3)), np.zeros((0, 3), int)), None]
    out = measure(reference, lambda t: meshes[t])
    assert out["missing_frames"] == 3
    assert out["chamfer_percent"] == pytest.approx(200)
    assert out["seen"]["recall_percent"] == pytest.approx(100)
    for level in score.LEVELS:
        assert out[f"f{level}"] == out["unseen"][f"f{level}"] == 0.0


def test_half_of_the_surface_costs_recall_on_the_missing_part(reference):
    seen_face = np.zeros(len(reference.faces), bool)
    seen_face[reference.places.face[reference.seen]] = True
    shell = reference.faces[seen_face]
    out = measure(reference, lambda t: (reference.vertices[t], shell))
    assert out["seen"]["f2"] > 0.85
    assert out["unseen"]["f2"] < 0.6
    assert out["unseen"]["recall_percent"] > 3 * out["seen"]["recall_percent"]


def test_figures_add_up():
    forward, backward = np.array([1.0, 3.0]), np.array([0.0, 2.0, 4.0])
    seen = np.array([True, False, False])
    out = score.figures(forward, np.array([0, 2]), backward, seen, 100.0)
    assert out["chamfer_percent"] == pytest.approx(4.0)
    assert out["f2"] == pytest.approx(2 * 0.5 * (2 / 3) / (0.5 + 2 / 3))
    assert out["seen.f1"] == 1.0  # both ways within 1 % there
    assert out["unseen.recall_percent"] == pytest.approx(3.0)
    whole = score.figures(forward, np.array([0, 2]), backward, seen | True, 100.0)
    assert whole["unseen.f2"] is None and whole["unseen.recall_percent"] is None


def test_averages_leave_out_what_is_not_known():
    rows = [{"a": 1.0, "b": None}, {"a": 3.0, "b": None}]
    assert score.average(rows) == {"a": 2.0, "b": None}
    assert score.average([{"a": None}, {"a": 3.0}]) == {"a": 3.0}


# -------------------------------------------------------------------------- pictures
def test_a_perfect_picture_scores_full():
    rng = np.random.default_rng(0)
    image, mask = rng.random((24, 30, 3)), np.zeros((24, 30))
    mask[6:20, 8:22] = 1
    color = image * mask[..., None]
    out = score.score_picture(color, mask, color, mask)
    assert out["mask_iou"] == 1.0
    assert out["psnr"] == pytest.approx(100)
    assert out["ssim"] == pytest.approx(1.0, abs=1e-4)


def test_psnr_of_a_constant_error_and_of_the_object_alone():
    mask = np.zeros((24, 24))
    mask[:12] = 1
    image = np.full((24, 24, 3), 0.4)
    color = (image + 0.1) * mask[..., None]
    out = score.score_picture(color, mask, image * mask[..., None], mask)
    assert out["psnr_object"] == pytest.approx(20.0)
    assert out["psnr"] == pytest.approx(20.0 + 10 * np.log10(2))


def test_mask_iou_counts_pixels():
    one, other = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert score.mask_iou(one, other) == 1.0
    one[:2], other[1:3] = True, True
    assert score.mask_iou(one, other) == pytest.approx(1 / 3)


# ------------------------------------------------------------------------- root pose
def test_the_objects_own_axes_and_units_are_free():
    true = cameras(20)
    gauge = np.eye(4)
    gauge[:3, :3] = Rotation.from_rotvec([0.4, -0.9, 0.3]).as_matrix()
    gauge[:3, 3] = [0.2, 0.1, -0.3]
    found = true @ gauge
    found[:, :3, 3] *= 2.0
    out = score.score_poses(found, true, true)
    assert out["rotation_rms_deg"] == pytest.approx(0, abs=1e-5)
    assert out["center_rms_percent"] == pytest.approx(0, abs=1e-5)
    assert out["jitter_deg"] == pytest.approx(out["truth_jitter_deg"], abs=1e-6)
    assert out["given_cameras"]["rotation_rms_deg"] == pytest.approx(0, abs=1e-5)


def test_one_wrong_frame_of_many_is_the_error():
    true = cameras(40)[:, :3, :3]
    found = true.copy()
    found[5] = Rotation.from_rotvec([0, 0, 0.5]).as_matrix() @ found[5]
    error = score.rotation_errors(found, true)
    assert error[5] == pytest.approx(0.5, abs=0.02)
    assert np.delete(error, 5).max() < 0.02


def test_the_constant_rotation_is_the_best_one():
    rng = np.random.default_rng(0)
    true = cameras(30)[:, :3, :3]
    noise = Rotation.from_rotvec(0.2 * rng.normal(size=(30, 3))).as_matrix()
    found = true @ noise
    best = np.mean(score.rotation_errors(found, true) ** 2)
    for _ in range(20):
        turn = Rotation.from_rotvec(0.1 * rng.normal(size=3)).as_matrix()
        left = Rotation.from_matrix(found).inv() * Rotation.from_matrix(true @ turn)
        assert np.mean(left.magnitude() ** 2) > best - 1e-3


def test_jitter_of_an_even_turn_is_nothing_and_of_a_zigzag_is_known():
    even = Rotation.from_euler("y", np.linspace(0, 1, 11)[:, None]).as_matrix()
    assert score.jitter(even) == pytest.approx(0, abs=1e-9)
    zigzag = Rotation.from_euler("y", 0.01 * (np.arange(10) % 2)[:, None]).as_matrix()
    assert score.jitter(zigzag) == pytest.approx(0.02)  # +0.01 then -0.01


# ---------------------------------------------------------------------- marked points
@pytest.fixture
def marked():
    """Two points on a square that moves right by ten and grows to twice its size."""
    masks = np.zeros((4, 60, 80), bool)
    masks[0, 10:20, 10:20], masks[3, 10:30, 20:40] = True, True
    marks = {
        0: np.array([[10.0, 10, 1], [15, 15, 1], [0, 0, 0]]),
        3: np.array([[20.0, 10, 1], [30, 20, 1], [50, 50, 1]]),
    }
    return marks, masks


def test_pck_counts_both_directions_and_visible_points_only(marked):
    marks, masks = marked
    out = score.pck(marks, score.stay_put(marks), masks)
    assert out["correspondences"] == 4 and out["missing"] == 0
    assert out["pck@0.1"] == 0.0
    box = score.pck(marks, score.mask_box_shift(marks, masks), masks)
    assert box["pck@0.1"] == 1.0  # the square's own motion


def test_pck_levels_and_missing_points(marked):
    marks, masks = marked
    exact = score.mask_box_shift(marks, masks)
    off = {s: {t: v.copy() for t, v in to.items()} for s, to in exact.items()}
    off[0][3][0] += [3.0, 0]  # 0.15 of the size of 20
    off[3][0][1] = np.nan
    out = score.pck(marks, off, masks)
    assert out["missing"] == 1
    assert (out["pck@0.1"], out["pck@0.2"]) == (0.5, 0.75)


def test_flow_carries_points_forward_and_back(marked):
    marks, _ = marked
    ahead = np.full((60, 80, 2), np.array([2.0, 1.0]))
    out = score.flow_chain(marks, lambda i: ahead, lambda i: -ahead)
    np.testing.assert_allclose(out[0][3], marks[0][:, :2] + [6, 3])
    np.testing.assert_allclose(out[3][0], marks[3][:, :2] - [6, 3])


def test_bilinear_samples_are_exact_on_ramps_and_clamped_outside():
    row, column = np.mgrid[:5, :7] + 0.5
    ramp = np.stack([column, row], -1)
    points = np.array([[2.3, 3.1], [0.5, 0.5], [6.5, 4.5]])
    np.testing.assert_allclose(score.sample_bilinear(ramp, points), points)
    far = score.sample_bilinear(ramp, np.array([[-9.0, 99.0]]))
    np.testing.assert_allclose(far, [[0.5, 4.5]])
