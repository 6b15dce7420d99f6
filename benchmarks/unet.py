"""Forward of the real-size SD 2.1 UNet on four 32x32 latents: JAX against torch.

Two processes with the same random weights on the same cores take turns, so that a busy
machine slows both. Times are CPU seconds of the process, memory is the peak resident
set during the forwards. Torch and diffusers live in an environment of their own:

    python benchmarks/unet.py --torch-python=/path/to/torch/venv/bin/python --threads=1

needs about 12 GB. The worker modes (``jax``, ``torch``) are started by the script.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
SHAPE = (4, 32, 32, 4)


def inputs():
    """Latents NHWC, times and context: the same in both processes."""
    generator = np.random.default_rng(0)
    latents = generator.standard_normal(SHAPE, np.float32)
    context = generator.standard_normal((SHAPE[0], 77, 1024), np.float32)
    return latents, np.full(SHAPE[0], 500, np.int64), context


def weights():
    """Yield name and value of every tensor, in torch's layout."""
    path = ROOT / "tests" / "golden" / "manifests" / "sd21_unet.json"
    generator = np.random.default_rng(1)
    for name, shape in json.loads(path.read_text()).items():
        value = generator.standard_normal(shape, np.float32)
        if len(shape) == 1:
            norm = "norm" in name and name.endswith("weight")
            yield name, 0.1 * value + float(norm)
        else:
            yield name, value * np.float32(np.prod(shape[1:])) ** -0.5


def jax_forward():
    """Return a function that runs the forward once."""
    sys.path.insert(0, str(ROOT))
    import jax
    import jax.numpy as jnp

    from adreamer_jax.prior.load import tree_from_torch
    from adreamer_jax.prior.unet_diffusers import UNetConfig, unet

    def place(item):
        name, value = item
        return jax.tree.map(
            lambda x: jnp.array(np.ascontiguousarray(x)), tree_from_torch({name: value})
        )

    params = {}
    for item in weights():
        params = merge(params, place(item))
    config = UNetConfig()
    run = jax.jit(lambda params, *arrays: unet(config, params, *arrays))
    arrays = inputs()
    compiled = run.lower(params, *arrays).compile()
    jax.clear_caches()  # the traced program is not needed any more
    return lambda: np.asarray(compiled(params, *arrays))


def merge(tree, branch):
    """Put a one-leaf tree into a tree."""
    for name, value in branch.items():
        if isinstance(value, dict):
            merge(tree.setdefault(name, {}), value)
        else:
            tree[name] = value
    return tree


def torch_forward(threads, layout):
    """Return a function that runs the forward once, in the memory format named."""
    import torch
    from diffusers import UNet2DConditionModel

    torch.set_num_threads(threads)
    with torch.device("meta"):
        network = UNet2DConditionModel(
            block_out_channels=(320, 640, 1280, 1280),
            attention_head_dim=(5, 10, 20, 20),
            cross_attention_dim=1024,
            use_linear_projection=True,
            sample_size=64,
        )
    state = {name: torch.from_numpy(value) for name, value in weights()}
    network.load_state_dict(state, assign=True)
    del state
    network.eval()
    latents, times, context = (torch.from_numpy(x) for x in inputs())
    latents = latents.permute(0, 3, 1, 2).contiguous()
    if layout == "channels_last":
        network.to(memory_format=torch.channels_last)
        latents = latents.contiguous(memory_format=torch.channels_last)

    def forward():
        with torch.inference_mode():
            out = network(latents, times, context).sample
        return np.ascontiguousarray(out.permute(0, 2, 3, 1).numpy())

    return forward


def work(kind, threads):
    """Answer every line on stdin by one forward; the last line tells the peak."""
    if kind == "jax":
        forward = jax_forward()
    else:
        forward = torch_forward(threads, kind.removeprefix("torch_"))
    out = forward()  # caches, allocators and packed weights warm up
    np.save(Path(os.environ["UNET_BENCH_OUT"]) / f"{kind}.npy", out)
    del out
    at_rest = reset_peak()
    for _ in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        forward()
        row = {
            "cpu": time.process_time() - cpu,
            "wall": time.perf_counter() - wall,
            "peak_gb": resident_gb("VmHWM"),
            "forward_gb": resident_gb("VmHWM") - at_rest,
        }
        print(json.dumps(row), flush=True)


def reset_peak():
    """Give back what loading and compiling left over; return what is then held."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return resident_gb("VmRSS")


def resident_gb(name):
    """Resident memory of this process in GB: ``VmRSS`` now, ``VmHWM`` at its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024 / 1e9
    raise OSError(f"/proc/self/status must have {name}; run this on Linux")


def start(kind, python, threads, folder):
    """Start one worker with its number of threads."""
    flags = "--xla_cpu_multi_thread_eigen=false" if threads == 1 else ""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "XLA_FLAGS": flags,
        "JAX_PLATFORMS": "cpu",
        "UNET_BENCH_OUT": str(folder),
    }
    command = [python, __file__, kind, f"--threads={threads}"]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, env=environment
    )


def ask(worker):
    """One forward of a worker."""
    worker.stdin.write("go\n")
    worker.stdin.flush()
    return json.loads(worker.stdout.readline())


def compare(torch_python, threads, rounds, folder):
    """Let the contestants take turns; return their minima and the ratios."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    folder.mkdir(parents=True, exist_ok=True)
    report = {"threads": threads, "rounds": rounds}
    rows = {"jax": []}
    jax_worker = start("jax", sys.executable, threads, folder)
    for kind in ("torch_contiguous", "torch_channels_last"):
        worker = start(kind, torch_python, threads, folder)
        rows[kind] = []
        for _ in range(rounds):
            rows["jax"].append(ask(jax_worker))
            rows[kind].append(ask(worker))
        worker.communicate()
    jax_worker.communicate()
    for kind, measured in rows.items():
        report[kind] = {
            name: round(min(row[name] for row in measured), 3) for name in measured[0]
        }
        report[kind]["all_cpu"] = [round(row["cpu"], 2) for row in measured]
    kinds = [kind for kind in rows if kind != "jax"]
    for name in ("cpu", "peak_gb", "forward_gb"):
        best = min(report[kind][name] for kind in kinds)
        report[f"torch_over_jax_{name}"] = round(best / report["jax"][name], 3)
    found, wanted = (np.load(folder / f"{k}.npy") for k in ("jax", kinds[0]))
    report["difference"] = float(np.abs(found - wanted).max())
    report["output_std"] = float(wanted.std())
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", nargs="?", default="compare")
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/adreamer_unet_bench"))
    options = parser.parse_args()
    if options.kind != "compare":
        work(options.kind, options.threads)
        return
    report = compare(
        options.torch_python, options.threads, options.rounds, options.folder
    )
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
