"""Read features from a file of one array, or from a photo."""

from __future__ import annotations

import tokenize
from pathlib import Path

import numpy as np

from gspnl._base.files import readable, refuse_endless
from gspnl.errors import FileError, InputError, SizeError
from gspnl.signals import images
from gspnl.theory.subject import Subject

MAGIC = b"\x93NUMPY"
MOST_PIXELS = 400_000  # as in `gspnl report`
# Errors that NumPy raises on damaged files.
DAMAGE = (
    ValueError, EOFError, OSError, SyntaxError, TypeError, LookupError, ArithmeticError,
    RecursionError, MemoryError, tokenize.TokenError,
)  # fmt: skip
LONGEST = 200  # characters of NumPy's reason, which may quote the header


def read_subject(path: str | None, seed: int = 0) -> Subject:
    """Read features from a .npy file, or from the pixels of a photo.

    Parameters
    ----------
    path : str or None
        A ``.npy`` file of shape (N, C), or a photo; "" for the photo that matplotlib ships; None
        for random features.
    seed : int

    Returns
    -------
    Subject

    Raises
    ------
    FileError
        If the file is missing, damaged, or holds Python objects.
    InputError
        If the array is not of shape (N, C) with N ≥ 2 and finite numbers.
    """
    if path is None:
        return Subject.random(seed)
    file = images.default_photo() if path == "" else Path(path)
    refuse_endless(file)
    name = file.name.encode("utf-8", "replace").decode()
    if file.suffix == ".npy" or _starts_as_array(file):
        return Subject.of(_read_array(file), seed, name)
    if file.suffix == ".npz":
        raise FileError(
            f"{str(file)!r} is for several arrays; save the features alone, np.save('X.npy', X)"
        )
    photo = images.load_photo(file, max_pixels=MOST_PIXELS)
    return Subject.of(images.photo_features(photo), seed, name)


def _starts_as_array(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:  # np.load raises it again, with a fix in the message
        return False


def _read_array(file: Path) -> np.ndarray:
    """Read an array of real numbers, in float64."""
    name = repr(str(file))
    try:
        with readable(name, "a .npy file"), np.errstate(over="raise"):  # of the shape
            if not _starts_as_array(file) and file.is_file():
                raise ValueError("it does not begin as a .npy file")
            # Mapped: the shape in the header takes no memory before the file's size confirms it.
            array = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileError:
        raise
    except DAMAGE as error:
        if "Python objects" in str(error):
            raise FileError(
                f"{name} holds Python objects, which are not loaded since they can run code; save "
                "an array of numbers, np.save(file, X.astype(float))"
            ) from None
        reason = str(error).partition("\n")[0][:LONGEST] or "its header is nested too deeply"
        if "mmap length" in reason:
            reason = "its header says more numbers than it has"
        raise FileError(
            f"{name} is damaged or no .npy file: {reason}; save it again with np.save(file, X)"
        ) from None
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{name} holds {array.dtype}; save real numbers, np.save(file, X.astype(float))"
        )
    try:
        with np.errstate(over="ignore"):  # a long double may overflow to inf: Subject.of refuses it
            return np.array(array, dtype=np.float64)
    except MemoryError:
        raise SizeError(f"{name} does not fit in memory as {array.shape} of float64") from None
