"""Files of published networks: read exactly, refused in one sentence."""

import json
import os
import pickle
import zipfile
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from adreamer_jax.prior import files
from adreamer_jax.prior.write import write_tokenizer
from tests.prior.golden_unets import FOLDER
from tests.prior.torch_zip import Tensor, write_torch

MVDREAM = FOLDER / "mvdream_ldm"
NUMBERS = np.arange(12, dtype=np.float32)


def test_a_torch_archive_is_read_exactly():
    """The same 330 tensors that torch wrote into both files, and one more."""
    found = files.read_torch(MVDREAM / "model.pt")
    expected = load_file(MVDREAM / "model.safetensors")
    assert found.keys() - expected.keys() == {"alphas_cumprod"}
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.int64]
)
def test_types_offsets_and_strides(tmp_path, dtype):
    numbers = NUMBERS.astype(dtype)
    cut = Tensor("0", numbers, 1, (2, 3), (1, 2))
    write_torch(tmp_path / "x.pt", {"cut": cut, "none": numbers[:0]})
    found = files.read_torch(tmp_path / "x.pt")
    np.testing.assert_array_equal(found["cut"], [[1, 3, 5], [2, 4, 6]])
    assert found["cut"].dtype == dtype and found["none"].shape == (0,)


def test_a_tensor_that_reaches_out_of_its_storage_is_refused(tmp_path):
    bad = Tensor("0", NUMBERS, 8, (2, 3), (3, 1))
    write_torch(tmp_path / "x.pt", {"bad": bad})
    with pytest.raises(ValueError, match=r"damaged one.*outside of its storage"):
        files.read_torch(tmp_path / "x.pt")


class Bomb:
    """What a hostile file would hold."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({"a": Bomb(tmp_path / "boom")}, 2))
    with pytest.raises(ValueError, match=r"asks for \w+.mkdir, which could run code"):
        files.read_torch(tmp_path / "x.pt")
    assert not (tmp_path / "boom").exists()


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_truncated_or_old_archive_is_refused(tmp_path):
    path = tmp_path / "x.pt"
    write_torch(path, {"a": NUMBERS})
    truncated(path)
    with pytest.raises(ValueError, match="must be a whole torch archive"):
        files.read_torch(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match=r"zip, torch 1.6 or later"):
        files.read_torch(path)


def test_an_archive_with_a_lost_storage_is_refused(tmp_path):
    write_torch(tmp_path / "x.pt", {"a": NUMBERS})
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        index = archive.read("archive/data.pkl")
    with zipfile.ZipFile(tmp_path / "y.pt", "w") as archive:
        archive.writestr("archive/data.pkl", index)
    with pytest.raises(ValueError, match=r"damaged one .*archive/data/0"):
        files.read_torch(tmp_path / "y.pt")


def test_an_archive_without_tensors_is_refused(tmp_path):
    write_torch(tmp_path / "x.pt", {"epoch": 3})
    with pytest.raises(ValueError, match="must hold a dict of tensors, got none"):
        files.read_torch(tmp_path / "x.pt")


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_safetensors_of_every_type_and_in_shards(tmp_path, dtype):
    save_file({"a": NUMBERS.astype(dtype)}, tmp_path / "model-1-of-2.safetensors")
    save_file({"b": NUMBERS[:3]}, tmp_path / "model-2-of-2.safetensors")
    found = files.read_state(tmp_path)
    assert found.keys() == {"a", "b"} and found["a"].dtype == dtype
    np.testing.assert_array_equal(found["a"].astype(np.float32), NUMBERS)


def test_a_variant_is_read_only_where_there_is_nothing_else(tmp_path):
    save_file({"a": NUMBERS.astype(np.float16)}, tmp_path / "m.fp16.safetensors")
    assert files.read_state(tmp_path)["a"].dtype == np.float16
    save_file({"a": NUMBERS}, tmp_path / "m.safetensors")
    assert files.read_state(tmp_path)["a"].dtype == np.float32


def test_truncated_and_missing_safetensors(tmp_path):
    (tmp_path / "m.bin").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"weights as safetensors, got m.bin; convert"):
        files.read_state(tmp_path)
    save_file({"a": NUMBERS}, tmp_path / "m.safetensors")
    truncated(tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match=r"cannot be read .*download it again"):
        files.read_state(tmp_path)


def test_configs(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"a": [1, 2], "_class_name": "X"}))
    found = files.read_config(tmp_path)
    assert found["a"] == [1, 2] and found["_class_name"] == "X"
    with pytest.raises(
        ValueError, match=r"must hold .*/scheduler_config.json, got none"
    ):
        files.read_config(tmp_path, "scheduler_config.json")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="must be a config in JSON"):
        files.read_config(tmp_path)


def test_parts_of_an_original_checkpoint():
    state = files.read_torch(MVDREAM / "model.pt")
    with pytest.raises(ValueError, match="got no tensors of text"):
        files.split_ldm(state)
    state |= {
        "cond_stage_model.model.ln_final.weight": NUMBERS,
        "cond_stage_model.model.visual.proj": NUMBERS,
        "first_stage_model.loss.logvar": NUMBERS,
        "model_ema.decay": NUMBERS,
    }
    parts = files.split_ldm(state)
    assert list(parts["text"]) == ["ln_final.weight"]
    assert "loss.logvar" not in parts["vae"] and "quant_conv.weight" in parts["vae"]
    assert "time_embed.0.weight" in parts["unet"]
    other = {k.replace("first_stage_model", "vae_model"): v for k, v in state.items()}
    assert files.split_ldm(other)["vae"].keys() == parts["vae"].keys()


def clip_tokenizer(folder, pad):
    """A toy vocabulary in the files of CLIP's tokenizer."""
    folder.mkdir()
    words = ["!</w>", "<|startoftext|>", "<|endoftext|>", "f", "o", "x</w>", "fo"]
    vocabulary = {word: i for i, word in enumerate([*words, "fox</w>", "!"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\nf o\nfo x</w>\n")
    settings = {"tokenizer_class": "CLIPTokenizer", "pad_token": pad}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize(("pad", "identity"), [("!", 8), ("<|endoftext|>", 2)])
def test_what_pads_is_said_by_the_folder(tmp_path, pad, identity):
    """SD 2.1 pads with "!", SD 1.x with the end token."""
    clip_tokenizer(tmp_path / "t", pad)
    tokenize = files.read_tokenizer(tmp_path / "t", length=6, vocabulary=9)
    ids = tokenize(["fox", "fox fox fox fox fox fox"])
    assert ids.dtype == np.int32
    assert ids.tolist() == [[1, 7, 2, *[identity] * 3], [1, 7, 7, 7, 7, 2]]


def test_what_a_model_cannot_read_is_told_once(tmp_path):
    told = []
    write_tokenizer(tmp_path / "t", ["a", "fox"])
    tokenize = files.read_tokenizer(
        tmp_path / "t", length=5, vocabulary=9, tell=told.append
    )
    tokenize(["a fox", ""])
    assert not told
    for _ in range(2):
        tokenize(["a corgi", "a fox a fox a"])
    assert len(told) == 2 and told[0].startswith("the words corgi in 'a corgi' mean")
    assert told[1] == "'a fox a fox a' is longer than the 5 tokens that are read"
    clip_tokenizer(tmp_path / "c", "!")  # which spells what it does not know
    tokenize = files.read_tokenizer(
        tmp_path / "c", length=8, vocabulary=9, tell=told.append
    )
    tokenize(["fox of"])
    assert len(told) == 2


def test_a_lone_clip_of_the_hub_is_fetched_whole(monkeypatch, tmp_path):
    from huggingface_hub.utils import filter_repo_objects

    held = ["config.json", "model.safetensors", "merges.txt", "vocab.json", "x.bin"]

    def download(name, *, allow_patterns, **_):
        found = filter_repo_objects(held, allow_patterns=allow_patterns)
        assert sorted(found) == sorted(held[:-1])
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert files.find_folder("some/clip", files=files.CLIP_FILES) == tmp_path


def test_tokenizers_that_cannot_be_used(tmp_path):
    with pytest.raises(ValueError, match="got no such folder"):
        files.read_tokenizer(tmp_path / "none", length=4, vocabulary=9)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="must hold the files of a tokenizer"):
        files.read_tokenizer(tmp_path / "empty", length=4, vocabulary=9)
    write_tokenizer(tmp_path / "t", ["a", "fox"])
    tokenize = files.read_tokenizer(tmp_path / "t", length=4, vocabulary=4)
    with pytest.raises(ValueError, match=r"at most the 4 tokens .* got token 4"):
        tokenize(["a fox"])


def test_a_path_wins_and_nonsense_is_named(tmp_path):
    assert files.find_folder(str(tmp_path)) == tmp_path
    for name in ("nothing", "./no/where", "a/b/c"):
        with pytest.raises(ValueError, match=f"got {name}; check the path"):
            files.find_folder(name)


def hub_error(name):
    from huggingface_hub import errors

    response = SimpleNamespace(headers={}, request=None, status_code=403)
    return getattr(errors, name)("no", response=response)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("GatedRepoError", "got a gated model; accept its terms"),
        ("RepositoryNotFoundError", "must be a model of the hub, got someone/thing"),
        ("RevisionNotFoundError", "prior.revision must be a commit .* got abc"),
        (ConnectionError("no route\nmore"), "must be reachable .* got no route; check"),
    ],
    ids=str,
)
def test_downloads_that_fail(monkeypatch, error, sentence):
    def fail(name, **_):
        raise hub_error(error) if isinstance(error, str) else error

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(ValueError, match=sentence):
        files.find_folder("someone/thing", revision="abc")


COMMIT, NEWER = "0123456789" * 4, "a" * 40


def test_the_first_commit_is_told_kept_and_taken_again(monkeypatch, tmp_path):
    """The newest of the first run, whatever is newest at the second."""
    asked, told, pins = [], [], tmp_path / "run" / "prior.json"
    newest = COMMIT

    def download(name, *, revision, **_):
        asked.append(revision)
        return str(tmp_path / "snapshots" / (revision or newest))

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    find = lambda **settings: files.find_folder("mvdream", tell=told.append, **settings)
    assert find(pins=pins).name == COMMIT
    newest = NEWER
    assert find(pins=pins).name == COMMIT and asked == [None, COMMIT]
    name = files.PUBLISHED["mvdream"]
    assert json.loads(pins.read_text()) == {name: COMMIT}
    assert (
        told == [f"{name} at commit {COMMIT}, which {pins} keeps for the next run"] * 2
    )
    find()
    assert told[2].endswith(f"write --config.prior.revision={NEWER} to keep to it")
    assert find(pins=pins, revision=NEWER).name == NEWER and len(told) == 3
    assert files.read_pins(pins) == {name: COMMIT}
    pins.write_text("{")
    with pytest.raises(ValueError, match="must be JSON of hub names and commits"):
        find(pins=pins)


def test_a_pinned_commit_is_found_without_a_network(monkeypatch, tmp_path):
    """By the hub's own client, in a cache such as it leaves behind."""
    model = tmp_path / "models--someone--thing"
    (model / "snapshots" / COMMIT).mkdir(parents=True)
    (model / "snapshots" / COMMIT / "model_index.json").write_text("{}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    pins = tmp_path / "prior.json"
    pins.write_text(json.dumps({"someone/thing": COMMIT}))
    found = files.find_folder("someone/thing", pins=pins, tell=lambda _: None)
    assert (found / "model_index.json").is_file() and found.name == COMMIT
    with pytest.raises(ValueError, match="the hub must be reachable to download"):
        files.find_folder("someone/other", pins=pins)


def test_a_download_never_asks_for_code_or_pickles(monkeypatch, tmp_path):
    asked = {}

    def download(name, **settings):
        asked.update(settings, name=name)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert files.find_folder("mvdream", revision="abc") == tmp_path
    assert asked["name"] == files.PUBLISHED["mvdream"] and asked["revision"] == "abc"
    endings = {pattern.rsplit(".", 1)[-1] for pattern in asked["allow_patterns"]}
    assert endings == {"json", "safetensors", "txt"}
