"""Preparation: a film becomes a clip folder that the other recipes read.

    python main.py --config=configs/prepare.py \
        --config.prepare.source=film.mp4 --config.data.clip=my_clip

The source is a video, a folder of pictures, or the pictures of a sequence that Lab4D
has processed (processed/JPEGImages/Full-Resolution/<sequence>). It is only read, and a
clip that is already there is never written over. Sizes: default, paper (more pixels)
and smoke (few).
"""

from ml_collections import ConfigDict


def get_config(size: str = "default") -> ConfigDict:
    """The recipe at a size."""
    longest = {"default": 256, "paper": 512, "smoke": 64}
    if size not in longest:
        raise ValueError(
            f"the size after the colon must be one of {', '.join(longest)}, got {size}"
            "; write --config=configs/prepare.py for the default"
        )
    config = ConfigDict()
    config.job = "prepare"  # what main.py does with this recipe
    config.data = ConfigDict(dict(clip=""))  # the new clip folder
    config.prepare = ConfigDict(
        dict(
            source="",  # the film
            masks="",  # a folder with a mask a frame, or one mask of the first frame
            box=(),  # without masks: left, top, right, bottom in the film's pixels
            prompt="",  # what is to be seen, in a few words
            longest=longest[size],  # side of the clip's pictures, in pixels
            most=120,  # frames
            fps=0.0,  # 0: the film's own rate, at most 30
            start=0.0,  # seconds
            stop=0.0,  # seconds; 0: the end
            intrinsics=(),  # fx, fy, cx, cy in the film's pixels, where they are known
        )
    )
    return config
