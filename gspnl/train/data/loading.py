"""A data set by its name."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from gspnl.errors import InputError
from gspnl.train.data.base import DATASETS, Data


def load(name: str, path: str | PathLike[str] | None = None, *, skip_bad: bool = False) -> Data:
    """Open a data set.

    Parameters
    ----------
    name : str
        A name of :data:`DATASETS`: ``"cifar10"``, ``"cifar100"`` and ``"cifar100_coarse"`` as
        published, ``"folder"`` for images in folders of their classes or a zip of these,
        ``"digits"`` of scikit-learn.
    path : path, optional
        Where its files are; ``"digits"`` has none.
    skip_bad : bool
        Leave damaged samples out and list them in ``Data.skipped``, which are errors else.

    Returns
    -------
    Data

    Raises
    ------
    InputError
        For an unknown name, or a path that is missing or not asked for.
    DataError
        If a file is missing or damaged; the message names it.

    Examples
    --------
    >>> data = load("digits")
    >>> data.classes[:3], data.train.read(0).shape
    (('0', '1', '2'), torch.Size([1, 8, 8]))
    """
    if not isinstance(skip_bad, bool):
        raise InputError(f"skip_bad={skip_bad!r} must be True or False")
    opener = DATASETS[name]
    if path is None:
        return opener(None, skip_bad=skip_bad)
    if not isinstance(path, (str, PathLike)):
        raise InputError(f"path={path!r} is no path; give a text or a pathlib.Path")
    return opener(Path(path), skip_bad=skip_bad)
