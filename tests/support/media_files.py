"""Write CUB-200-2011 and UCF-101 in miniature; each picture encodes its number."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

BIRDS = ("001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross")
ACTIONS = ("ApplyEyeMakeup", "Archery", "HandstandPushups")


def jpeg(colour: int, size: tuple[int, int] = (12, 9)) -> bytes:
    """A grey photo, (width, height)."""
    file = io.BytesIO()
    Image.new("RGB", size, (colour, colour, colour)).save(file, "JPEG", quality=95)
    return file.getvalue()


def write_cub(root: Path) -> Path:
    """Three classes of two training photos and one test photo; photo i is of grey 20 i."""
    folder = root / "CUB_200_2011"
    names, labels, split = [], [], []
    for number in range(1, 10):
        kind = (number - 1) // 3
        name = f"{BIRDS[kind]}/{BIRDS[kind][4:]}_{number:04d}_{796000 + number}.jpg"
        names.append(f"{number} {name}")
        labels.append(f"{number} {kind + 1}")
        split.append(f"{number} {int(number % 3 > 0)}")
        file = folder / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg(20 * number, (10 + number, 9)))
    listings = {
        "images.txt": names,
        "image_class_labels.txt": labels,
        "train_test_split.txt": split,
        "classes.txt": [f"{number} {name}" for number, name in enumerate(BIRDS, 1)],
    }
    for name, rows in listings.items():
        (folder / name).write_text("\n".join(rows) + "\n")
    return folder


def change(path: Path, old: str, new: str) -> None:
    """Replace a text in a list."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def picture(number: int) -> np.ndarray:
    """A frame that encodes its number < 256: eight squares, white for the bits that are set."""
    bits = (number >> np.arange(8)) & 1
    squares = bits.reshape(2, 4).repeat(16, axis=0).repeat(16, axis=1)
    return np.repeat((squares * 255).astype(np.uint8)[:, :, None], 3, axis=2)


def numbers(clip: np.ndarray) -> list[int]:
    """The numbers that the frames (T, 32, 64, 3) of a clip encode."""
    squares = clip.mean(axis=3).reshape(len(clip), 2, 16, 4, 16).mean(axis=(2, 4)) > 128
    return [int((frame.ravel() << np.arange(8)).sum()) for frame in squares]


def video(
    frames: int,
    *,
    codec: str = "mpeg4",
    container: str = "avi",
    gop: int = 12,
    b_frames: int = 0,
    shape: tuple[int, int] = (32, 64),
) -> bytes:
    """An encoded video whose frame i is ``picture(i)``."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=25)
        stream.height, stream.width = shape
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.thread_count = 1
        for number in range(frames):
            pixels = np.ascontiguousarray(picture(number)[: shape[0], : shape[1]])
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode())
    return file.getvalue()


def write_ucf(root: Path, *, flat: bool = False) -> Path:
    """Three classes of two training videos and a test video; split 2 has another test video.

    Videos of class k have 20 + k frames. One class is spelled in two ways, as published.
    """
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    rows = {name: [] for name in ("train1", "test1", "train2", "test2")}
    for label, name in enumerate(ACTIONS, 1):
        content = video(20 + label)
        for group in (1, 2, 3):
            file = f"v_{name.replace('sP', 'SP').replace('dstand', 'dStand')}_g{group:02d}_c01.avi"
            place = root / "UCF-101" / ("" if flat else name) / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            for split, held in ((1, 1), (2, 3)):
                if group == held:
                    rows[f"test{split}"].append(f"{name}/{file}")
                else:
                    rows[f"train{split}"].append(f"{name}/{file} {label}")
    for split in (1, 2):
        (lists / f"trainlist0{split}.txt").write_text("\r\n".join(rows[f"train{split}"]) + "\r\n")
        (lists / f"testlist0{split}.txt").write_text("\n".join(rows[f"test{split}"]) + "\n")
    classes = "".join(f"{number} {name}\r\n" for number, name in enumerate(ACTIONS, 1))
    (lists / "classInd.txt").write_text(classes)
    return root
