"""Names and shapes of the real-size networks, without their weights, by torch.

`tests/golden/manifests/NAME.json` maps each tensor of a published file to its shape.
Classes are built on the meta device, so that nothing of that size is allocated:

    python tools/golden_manifests.py check [--mvdream=CHECKOUT]
    python tools/golden_manifests.py make --folder=F [--mvdream=CHECKOUT]

The checkout is ashawkey/mvdream_diffusers; without it its two networks are left out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from golden_unets import multi_view

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "manifests"


def autoencoder():
    """Stable Diffusion's autoencoder."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
    )


SD21 = {
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
SD15 = {"attention_head_dim": 8, "cross_attention_dim": 768}


def unet(**sizes):
    """A 2D UNet."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(**sizes)


def control():
    """The ControlNet of SD 1.5."""
    from diffusers import ControlNetModel

    return ControlNetModel(**SD15)


def video():
    """The text-to-video UNet."""
    from diffusers import UNet3DConditionModel

    return UNet3DConditionModel(attention_head_dim=64)


def text(width, heads, layers):
    """A CLIP text tower."""
    from transformers import CLIPTextConfig, CLIPTextModel

    sizes = {"hidden_size": width, "intermediate_size": 4 * width}
    return CLIPTextModel(
        CLIPTextConfig(**sizes, num_attention_heads=heads, num_hidden_layers=layers)
    )


def clip(patch, vision, text):
    """Both towers of CLIP; width, heads and layers of each."""
    from transformers import CLIPConfig, CLIPModel

    def sizes(width, heads, layers):
        return {
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_attention_heads": heads,
            "num_hidden_layers": layers,
            "projection_dim": text[0],
        }

    config = CLIPConfig(
        text_config=sizes(*text),
        vision_config={**sizes(*vision), "patch_size": patch, "image_size": 224},
        projection_dim=text[0],
    )
    return CLIPModel(config)


def openclip():
    """OpenCLIP's vision tower of ViT-H/14."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=1280,
            intermediate_size=5120,
            num_hidden_layers=32,
            num_attention_heads=16,
            patch_size=14,
            image_size=224,
            projection_dim=1024,
        )
    )


def dino(width, heads):
    """DINOv2 with patches of 14 pixels."""
    from transformers import Dinov2Config, Dinov2Model

    sizes = {"hidden_size": width, "num_attention_heads": heads}
    return Dinov2Model(
        Dinov2Config(**sizes, num_hidden_layers=12, patch_size=14, image_size=518)
    )


NETWORKS = {
    "sd_vae": autoencoder,
    "sd21_unet": lambda: unet(**SD21),
    "sd15_unet": lambda: unet(**SD15),
    "zero123_unet": lambda: unet(**SD15, in_channels=8),
    "controlnet_sd15": control,
    "text2video_unet3d": video,
    "sd21_text_encoder": lambda: text(1024, 16, 23),
    "sd15_text_encoder": lambda: text(768, 12, 12),
    "clip_vit_l14": lambda: clip(14, (1024, 16, 24), (768, 12, 12)),
    "clip_vit_b32": lambda: clip(32, (768, 12, 12), (512, 8, 12)),
    "openclip_vit_h14_vision": openclip,
    "dinov2_small": lambda: dino(384, 6),
    "dinov2_base": lambda: dino(768, 12),
}
MVDREAM = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": 2,
    "attention_resolutions": [4, 2, 1],
    "channel_mult": [1, 2, 4, 4],
    "num_head_channels": 64,
    "transformer_depth": 1,
    "context_dim": 1024,
    "camera_dim": 16,
}
# What transformers calls these layers in memory, and what the published files do.
PUBLISHED = {
    "attention.q_proj": "attention.attention.query",
    "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value",
    "attention.o_proj": "attention.output.dense",
}


def shapes(name, network):
    """Published name and shape of every tensor."""
    found = {}
    for key, value in network.state_dict().items():
        if name.startswith("dinov2"):
            for ours, theirs in PUBLISHED.items():
                key = key.replace(ours, theirs)
        if name.endswith("text_encoder") and not key.startswith("text_model."):
            key = f"text_model.{key}"
        if not key.endswith("position_ids"):
            found[key] = list(value.shape)
    return found


def networks(checkout):
    """Name and manifest of every network whose class is at hand."""
    builders = dict(NETWORKS)
    if checkout:
        builders["mvdream_unet"] = lambda: multi_view(checkout, MVDREAM)
        picture = {**MVDREAM, "ip_dim": 16, "ip_weight": 1.0}
        builders["imagedream_unet"] = lambda: multi_view(checkout, picture)
    for name, build in builders.items():
        with torch.device("meta"):
            yield name, shapes(name, build())


def main():
    """Compare with the stored manifests, or write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", choices=("check", "make"))
    parser.add_argument("--folder", type=Path, default=Path("manifests"))
    parser.add_argument("--mvdream", type=Path)
    options = parser.parse_args()
    differing = []
    for name, found in networks(options.mvdream):
        path = GOLDEN / f"{name}.json"
        if options.job == "make":
            options.folder.mkdir(parents=True, exist_ok=True)
            path = options.folder / path.name
            path.write_text(json.dumps(found, indent=0))
        elif found != json.loads(path.read_text()):
            differing.append(name)
        count = sum(torch.Size(shape).numel() for shape in found.values())
        print(f"{name:24s} {len(found):5d} tensors {count:14,d} parameters")
    if differing:
        raise SystemExit(f"manifests must be those of torch, got {differing}")


if __name__ == "__main__":
    main()
