"""Pictures as an H.264 video that every browser plays."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from adreamer_jax.run.files import replacing
from adreamer_jax.types import Int

__all__ = ["read_video", "write_video"]


def write_video(
    frames: Int[np.ndarray, "t h w 3"], path: Path, fps: float, *, quality: int = 18
) -> Path:
    """The path of an mp4 of uint8 pictures; ``quality`` is x264's crf, lower is finer.

    Players want pixels in 2 x 2 blocks (yuv420p): odd sides repeat their last line.
    """
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(
            f"frames must be uint8 [t, h, w, 3], got {frames.dtype} {frames.shape}; "
            "scale colors to 0..255 and convert"
        )
    _, height, width, _ = frames.shape
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), "edge")
    with replacing(path) as part:
        # the index in front lets a browser start before it has read the whole file
        with av.open(
            f"file:{part}", "w", options={"movflags": "faststart"}
        ) as container:
            rate = Fraction(float(fps)).limit_denominator(1001)
            stream = container.add_stream("libx264", rate=rate)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "yuv420p"
            # the same bytes every time: one thread, and no weighing of blocks by their
            # later use, which reads memory that nobody wrote
            stream.options = {"crf": str(quality), "preset": "medium", "threads": "1"}
            stream.options |= {"x264-params": "mbtree=0"}
            for picture in frames:
                frame = av.VideoFrame.from_ndarray(
                    np.ascontiguousarray(picture), "rgb24"
                )
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return Path(path)


def read_video(path: Path) -> Int[np.ndarray, "t h w 3"]:
    """All pictures of a video as uint8."""
    with av.open(f"file:{path}") as container:
        return np.stack(
            [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        )
