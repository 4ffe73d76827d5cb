"""Write tiny data sets in the published formats, byte by byte."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
from PIL import Image

NAMES10 = [f"class{i}" for i in range(10)]


def python2_string(content: bytes) -> bytes:
    """Pickle a str as Python 2 does at protocol 2."""
    if len(content) < 256:
        return b"U" + bytes([len(content)]) + content
    return b"T" + struct.pack("<i", len(content)) + content


def python2_integers(values) -> bytes:
    """Pickle a list of int, in runs of 1,000 as cPickle does."""
    values, out = list(values), b"]"
    for start in range(0, len(values), 1000):
        run = b"".join(
            b"K" + bytes([v]) if v < 256 else b"M" + struct.pack("<H", v)
            for v in values[start : start + 1000]
        )
        out += b"(" + run + b"e"
    return out


def python2_strings(values) -> bytes:
    return b"](" + b"".join(python2_string(v) for v in values) + b"e"


def python2_array(pixels: np.ndarray) -> bytes:
    """Pickle a uint8 array; its numbers in the memo begin at 100, apart from others."""
    rows, columns = (b"M" + struct.pack("<H", size) for size in pixels.shape)
    return (
        b"cnumpy.core.multiarray\n_reconstruct\nqdcnumpy\nndarray\nqeK\x00\x85U\x01bqf\x87Rqg"
        b"(K\x01" + rows + columns + b"\x86cnumpy\ndtype\nqhU\x02u1qiK\x00K\x01\x87Rqj"
        b"(K\x03U\x01|qkNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + python2_string(pixels.tobytes())
        + b"tb"
    )


def python2_dict(items: dict[str, bytes]) -> bytes:
    """Make a whole pickle of a dict from pickled values."""
    inside = b"".join(
        python2_string(key.encode()) + b"q" + bytes([number + 2]) + value
        for number, (key, value) in enumerate(items.items())
    )
    return b"\x80\x02}q\x01(" + inside + b"u."


def cifar10(seed: int = 0, records: int = 4):
    """Labels (6, records) and pixels (6, records, 3072) of five training files and a test file."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, (6, records), dtype=np.uint8)
    return labels, rng.integers(0, 256, (6, records, 3072), dtype=np.uint8)


def write_binary10(folder, labels, pixels):
    folder.mkdir(parents=True, exist_ok=True)
    files = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    for file, some, images in zip(files, labels, pixels, strict=True):
        rows = b"".join(bytes([k]) + image.tobytes() for k, image in zip(some, images, strict=True))
        (folder / file).write_bytes(rows)
    (folder / "batches.meta.txt").write_text("\n".join(NAMES10) + "\n\n")


def write_python10(folder, labels, pixels):
    folder.mkdir(parents=True, exist_ok=True)
    files = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for file, some, images in zip(files, labels, pixels, strict=True):
        content = python2_dict(
            {
                "batch_label": python2_string(b"training batch"),
                "labels": python2_integers(int(k) for k in some),
                "data": python2_array(images),
                "filenames": python2_strings(b"%d.png" % i for i in range(len(some))),
            }
        )
        (folder / file).write_bytes(content)
    meta = python2_dict(
        {
            "num_cases_per_batch": b"M" + struct.pack("<H", 10_000),
            "label_names": python2_strings(name.encode() for name in NAMES10),
            "num_vis": b"M" + struct.pack("<H", 3072),
        }
    )
    (folder / "batches.meta").write_bytes(meta)


def png(pixels: np.ndarray, kind: str = "PNG", mode: str | None = None) -> bytes:
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind)
    return buffer.getvalue()


def pictures(classes=("cat", "dog"), each: int = 3, size=(8, 8), seed: int = 0):
    """Contents of image files by name, in train/ and test/, and their pixels (H, W, 3)."""
    rng = np.random.default_rng(seed)
    files, truth = {}, {}
    for split in ("train", "test"):
        for name in classes:
            for i in range(each):
                pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
                files[f"{split}/{name}/{i}.png"] = png(pixels)
                truth[f"{split}/{name}/{i}.png"] = pixels
    return files, truth


def write_folder(root, files):
    for name, content in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return root


def write_zip(path, files, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path
