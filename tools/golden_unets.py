"""Make the reference tensors of the UNets anew: tests/golden/{unet*,controlnet,...}.

Development only: needs torch, diffusers and safetensors, none of which the tests need.
Every network is the published class in a tiny size with random weights. Layers that
write to a residual stream are small, so that a wrong epsilon shows; heights differ
from widths and times differ from each other, so that a swap shows.

    python tools/golden_unets.py check             stored outputs = torch's now
    python tools/golden_unets.py make --folder=F   a fresh set of each
    ... --mvdream=CHECKOUT                         of ashawkey/mvdream_diffusers too
    ... --ldm=CHECKOUT                             of bytedance/MVDream too

The last two read the classes from a checkout (they need einops and omegaconf), with
plain softmax for xformers. `make` takes another seed than the repository's sets; the
tests must pass with these too.
"""

import argparse
import importlib
import json
import re
import sys
import types
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
ATOL = 2e-5
SEED = 20
SILENT = re.compile(
    r"(^|\.)(conv2|out_layers\.3|proj_in|to_out\.0|ff\.net\.2|conv4\.3"
    r"|(?<!embedding\.)conv_in|controlnet_cond_embedding\.conv_out"
    r"|input_blocks\.0\.0|conv_shortcut|skip_connection|samplers\.0\.conv|op"
    r"|output_blocks\.\d+\.\d\.conv)\.\w+$"
)


def randn(generator, *shape):
    """Normal numbers of one stream."""
    return torch.randn(*shape, generator=generator)


@torch.no_grad()
def fill(network, generator, *, halves=False):
    """Overwrite every parameter, in the order of names; halves are exact in float16."""
    for name, value in sorted(network.named_parameters()):
        noise = randn(generator, *value.shape)
        if value.ndim > 1:
            noise = noise * value[0].numel() ** -0.5
        elif name.endswith("weight"):
            noise = 1 + 0.2 * noise
        else:
            noise = 0.1 * noise
        if SILENT.search(name) and (value.ndim > 1 or name.endswith("bias")):
            noise = 0.02 * noise
        value.copy_(noise.half().float() if halves else noise)
    return network.eval()


def write(folder, name, config, state, io, note):
    """Write one set; halves are kept as halves where nothing is lost."""
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    (target / "config.json").write_text(json.dumps(config, indent=1, default=list))
    exact = all(torch.equal(x, x.half().float()) for x in state.values())
    state = {k: (v.half() if exact else v).contiguous() for k, v in state.items()}
    save_file(state, target / "model.safetensors")
    io = {k: v.detach().contiguous() for k, v in io.items()}
    save_file(io, target / "io.safetensors")
    rows = [
        f"| {k} | {list(v.shape)} {str(v.dtype).removeprefix('torch.')} |"
        for k, v in io.items()
    ]
    table = "\n".join(["| tensor | shape |", "|---|---|", *rows])
    (target / "README.md").write_text(f"# {name}\n{note}\n\n{table}\n")


def watch(network, names):
    """Record the outputs of the modules named, as ``mid.NAME``."""
    found = {}

    def keep(name):
        def hook(module, inputs, output):
            output = output[0] if isinstance(output, tuple) else output
            found[f"mid.{name}"] = getattr(output, "sample", output)

        return hook

    for name in names:
        network.get_submodule(name).register_forward_hook(keep(name))
    return found


SD = {
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": 24,
    "sample_size": 8,
}
TWO_LEVELS = {
    "block_out_channels": (16, 32),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "attention_head_dim": 4,
}
UP_2D = {"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}


def unet2d_sd21(folder, generator):
    """Three levels, linear projections, the gradient and every stage."""
    from diffusers import UNet2DConditionModel

    network = UNet2DConditionModel(
        **SD,
        block_out_channels=(16, 32, 32),
        down_block_types=(
            "CrossAttnDownBlock2D",
            "CrossAttnDownBlock2D",
            "DownBlock2D",
        ),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=(2, 4, 4),
        use_linear_projection=True,
    )
    fill(network, generator)
    names = ["time_embedding", "conv_in", "down_blocks.0", "down_blocks.1"]
    names += ["mid_block", "up_blocks.0", "up_blocks.1", "conv_norm_out"]
    io = watch(network, names)
    sample = randn(generator, 2, 4, 8, 16).requires_grad_()
    time, context = torch.tensor([10, 731]), randn(generator, 2, 7, 24)
    cotangent = randn(generator, 2, 4, 8, 16)
    out = network(sample, time, context).sample
    (gradient,) = torch.autograd.grad(out, sample, cotangent)
    io |= {"in.sample": sample, "in.timesteps": time}
    io |= {"in.encoder_hidden_states": context, "out.sample": out}
    io |= {"in.cotangent": cotangent, "out.grad_sample": gradient}
    note = "Tiny UNet2DConditionModel in the style of SD 2.1."
    write(folder, "unet2d_sd21", network.config, network.state_dict(), io, note)


def unet2d_sd15(folder, generator):
    """Two levels, 1x1 convolutions around transformers, eight channels in."""
    from diffusers import UNet2DConditionModel

    network = UNet2DConditionModel(**{**SD, "in_channels": 8}, **TWO_LEVELS, **UP_2D)
    fill(network, generator)
    sample, time = randn(generator, 2, 8, 8, 16), torch.tensor([3, 990])
    context = randn(generator, 2, 5, 24)
    with torch.no_grad():
        out = network(sample, time, context).sample
    io = {"in.sample": sample, "in.timesteps": time}
    io |= {"in.encoder_hidden_states": context, "out.sample": out}
    note = "Tiny UNet2DConditionModel in the style of SD 1.5, with Zero123's channels."
    write(folder, "unet2d_sd15", network.config, network.state_dict(), io, note)


def controlnet(folder, generator):
    """A ControlNet and the UNet that is fed with it."""
    from diffusers import ControlNetModel, UNet2DConditionModel

    unet = UNet2DConditionModel(**SD, **TWO_LEVELS, **UP_2D)
    own = {k: v for k, v in SD.items() if k not in ("out_channels", "sample_size")}
    stem = {"conditioning_embedding_out_channels": (4, 8, 8, 16)}
    control = ControlNetModel(**own, **TWO_LEVELS, **stem)
    fill(unet, generator)
    fill(control, generator)
    sample, time = randn(generator, 1, 4, 4, 8), torch.tensor([500])
    context = randn(generator, 1, 5, 24)
    picture = torch.rand(1, 3, 32, 64, generator=generator)
    with torch.no_grad():
        down, middle = control(
            sample, time, context, picture, conditioning_scale=0.7, return_dict=False
        )
        steered = unet(
            sample,
            time,
            context,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample
    io = {"in.sample": sample, "in.timesteps": time, "in.controlnet_cond": picture}
    io |= {"in.encoder_hidden_states": context, "out.mid": middle}
    io |= {f"out.down.{i}": x for i, x in enumerate(down)}
    io |= {"out.unet_sample": steered}
    parts = {"controlnet": control, "unet": unet}
    config = {name: dict(part.config) for name, part in parts.items()}
    config["conditioning_scale"] = 0.7
    state = {
        f"{name}.{key}": value
        for name, part in parts.items()
        for key, value in part.state_dict().items()
    }
    note = "Tiny ControlNetModel and UNet2DConditionModel; keys carry a prefix."
    write(folder, "controlnet", config, state, io, note)


def unet3d(folder, generator):
    """The text-to-video network on three frames."""
    from diffusers import UNet3DConditionModel

    network = UNet3DConditionModel(
        **SD,
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        attention_head_dim=8,
    )
    fill(network, generator, halves=True)
    block = "down_blocks.0"
    names = ["conv_in", "transformer_in", "mid_block", f"{block}.resnets.0"]
    names += [f"{block}.{x}.0" for x in ("temp_convs", "attentions", "temp_attentions")]
    io = watch(network, names)
    sample, time = randn(generator, 2, 4, 3, 4, 8), torch.tensor([10, 731])
    context = randn(generator, 2, 5, 24)
    with torch.no_grad():
        out = network(sample, time, context).sample
    io |= {"in.sample": sample, "in.timesteps": time}
    io |= {"in.encoder_hidden_states": context, "out.sample": out}
    note = "Tiny UNet3DConditionModel; weights exact in float16."
    write(folder, "unet3d", network.config, network.state_dict(), io, note)


LDM = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,  # the class has 32 groups in every norm
    "num_res_blocks": 1,
    "attention_resolutions": [1],
    "num_head_channels": 16,
    "transformer_depth": 1,
    "context_dim": 24,
    "camera_dim": 16,
}


def stand_ins():
    """Replace the packages that the classes import and that need a GPU or a window."""
    importlib.import_module("diffusers.models.modeling_utils")  # before the stand-ins

    def softmax_attention(q, k, v, attn_bias=None, op=None):
        logits = torch.einsum("bqd,bkd->bqk", q, k) * q.shape[-1] ** -0.5
        return torch.einsum("bqk,bkd->bqd", logits.softmax(-1), v)

    ops = types.ModuleType("xformers.ops")
    ops.memory_efficient_attention = softmax_attention
    package = types.ModuleType("xformers")
    package.ops = ops
    cameras = types.ModuleType("kiui.cam")
    cameras.orbit_camera = None
    kiui = types.ModuleType("kiui")
    kiui.cam = cameras
    sys.modules |= {"xformers": package, "xformers.ops": ops}
    sys.modules |= {"kiui": kiui, "kiui.cam": cameras}


def multi_view(checkout, config):
    """The class of a checkout of ashawkey/mvdream_diffusers."""
    stand_ins()
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    config = {k: v for k, v in config.items() if not k.startswith("_")}
    return importlib.import_module("mv_unet").MultiViewUNetModel(**config)


def original(checkout, config):
    """UNet and autoencoder of a checkout of bytedance/MVDream."""
    stand_ins()
    package = types.ModuleType("mvdream")  # its own __init__ imports what we lack
    package.__path__ = [str(checkout / "mvdream")]
    sys.modules["mvdream"] = package
    layers = "mvdream.ldm.modules.diffusionmodules.openaimodel"
    unet = importlib.import_module(layers).MultiViewUNetModel(
        use_spatial_transformer=True,
        use_linear_in_transformer=True,
        legacy=False,
        use_checkpoint=False,
        **config["unet_config"],
    )
    models = importlib.import_module("mvdream.ldm.models.autoencoder")
    loss = {"target": "torch.nn.Identity"}
    vae = models.AutoencoderKL(config["ddconfig"], loss, config["embed_dim"])
    return unet, vae


def cameras(count):
    """Rows like camera matrices: some rotation, a unit translation."""
    generator = torch.Generator().manual_seed(1)
    rotation, _ = torch.linalg.qr(randn(generator, count, 3, 3))
    place = torch.nn.functional.normalize(randn(generator, count, 3, 1), dim=1)
    top = torch.cat([rotation, place], dim=2)
    last = torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(count, 1, 4)
    return torch.cat([top, last], dim=1).reshape(count, 16)


def mvdream_unet(folder, generator, checkout):
    """Two scenes of four views; also one view without a camera."""
    config = {**LDM, "channel_mult": [1, 2]}
    network = fill(multi_view(checkout, config), generator, halves=True)
    names = ["time_embed", "camera_embed", "input_blocks.1.0", "input_blocks.1.1"]
    names += ["middle_block", "output_blocks.0", "output_blocks.1", "output_blocks.3"]
    x, context = randn(generator, 8, 4, 4, 8), randn(generator, 8, 7, 24)
    time = torch.full((8,), 407.0)
    camera = cameras(4).repeat(2, 1)
    with torch.no_grad():
        flat = network(x, time, context, camera=None, num_frames=1)
        io = watch(network, names)
        out = network(x, time, context, camera=camera, num_frames=4)
    io |= {"in.x": x, "in.timesteps": time, "in.context": context}
    io |= {"in.camera": camera, "out.sample": out, "out.sample_2d_nocam": flat}
    note = "Tiny MultiViewUNetModel, 2 scenes x 4 views; weights exact in float16."
    config = {"_class_name": "MultiViewUNetModel", **config}
    write(folder, "mvdream_unet", config, network.state_dict(), io, note)


def imagedream_unet(folder, generator, checkout):
    """Two scenes of four views and the picture; the first scene has none (zeros)."""
    config = {**LDM, "channel_mult": [1, 1], "ip_dim": 4, "ip_weight": 1.0}
    network = fill(multi_view(checkout, config), generator, halves=True)
    io = watch(network, ["image_embed"])
    x, context = randn(generator, 10, 4, 4, 8), randn(generator, 10, 7, 24)
    time = torch.full((10,), 250.0)
    camera = torch.cat([cameras(4), torch.zeros(1, 16)]).repeat(2, 1)
    given = torch.tensor([0.0, 1.0])
    ip = given[:, None, None] * randn(generator, 2, 6, 1280)
    picture = given[:, None, None, None] * randn(generator, 2, 4, 4, 8)
    with torch.no_grad():
        out = network(
            x.clone(),
            time,
            context,
            camera=camera,
            num_frames=5,
            ip=ip.repeat_interleave(5, dim=0),
            ip_img=picture,
        )
    if len(io["mid.image_embed"]) == 10:
        io["mid.image_embed"] = io["mid.image_embed"][::5]
    io |= {"in.x": x, "in.timesteps": time, "in.context": context, "in.camera": camera}
    io |= {"in.ip": ip, "in.ip_img": picture, "out.sample": out}
    note = "Tiny MultiViewUNetModel with ip_dim 4, 2 scenes x 5 frames."
    config = {"_class_name": "MultiViewUNetModel", **config}
    write(folder, "imagedream_unet", config, network.state_dict(), io, note)


def mvdream_ldm(folder, generator, checkout):
    """The original UNet and autoencoder, in the layout of the published .pt file."""
    config = {
        "unet_config": {**LDM, "channel_mult": [1, 1]},
        "ddconfig": {
            "double_z": True,
            "z_channels": 4,
            "resolution": 16,
            "in_channels": 3,
            "out_ch": 3,
            "ch": 32,  # the class has 32 groups in every norm
            "ch_mult": [1, 1],
            "num_res_blocks": 1,
            "attn_resolutions": [],
            "dropout": 0.0,
        },
        "embed_dim": 4,
        "scale_factor": 0.18215,
        "linear_start": 0.00085,
        "linear_end": 0.012,
    }
    unet, vae = original(checkout, config)
    fill(unet, generator, halves=True)
    fill(vae, generator, halves=True)
    io = {"in.x": randn(generator, 4, 4, 4, 8), "in.timesteps": torch.full((4,), 77)}
    io |= {"in.context": randn(generator, 4, 7, 24), "in.camera": cameras(4)}
    io |= {"in.image": 0.5 * randn(generator, 1, 3, 8, 16)}
    io |= {"in.z": randn(generator, 1, 4, 4, 8)}
    io |= run_original(unet, vae, io)
    state = {f"model.diffusion_model.{k}": v for k, v in unet.state_dict().items()}
    state |= {f"first_stage_model.{k}": v for k, v in vae.state_dict().items()}
    note = "Tiny UNet and autoencoder of the original code; model.pt holds the same."
    write(folder, "mvdream_ldm", config, state, io, note)
    halves = {k: v.half() for k, v in state.items()}
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    halves["alphas_cumprod"] = torch.cumprod(1 - betas, 0).float()
    torch.save(halves, folder / "mvdream_ldm" / "model.pt")


def run_original(unet, vae, io):
    """Outputs of both original networks."""
    with torch.no_grad():
        arrays = io["in.x"], io["in.timesteps"], io["in.context"]
        out = unet(*arrays, camera=io["in.camera"], num_frames=4)
        posterior = vae.encode(io["in.image"])
        return {
            "out.sample": out,
            "out.mean": posterior.mean,
            "out.logvar": posterior.logvar,
            "out.decoded": vae.decode(io["in.z"]),
        }


def stored(name):
    """Config, widened weights, inputs and outputs of a set of the repository."""
    folder = GOLDEN / name
    state = load_file(folder / "model.safetensors")
    state = {k: v.float() for k, v in state.items()}
    config = json.loads((folder / "config.json").read_text())
    return config, state, load_file(folder / "io.safetensors")


def part(state, prefix):
    """The tensors behind a prefix."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def of_diffusers(name):
    """Outputs of a UNet's stored weights and inputs by the class of diffusers."""
    import diffusers

    config, state, io = stored(name)
    kind = "UNet3DConditionModel" if name == "unet3d" else "UNet2DConditionModel"
    network = getattr(diffusers, kind).from_config(config).eval()
    network.load_state_dict(state)
    sample = io["in.sample"].requires_grad_()
    out = network(sample, io["in.timesteps"], io["in.encoder_hidden_states"]).sample
    found = {"out.sample": out}
    if "in.cotangent" in io:
        (slope,) = torch.autograd.grad(out, sample, io["in.cotangent"])
        found["out.grad_sample"] = slope
    return found, io


def of_controlnet(name):
    """Residuals, and the output of the UNet that they steer."""
    from diffusers import ControlNetModel, UNet2DConditionModel

    config, state, io = stored(name)
    control = ControlNetModel.from_config(config["controlnet"]).eval()
    control.load_state_dict(part(state, "controlnet."))
    unet = UNet2DConditionModel.from_config(config["unet"]).eval()
    unet.load_state_dict(part(state, "unet."))
    arrays = io["in.sample"], io["in.timesteps"], io["in.encoder_hidden_states"]
    scale = config["conditioning_scale"]
    down, middle = control(
        *arrays, io["in.controlnet_cond"], conditioning_scale=scale, return_dict=False
    )
    found = {"out.mid": middle} | {f"out.down.{i}": x for i, x in enumerate(down)}
    found["out.unet_sample"] = unet(
        *arrays,
        down_block_additional_residuals=down,
        mid_block_additional_residual=middle,
    ).sample
    return found, io


def of_checkout(name, checkout):
    """Outputs of MVDream or ImageDream by the class of their checkout."""
    config, state, io = stored(name)
    network = multi_view(checkout, config).eval()
    network.load_state_dict(state)
    arrays = io["in.x"].clone(), io["in.timesteps"], io["in.context"]
    if name == "imagedream_unet":
        given = {"ip": io["in.ip"].repeat_interleave(5, dim=0), "num_frames": 5}
        out = network(*arrays, camera=io["in.camera"], ip_img=io["in.ip_img"], **given)
        return {"out.sample": out}, io
    found = {"out.sample": network(*arrays, camera=io["in.camera"], num_frames=4)}
    found["out.sample_2d_nocam"] = network(*arrays, camera=None, num_frames=1)
    return found, io


def of_original(name, checkout):
    """Outputs of the original MVDream by its own classes."""
    config, state, io = stored(name)
    unet, vae = original(checkout, config)
    unet.load_state_dict(part(state, "model.diffusion_model."))
    vae.load_state_dict(part(state, "first_stage_model."))
    return run_original(unet.eval(), vae.eval(), io), io


def check(names, options):
    """Print the largest difference of each set; raise above the limit."""
    worst = {}
    for name in names:
        if name in PLAIN:
            run = of_controlnet if name == "controlnet" else of_diffusers
            found, io = run(name)
        elif name == "mvdream_ldm":
            found, io = of_original(name, options.ldm)
        else:
            found, io = of_checkout(name, options.mvdream)
        differences = [float((x - io[key]).abs().max()) for key, x in found.items()]
        worst[name] = max(differences)
        print(f"{name:24s} {worst[name]:.1e}  ({len(found)} outputs)")
    if max(worst.values()) > ATOL:
        raise SystemExit(f"differences must be below {ATOL}, got {max(worst.values())}")


PLAIN = {f.__name__: f for f in (unet2d_sd21, unet2d_sd15, controlnet, unet3d)}
OF_CHECKOUT = {f.__name__: f for f in (mvdream_unet, imagedream_unet, mvdream_ldm)}


def main():
    """Check or write the sets that are named, or all whose classes are at hand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", choices=("check", "make"))
    parser.add_argument("names", nargs="*", metavar="SET")
    parser.add_argument("--folder", type=Path, default=Path("golden"))
    parser.add_argument("--mvdream", type=Path)
    parser.add_argument("--ldm", type=Path)
    options = parser.parse_args()
    names = list(options.names) or [
        *PLAIN,
        *(["mvdream_unet", "imagedream_unet"] if options.mvdream else []),
        *(["mvdream_ldm"] if options.ldm else []),
    ]
    if options.job == "check":
        check(names, options)
        return
    for name in names:
        generator = torch.Generator().manual_seed(SEED)
        if name in PLAIN:
            PLAIN[name](options.folder, generator)
        else:
            checkout = options.ldm if name == "mvdream_ldm" else options.mvdream
            OF_CHECKOUT[name](options.folder, generator, checkout)
        print(f"wrote {options.folder / name}")


if __name__ == "__main__":
    main()
