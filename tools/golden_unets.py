"""Make the reference tensors of the UNets anew: tests/golden/{unet*,controlnet,...}.

Development only: needs torch, diffusers and safetensors, none of which the tests need.
Every network is the published class in a tiny size with random weights. Layers that
write to a residual stream are small, so that a wrong epsilon shows; heights differ
from widths and times differ from each other, so that a swap shows.

    python tools/golden_unets.py --folder=/tmp/golden
    python tools/golden_unets.py --folder=/tmp/golden --mvdream=CHECKOUT mvdream_unet

The second form reads the class of MVDream and ImageDream from a checkout of
ashawkey/mvdream_diffusers (it needs einops), with plain softmax for xformers.
The numbers differ from those in the repository (another seed); the tests must pass.
"""

import argparse
import importlib
import json
import re
import sys
import types
from pathlib import Path

import torch
from safetensors.torch import save_file

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


def multi_view(checkout, config):
    """The class of the checkout, with the two packages that it imports replaced."""
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
    sys.path.insert(0, str(checkout))
    return importlib.import_module("mv_unet").MultiViewUNetModel(**config)


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


PLAIN = {f.__name__: f for f in (unet2d_sd21, unet2d_sd15, controlnet, unet3d)}
OF_CHECKOUT = {f.__name__: f for f in (mvdream_unet, imagedream_unet)}


def main():
    """Write the sets that are named, or all that need no checkout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(PLAIN))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--mvdream", type=Path)
    options = parser.parse_args()
    for name in options.names:
        generator = torch.Generator().manual_seed(SEED)
        if name in PLAIN:
            PLAIN[name](options.folder, generator)
        else:
            OF_CHECKOUT[name](options.folder, generator, options.mvdream)


if __name__ == "__main__":
    main()
