"""Decode clips of video files."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gspnl.errors import InputError, MissingExtraError
from gspnl.train.data.archives import read_file
from gspnl.train.data.frames import show, square_width
from gspnl.train.data.registry import DataError

# Offset and magic bytes of a container, and its demuxer. FFmpeg must not guess: it would also open
# play lists, which name other files and addresses.
FORMATS = ((0, b"RIFF", "avi"), (4, b"ftyp", "mp4"), (0, b"\x1a\x45\xdf\xa3", "matroska"))
LARGEST = 2**30  # bytes of a file, and of one clip
REORDERED = 5  # frames that the last may be stored ahead of its time
ALLOWANCE = 20  # of so many frames, one may be a placeholder that gives no picture


def read_clip(content: bytes, name: str, *, frames: int, stride: int, place: float) -> np.ndarray:
    r"""Decode frames s, s + stride, … of a video.

    Of n frames, a clip spans :math:`(\text{frames} - 1) \cdot \text{stride} + 1`, which leaves
    S starts, at least 1, and :math:`s = \lfloor \text{place} \cdot S \rfloor`. A video shorter than
    that span is repeated from its beginning until the clip is full.

    Frames are decoded from the first on, in one thread, and counted in the order of presentation,
    so the choice does not depend on B-frames and key frames. Nothing after the clip is decoded.
    Time stamps play no part: in a video of variable frame rate, steps are of frames, not of time.

    Frames are shown as the file says: resized to square pixels, turned by its display matrix, with
    transparent parts on white.

    Parameters
    ----------
    content : bytes
        The whole file: AVI, MP4 or Matroska.
    name : str
        For errors.
    frames, stride : int
        T and the step between frames, ≥ 1.
    place : float
        In [0, 1): 0 begins with the first frame; 0.5 lies in the middle.

    Returns
    -------
    array of shape (T, H, W, 3), uint8
        RGB.

    Raises
    ------
    DataError
        If the file is no video, is shorter than its header says, has no frame, or a frame up to the
        end of the clip is damaged.
    MissingExtraError
        Without PyAV.

    Examples
    --------
    >>> read_clip(b"no video", "v_Knitting_g01_c01.avi", frames=16, stride=2, place=0.5)
    Traceback (most recent call last):
    ...
    gspnl.train.data.registry.DataError: 'v_Knitting_g01_c01.avi' is no AVI, MP4 or Matroska video
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtraError(
            "decoding a video needs PyAV, which is not installed: pip install 'gspnl[video]'"
        ) from error
    kind = next((kind for at, mark, kind in FORMATS if content.startswith(mark, at)), None)
    if kind is None:
        raise DataError(f"{name!r} is no AVI, MP4 or Matroska video")
    size = int.from_bytes(content[4:8], "little")
    if kind == "avi" and len(content) < size:
        cut = "it was cut short: unpack or copy it again"
        raise DataError(f"{name!r} has {len(content)} bytes of {size + 8}; {cut}")
    span = (frames - 1) * stride + 1
    try:
        with _opened(content, kind, name) as (file, stream):
            promised = total = _promised(file, stream, name)
        for _ in range(2):  # the second time, of those that decode: few files have placeholders
            start = int(place * max(1, total - span + 1))
            wanted = [(start + stride * t) % total for t in range(frames)]
            with _opened(content, kind, name) as (file, stream):
                total, pictures = _decode(file.decode(stream), stream, wanted, name)
            if len(pictures) == len({*wanted}):
                return np.stack([pictures[index] for index in wanted])
            if total < promised - max(1, promised // ALLOWANCE):
                raise DataError(f"{name!r} has {promised} frames, but {total} of them decode")
    except (av.error.FFmpegError, ValueError, ArithmeticError) as error:
        raise DataError(f"{name!r} does not decode: {error}") from error
    raise DataError(f"{name!r} does not decode the same twice")


@contextmanager
def _opened(content: bytes, kind: str, name: str) -> Iterator[tuple[Any, Any]]:
    """A file and its first stream of pictures, decoded in one thread, so that runs are equal."""
    import av

    with av.open(io.BytesIO(content), format=kind) as file:
        if not file.streams.video:
            raise DataError(f"{name!r} has no pictures")
        stream = file.streams.video[0]
        stream.codec_context.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        yield file, stream


def _promised(file: Any, stream: Any, name: str) -> int:
    """Count the frames in a file without decoding them."""
    packets = [packet for packet in file.demux(stream) if packet.size]
    if not packets:
        raise DataError(f"{name!r} has no frames")
    if stream.duration and stream.frames:
        # Time, not the count: an AVI may leave out frames that repeat the one before.
        end = max((packet.dts for packet in packets if packet.dts is not None), default=0)
        absent = (1 - end / stream.duration) * stream.frames
        if absent > max(REORDERED, stream.frames // ALLOWANCE):
            raise DataError(
                f"{name!r} ends after {end / stream.duration:.0%} of the length in its header; "
                "unpack or copy it again"
            )
    return len(packets)


def _decode(
    frames: Iterable[Any], stream: Any, wanted: list[int], name: str
) -> tuple[int, dict[int, np.ndarray]]:
    """The number of decoded frames, and the wanted ones of them by their indices."""
    last, needed = max(wanted), {*wanted}
    pictures: dict[int, np.ndarray] = {}
    count = 0
    for index, frame in enumerate(frames):
        count = index + 1
        if frame.is_corrupt:  # later ones are made from it
            raise DataError(f"{name!r} is damaged at frame {index}")
        if index in needed:
            aspect = stream.sample_aspect_ratio
            width = square_width(frame.width, aspect)
            if 3 * width * frame.height * len(wanted) > LARGEST:
                raise DataError(
                    f"{name!r} has frames of {width} × {frame.height}; a clip of "
                    f"{len(wanted)} would take more than 1 GiB"
                )
            pictures[index] = show(frame, aspect, name)
        if index == last:
            break
    if count == 0:
        raise DataError(f"{name!r} has no frame that decodes")
    return count, pictures


@dataclass(frozen=True, eq=False)
class Clips:
    """A split of clips of video files, decoded when they are read.

    A sample has ``views`` clips in as many equal parts of the video, one after the other along T.
    With ``draws`` 1 a uniform places them in their parts; with 0 they are in the middle.
    """

    files: tuple[Path, ...] = field(repr=False)
    labels: np.ndarray = field(repr=False)
    frames: int
    stride: int
    draws: int = 0
    views: int = 1

    def name(self, index: int) -> str:
        return str(self.files[index])

    def read(self, index: int, u: np.ndarray | None = None) -> Tensor:
        """Read one video's clips, uint8 of shape (3, views · T, H, W)."""
        drawn = np.full(self.draws, 0.5) if u is None else np.asarray(u)
        if drawn.shape != (self.draws,) or not ((drawn >= 0) & (drawn < 1)).all():
            raise InputError(f"u={u!r} must be {self.draws} number(s) in [0, 1)")
        part = float(drawn[0]) if self.draws else 0.5
        name, content = self.name(index), read_file(self.files[index], LARGEST)
        places = [(view + part) / self.views for view in range(self.views)]
        read = partial(read_clip, content, name, frames=self.frames, stride=self.stride)
        clips = [read(place=place) for place in places]
        return torch.from_numpy(np.ascontiguousarray(np.concatenate(clips).transpose(3, 0, 1, 2)))

    def take(self, indices: np.ndarray) -> None:
        return None
