"""A synthetic sequence in Lab4D's layout, and what must become of its conventions."""

import numpy as np
import pytest
from PIL import Image

from adreamer_jax.data.lab4d import is_lab4d, read_lab4d

COUNT, HEIGHT, WIDTH = 10, 40, 60
FOCAL, CENTER = 80.0, (29.5, 19.5)  # with pixel centers at whole numbers: the middle


@pytest.fixture
def sequence(tmp_path):
    """A database with one sequence of a square; the object is missing in frame 0."""
    base = tmp_path / "database" / "processed"
    folders = {
        kind: base / kind / "Full-Resolution" / "fox-0001"
        for kind in ("JPEGImages", "Annotations", "Cameras", "Features")
    }
    for folder in folders.values():
        folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        name = f"{3 * i:05d}"  # names keep the numbers of frames before filtering
        picture = np.full((HEIGHT, WIDTH, 3), 20 * i, np.uint8)
        Image.fromarray(picture).save(folders["JPEGImages"] / f"{name}.jpg", quality=95)
        labels = np.zeros((HEIGHT, WIDTH), np.int8)
        if i == 0:
            labels[:] = -1
        else:
            labels[10:30, 20:40] = 1
        np.save(folders["Annotations"] / f"{name}.npy", labels)
    cameras = np.tile(np.eye(4), (COUNT, 1, 1))
    cameras[:, :3, 3] = [0.1, 0.2, 3.0]
    np.save(folders["Cameras"] / "01.npy", cameras)
    maps = rng.normal(size=(COUNT, 7, 7, 16)).astype(np.float16)
    np.save(folders["Features"] / "full-256-dinov2-01.npy", maps)
    configs = tmp_path / "database" / "configs"
    configs.mkdir()
    text = "[data]\ninit_frame = 0\nend_frame = -1\n"
    for i in range(2):
        text += f"[data_{i}]\nks = {FOCAL * i} {FOCAL * i} {CENTER[0]} {CENTER[1]}\n"
    (configs / "fox.config").write_text(text)
    return folders["JPEGImages"]


def test_a_sequence_is_known_by_its_place(sequence):
    assert is_lab4d(sequence)
    assert not is_lab4d(sequence.parent) and not is_lab4d(sequence.parents[3])


def test_frames_with_an_object_become_a_clip(sequence):
    clip = read_lab4d(sequence, longest=60, prompt="a fox")
    assert clip.name == "fox-0001" and clip.prompt == "a fox"
    assert clip.images.shape == (COUNT - 1, HEIGHT, WIDTH, 3)
    assert abs(int(clip.images[4, 0, 0, 0]) - 100) < 3
    assert (clip.masks.sum((1, 2)) == 400).all() and clip.masks[0, 10:30, 20:40].all()
    assert clip.cameras == "noisy" and len(clip.camera_from_object) == COUNT - 1
    assert clip.features.shape == (COUNT - 1, 7, 7, 16)


def project(camera, intrinsics, point):
    x, y, z = camera[:3, :3] @ point + camera[:3, 3]
    return intrinsics[:2] * [x / z, y / z] + intrinsics[2:]


@pytest.mark.parametrize("longest", [60, 30])
def test_a_point_falls_on_the_same_place_of_the_picture(sequence, longest):
    """Lab4D's pixel u at whole-number centers is our (u + 0.5) at the new scale."""
    clip = read_lab4d(sequence, longest=longest)
    theirs = np.array([0.2, 0.3, -0.4])  # y down, z away
    ours = theirs * [1, -1, -1]
    camera = np.eye(4)
    camera[:3, 3] = [0.1, 0.2, 3.0]
    pixel = project(camera, np.array([FOCAL, FOCAL, *CENTER]), theirs)
    expected = (pixel + 0.5) * longest / 60
    found = project(clip.camera_from_object[0], clip.intrinsics, ours)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_up_is_up(sequence):
    camera = read_lab4d(sequence).camera_from_object[0]
    np.testing.assert_allclose(camera[:3, :3] @ [0, 1, 0], [0, -1, 0])
    assert np.linalg.det(camera[:3, :3]) > 0


def test_registered_cameras_come_first(sequence):
    path = sequence.parents[2] / "Cameras" / "Full-Resolution" / sequence.name
    cameras = np.load(path / "01.npy")
    cameras[:, 2, 3] = 5.0
    np.save(path / "01-canonical.npy", cameras)
    assert read_lab4d(sequence).camera_from_object[0, 2, 3] == 5.0


def test_what_is_missing_is_not_known(sequence):
    database = sequence.parents[3]
    for path in (
        sequence.parents[2] / "Cameras" / "Full-Resolution" / sequence.name / "01.npy",
        *sequence.parents[2].glob("Features/Full-Resolution/*/*.npy"),
        database / "configs" / "fox.config",
    ):
        path.unlink()
    clip = read_lab4d(sequence)
    assert clip.camera_from_object is clip.intrinsics is clip.features is None
    assert clip.cameras == "none"


def test_wrong_sequences_are_named(sequence):
    with pytest.raises(ValueError, match="must be processed/JPEGImages"):
        read_lab4d(sequence.parent)
    cameras = sequence.parents[2] / "Cameras" / "Full-Resolution" / sequence.name
    np.save(cameras / "01.npy", np.tile(np.eye(4), (4, 1, 1)))
    with pytest.raises(ValueError, match=r"shape \(10, 4, 4\)"):
        read_lab4d(sequence)
    (cameras / "01.npy").unlink()
    (sequence.parents[3] / "configs" / "fox.config").write_text("[data_1]\nks = 1 2 3")
    with pytest.raises(ValueError, match="must be fx fy cx cy"):
        read_lab4d(sequence)
    for path in sorted(sequence.iterdir())[7:]:
        path.unlink()
    with pytest.raises(ValueError, match="at least 8 frames"):
        read_lab4d(sequence)
