"""Reference tensors of the autoencoder, CLIP, DINOv2 and the samplers, made by torch.

The tests compare against tests/golden/NAME without torch; this program needs it:

    pip install torch diffusers transformers
    python tools/golden_encoders.py check                 stored outputs = torch's now
    python tools/golden_encoders.py make --folder=F --seed=1      a fresh set in F

`make` keeps the tiny configs of the stored sets and draws new weights and inputs by
one seeded generator: matrices N(0, 1/fan-in), norms 1 + 0.2 N, biases 0.1 N, and layers
that write to the residual stream times 0.02, so that a wrong epsilon shows.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
ATOL = 2e-5
# Layers whose output is added to a stream.
WRITERS = (
    "conv2",
    "conv_shortcut",
    "to_out.0",
    "out_proj",
    "fc2",
    "attention.output.dense",
    "conv_in",
    "embedding",
    "projection.weight",
    "position_embeddings",
)


def autoencoder(settings):
    """The network and its function from inputs to outputs."""
    from diffusers import AutoencoderKL

    network = AutoencoderKL.from_config(settings)

    def run(io):
        image = io["in.image"].clone().requires_grad_(True)
        posterior = network.encode(image).latent_dist
        slope = torch.autograd.grad(posterior.mean, image, io["in.cotangent_mean"])
        return {
            "out.mean": posterior.mean,
            "out.logvar": posterior.logvar,
            "out.grad_image": slope[0],
            "out.decoded": network.decode(io["in.z"]).sample,
        }

    shapes = {
        "in.image": (2, 3, 16, 24),
        "in.cotangent_mean": (2, 4, 4, 6),
        "in.z": (2, 4, 4, 6),
    }
    return network, run, shapes


def clip_text(settings):
    """The text tower alone."""
    from transformers import CLIPTextConfig, CLIPTextModel

    network = CLIPTextModel(CLIPTextConfig(**settings))

    def run(io):
        out = network(io["in.input_ids"], output_hidden_states=True)
        states = {f"out.hidden_states.{i}": x for i, x in enumerate(out.hidden_states)}
        return states | {
            "out.last_hidden_state": out.last_hidden_state,
            "out.pooler_output": out.pooler_output,
        }

    return network, run, {"in.input_ids": (2, 12)}


def clip_vision(settings):
    """The vision tower with its projection."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    network = CLIPVisionModelWithProjection(CLIPVisionConfig(**settings))

    def run(io):
        out = network(io["in.pixel_values"], output_hidden_states=True)
        return {
            "out.image_embeds": out.image_embeds,
            "out.last_hidden_state": out.last_hidden_state,
            "out.hidden_states_penultimate": out.hidden_states[-2],
        }

    return network, run, {"in.pixel_values": (2, 3, 28, 28)}


def clip_both(settings):
    """Joint CLIP."""
    from transformers import CLIPConfig, CLIPModel

    network = CLIPModel(CLIPConfig(**settings))

    def run(io):
        out = network(io["in.input_ids"], io["in.pixel_values"])
        return {
            "out.text_embeds": out.text_embeds,
            "out.image_embeds": out.image_embeds,
            "out.logits_per_image": out.logits_per_image,
        }

    shapes = {"in.input_ids": (2, 12), "in.pixel_values": (3, 3, 32, 32)}
    return network, run, shapes


def dinov2(settings):
    """DINOv2 at its own and at two other sizes."""
    from transformers import Dinov2Config, Dinov2Model

    network = Dinov2Model(Dinov2Config(**settings))
    sizes = {"": (32, 32), "_24x40": (24, 40), "_48x48": (48, 48)}

    def run(io):
        return {
            f"out.last_hidden_state{name}": network(
                io[f"in.pixel_values{name}"]
            ).last_hidden_state
            for name in sizes
        }

    shapes = {f"in.pixel_values{name}": (1, 3, *size) for name, size in sizes.items()}
    return network, run, shapes


SETS = {
    "vae": autoencoder,
    "clip_text": clip_text,
    "clip_vision_proj": clip_vision,
    "clip_model": clip_both,
    "dinov2": dinov2,
}


SD_SCHEDULE = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
}


def posteriors():
    """Mean and variance of diffusers' DDPM at ten steps from the stored start state."""
    from diffusers import DDPMScheduler

    io = load_file(GOLDEN / "schedulers" / "io.safetensors")
    scheduler = DDPMScheduler(**SD_SCHEDULE)
    scheduler.set_timesteps(10)
    x = io["ddim_eps_traj"][0]
    means, variances = [], []
    for t in scheduler.timesteps:
        output = 0.7 * x * torch.cos(t / 1000) + 0.1 * torch.sin(3 * x)
        seeded = torch.Generator().manual_seed(0)
        found = scheduler.step(output, t, x, generator=seeded).prev_sample
        variances.append(scheduler._get_variance(t))
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        means.append(found - (t > 0) * variances[-1] ** 0.5 * noise)
    yield "ddpm mean", torch.stack(means), io["ddpm_posterior_mean"]
    yield "ddpm variance", torch.stack(variances), io["ddpm_variance"]


def samplers():
    """What diffusers' DDIM gives for the stored start state, by name of trajectory."""
    from diffusers import DDIMScheduler

    io = load_file(GOLDEN / "schedulers" / "io.safetensors")
    variants = {
        "eps": {},
        "v": {"prediction_type": "v_prediction"},
        "eps_eta1": {},
        "eps_offset0_one": {"steps_offset": 0, "set_alpha_to_one": True},
    }
    sd = SD_SCHEDULE | {"steps_offset": 1, "set_alpha_to_one": False}
    for name, changes in variants.items():
        scheduler = DDIMScheduler(**(sd | changes))
        scheduler.set_timesteps(10)
        states = [io[f"ddim_{name}_traj"][0]]
        for i, t in enumerate(scheduler.timesteps):
            x = states[-1]
            output = 0.7 * x * torch.cos(t / 1000) + 0.1 * torch.sin(3 * x)
            fresh = {}
            if name.endswith("eta1"):
                fresh = {"eta": 1.0, "variance_noise": io["eta1_noise"][i]}
            states.append(scheduler.step(output, t, x, **fresh).prev_sample)
        yield f"ddim {name}", torch.stack(states), io[f"ddim_{name}_traj"]


def load_weights(network, weights):
    """Put stored tensors into a network, the tower's first name there or not."""
    own = network.state_dict()
    named = {
        key if key in own else key.removeprefix("text_model."): value
        for key, value in network_names(weights, own).items()
    }
    missing = own.keys() - named.keys()
    if missing - {"text_model.embeddings.position_ids"}:
        raise ValueError(
            f"the stored set must hold every tensor of the class, got none of {missing}"
        )
    network.load_state_dict({k: v for k, v in named.items() if k in own}, strict=False)


def network_names(weights, own):
    """Stored names as the class has them in memory, where DINOv2's are others."""
    if any("attention.q_proj" in key for key in own):
        parts = {
            "attention.attention.query": "attention.q_proj",
            "attention.attention.key": "attention.k_proj",
            "attention.attention.value": "attention.v_proj",
            "attention.output.dense": "attention.o_proj",
        }
        for old, new in parts.items():
            weights = {k.replace(old, new): v for k, v in weights.items()}
    return weights


def check():
    """Largest differences between stored and present outputs; raise above the limit."""
    worst = {}
    for name, build in SETS.items():
        settings = json.loads((GOLDEN / name / "config.json").read_text())
        network, run, _ = build(settings)
        load_weights(network, load_file(GOLDEN / name / "model.safetensors"))
        io = load_file(GOLDEN / name / "io.safetensors")
        found = run_eval(network, run, io)
        worst[name] = max(float((x - io[key]).abs().max()) for key, x in found.items())
    for name, found, stored in (*samplers(), *posteriors()):
        worst[name] = float((found - stored).abs().max())
    for name, value in worst.items():
        print(f"{name:24s} {value:.1e}")
    if max(worst.values()) > ATOL:
        raise SystemExit(f"differences must be below {ATOL}, got {max(worst.values())}")


def run_eval(network, run, io):
    """Outputs without dropout, detached."""
    network.eval()
    return {key: value.detach().contiguous() for key, value in run(io).items()}


def draw_weights(network, generator):
    """Overwrite every parameter, in the order of their names."""
    with torch.no_grad():
        for name, value in sorted(network.named_parameters()):
            noise = torch.randn(value.shape, generator=generator)
            if value.ndim > 1:
                noise = noise * value[0].numel() ** -0.5
            elif "norm" in name and name.endswith("weight"):
                noise = 1.0 + 0.2 * noise
            else:
                noise = 0.1 * noise
            writes = any(part in name for part in WRITERS) and "norm" not in name
            value.copy_(0.02 * noise if writes else noise)


def make(folder, seed):
    """Write fresh sets of the same configs."""
    for name, build in SETS.items():
        generator = torch.Generator().manual_seed(seed)
        settings = json.loads((GOLDEN / name / "config.json").read_text())
        network, run, shapes = build(settings)
        draw_weights(network, generator)
        io = {}
        for key, shape in shapes.items():
            if key == "in.input_ids":  # start, words, end, padding
                ids = torch.randint(1, 60, shape, generator=generator)
                ids[:, 0], ids[:, -3], ids[:, -2:] = 60, 61, 0
                io[key] = ids
            else:
                io[key] = torch.randn(shape, generator=generator)
        (folder / name).mkdir(parents=True, exist_ok=True)
        network.save_pretrained(folder / name)
        for file in (folder / name).glob("diffusion_*.safetensors"):
            file.rename(folder / name / "model.safetensors")
        save_file(io | run_eval(network, run, io), folder / name / "io.safetensors")
        print(f"wrote {folder / name}")


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", choices=("check", "make"))
    parser.add_argument("--folder", type=Path, default=Path("golden"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    check() if options.job == "check" else make(options.folder, options.seed)


if __name__ == "__main__":
    main()
