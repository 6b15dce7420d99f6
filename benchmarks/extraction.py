"""The table of extraction over clips, out of what their runs left in work folders.

    python benchmarks/extraction.py CLIPS RUNS [--run] [--cores=0] [-- OVERRIDES]
    python benchmarks/extraction.py CLIPS RUNS --check-scorer=path/to/score.py

CLIPS holds clip folders, RUNS a work folder of the same name for each. With --run the
clips that have no evaluation yet are run first. --check-scorer runs another scorer as
`python SCORER CLIP EXPORT --every k`, which prints one JSON line of figures named as
ours, and shows each of our figures over its.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from run_clip import parse_cores, run_clip

COLUMNS = (  # heading, where it stands, digits
    ("Chamfer %", "shape.chamfer_percent", 2),
    ("F@2%", "shape.f2", 3),
    ("seen", "shape.seen.f2", 3),
    ("never seen", "shape.unseen.f2", 3),
    ("rigid twin %", "rigid_twin.chamfer_percent", 2),
    ("rigid twin F@2%", "rigid_twin.f2", 3),
    ("camera deg", "root_pose.rotation_median_deg", 2),
    ("given deg", "root_pose.given_cameras.rotation_median_deg", 2),
    ("jitter / truth's", "jitter_ratio", 2),
    ("IoU", "pictures.mask_iou", 3),
    ("PSNR dB", "pictures.psnr", 1),
    ("SSIM", "pictures.ssim", 3),
    ("PCK@0.1", "keypoints.pck@0.1", 3),
    ("PCK@0.2", "keypoints.pck@0.2", 3),
    ("flow PCK@0.1", "keypoints.flow.pck@0.1", 3),
    ("seconds", "seconds", 0),
    ("CPU seconds", "resources.cpu_seconds", 0),
    ("MiB", "resources.peak_mib", 0),
)
PARTS = ("", "seen.", "unseen.")
TOLERANCE = 0.03  # how far another scorer's figures may be from ours


def look_up(nested: Mapping[str, Any], name: str) -> float | None:
    """The number at a dotted path; None where the path ends early."""
    at: Any = nested
    while isinstance(at, Mapping) and name:
        # names may hold dots themselves ("pck@0.1"): the whole rest goes first
        if name in at:
            at, name = at[name], ""
        else:
            head, _, name = name.partition(".")
            at = at.get(head)
    return at if isinstance(at, int | float) and not name else None


def read_run(workdir: Path) -> dict[str, Any] | None:
    """Figures of a work folder; None where it has not been evaluated."""
    path = workdir / "evaluation.json"
    if not path.is_file():
        return None
    out = json.loads(path.read_text())
    resources = workdir / "resources.json"
    out["resources"] = json.loads(resources.read_text()) if resources.is_file() else {}
    out["seconds"] = out["resources"].get("wall_seconds", trained_seconds(workdir))
    pose = out.get("root_pose", {})
    if pose.get("truth_jitter_deg"):
        out["jitter_ratio"] = pose["jitter_deg"] / pose["truth_jitter_deg"]
    return out


def trained_seconds(workdir: Path) -> float | None:
    """Seconds between the first and the last line of metrics.jsonl."""
    path = workdir / "metrics.jsonl"
    if not path.is_file():
        return None
    walls = [json.loads(line)["wall"] for line in path.read_text().splitlines()]
    return max(walls) - min(walls) if walls else None


def table(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """A markdown table, one row a clip and their means; unknown columns left out."""
    rows = {
        name: [look_up(run, path) for _, path, _ in COLUMNS]
        for name, run in runs.items()
    }
    known = [any(row[i] is not None for row in rows.values()) for i in _indices()]
    rows["mean"] = [_mean([row[i] for row in rows.values()]) for i in _indices()]
    shown = [i for i in _indices() if known[i]]
    lines = [["clip", *(COLUMNS[i][0] for i in shown)], ["---"] * (len(shown) + 1)]
    lines += [
        [name, *(_digits(row[i], COLUMNS[i][2]) for i in shown)]
        for name, row in rows.items()
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _indices() -> range:
    return range(len(COLUMNS))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _digits(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def compare(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, float]:
    """Our figures over another scorer's, for every name that both have."""
    names = [f"{part}f{level}" for part in PARTS for level in (1, 2, 5, 10)]
    names += ["chamfer_percent", "to_truth_percent", "from_truth_percent"]
    names += ["seen.recall_percent", "unseen.recall_percent"]
    ratios = {}
    for name in names:
        one, other = look_up(ours, f"shape.{name}"), look_up(theirs, name)
        if one is not None and other:
            ratios[name] = one / other
    for level in ("pck@0.1", "pck@0.2"):
        one, other = look_up(ours, f"keypoints.{level}"), look_up(theirs, level)
        if one is not None and other:
            ratios[level] = one / other
    return ratios


def check_scorer(scorer: Path, clip: Path, workdir: Path) -> dict[str, float]:
    """Our figures over another scorer's on the same export."""
    ours = read_run(workdir) or {}
    export = workdir / "export" / "extract"
    words = [sys.executable, scorer, clip, export, "--every", ours["every"]]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    if done.returncode:
        raise ValueError(
            f"{scorer} must score {export} and print one JSON line, got exit code "
            f"{done.returncode}: {done.stderr.strip()[-300:]}"
        )
    return compare(ours, json.loads(done.stdout.strip().splitlines()[-1]))


def check_all(scorer: Path, clips: Path, runs: Path, names: Sequence[str]) -> bool:
    """Print every clip's ratios; whether none is further off than the tolerance."""
    worst = 0.0
    for name in names:
        ratios = check_scorer(scorer, clips / name, runs / name)
        print(f"{name}: " + ", ".join(f"{k} {v:.3f}" for k, v in ratios.items()))
        worst = max([worst, *(abs(ratio - 1) for ratio in ratios.values())])
    print(f"largest disagreement {100 * worst:.1f} %")
    return worst <= TOLERANCE


def collect(clips: Sequence[Path], runs: Path, run: Callable | None) -> dict[str, Any]:
    """Figures by clip; clips without any are run first where `run` says how."""
    found = {}
    for clip in clips:
        workdir = runs / clip.name
        if run is not None and read_run(workdir) is None:
            run(str(clip), workdir)
        if (figures := read_run(workdir)) is not None:
            found[clip.name] = figures
    return found


def main(argv: Sequence[str]) -> int:
    """The command line."""
    argv, overrides = list(argv), []
    if "--" in argv:
        at = argv.index("--")
        argv, overrides = argv[:at], argv[at + 1 :]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, help="folder of clip folders")
    parser.add_argument("runs", type=Path, help="folder of work folders")
    parser.add_argument("--only", default="", help="names of clips, as fox_arc,dog")
    parser.add_argument("--run", action="store_true", help="run what is not there")
    parser.add_argument("--config", default="configs/extract.py")
    parser.add_argument("--cores", default="", help="core numbers, as 0 or 0,1")
    parser.add_argument("--check-scorer", type=Path, help="another scorer's script")
    given = parser.parse_args(argv)
    wanted = set(filter(None, given.only.split(",")))
    clips = sorted(path.parent for path in given.clips.glob("*/clip.json"))
    clips = [clip for clip in clips if not wanted or clip.name in wanted]
    run = partial(
        run_clip,
        config=given.config,
        cores=parse_cores(given.cores),
        overrides=overrides,
    )
    found = collect(clips, given.runs, run if given.run else None)
    if not found:
        print(f"no evaluated work folders of these clips in {given.runs}")
        return 1
    print(table(found))
    if given.check_scorer is None:
        return 0
    good = check_all(given.check_scorer, given.clips, given.runs, list(found))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
