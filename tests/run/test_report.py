"""The report is one whole page that asks nothing of the network."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from adreamer_jax.run.export import export
from adreamer_jax.run.report import report
from adreamer_jax.run.video import write_video
from tests.run.capsule import make_asset, make_system


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    work, asset = tmp_path_factory.mktemp("work"), make_asset()
    export(make_system(asset), None, None, work, "extract")
    recipe = {"data": {"clip": "x/capsule"}, "loss": {"rgb": 1.0, "cycle": 0.0}}
    recipe |= {"prompt": "a <bent> capsule", "run": {"seed": 7}}
    (work / "config.json").write_text(json.dumps(recipe))
    lines = [
        {
            "stage": "extract",
            "step": i,
            "wall": 100.0 + i,
            "loss": 1 / i,
            "loss/rgb": 2.0,
            "n": i,
        }
        for i in range(1, 6)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (work / "metrics.jsonl").write_text(text + '{"stage": "ext')  # killed while writing
    figures = {
        "shape": {"chamfer_percent": 2.5, "unseen": {"f2": 0.7}, "per_frame": [1]}
    }
    (work / "evaluation.json").write_text(json.dumps({"protocol": "banmo"} | figures))
    (work / "pictures").mkdir()
    for name in ("bones", "extract_000300_progress"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(
            work / f"pictures/{name}.png"
        )
    write_video(np.zeros((2, 8, 8, 3), np.uint8), work / "videos/turntable.mp4", 5)
    return work


class Tags(HTMLParser):
    VOID = frozenset(("meta", "img", "input", "br"))

    def __init__(self):
        super().__init__()
        self.open, self.sources = [], []

    def handle_starttag(self, tag, attrs):
        self.sources += [v for k, v in attrs if k in ("src", "href") and v]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_whole_and_offline(work):
    page = report(work).read_text()
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    links = [s for s in tags.sources if not s.startswith("data:")]
    assert all((work / link).exists() for link in links) and len(links) == 6
    assert not re.search(r"https?://(?!www\.w3\.org)", page)


def test_page_shows_what_is_there(work):
    page = report(work).read_text()
    assert page.count("data:video/mp4;base64,") == 1
    assert page.count("data:image/webp;base64,") == 2
    assert "2.5 %" in page and "0.7" in page and "banmo" in page
    assert "a &lt;bent&gt; capsule" in page and "a <bent> capsule" not in page
    assert "extract, step 300" in page
    assert page.count('class="card chart"') == 3
    model = re.search(r'id="model-data">([^<]+)<', page).group(1)
    assert base64.b64decode(model) == (work / "export/extract/model.glb").read_bytes()


def test_an_empty_work_folder_has_a_page(tmp_path):
    page = report(tmp_path).read_text()
    assert "embedded clip" in page and "<canvas" not in page and "<video" not in page


def test_making_it_again_gives_the_same_bytes(work):
    assert report(work).read_bytes() == report(work).read_bytes()


def test_two_stages_are_two_chapters_with_a_player_each(tmp_path):
    asset = make_asset()
    for stage in ("extract", "generate"):
        export(make_system(asset), None, None, tmp_path, stage)
        (tmp_path / "pictures").mkdir(exist_ok=True)
        picture = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
        picture.save(tmp_path / f"pictures/{stage}_bones.png")
    recipe = {"prompt": "a fox", "generate": {"prompt": "a <tiger>", "source": ""}}
    (tmp_path / "config.json").write_text(json.dumps(recipe))
    figures = {"generate": {"clip_score": 31.5, "rest": {"clip_score": 29.0}}}
    (tmp_path / "evaluation.json").write_text(json.dumps(figures))
    page = report(tmp_path).read_text()
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    first, second = page.index("a &lt;tiger&gt;</em>"), page.index("a fox</em>")
    assert first < second and page.count("data:image/webp;base64,") == 2
    for name in ("model-data", "model-data-1"):
        assert f'data-model="{name}"' in page and f'id="{name}">' in page
    assert "31.5" in page and "CLIP score of the prompt" in page
