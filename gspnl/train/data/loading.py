"""A data set by its name."""

from __future__ import annotations

import inspect
from os import PathLike
from pathlib import Path
from typing import Any

from gspnl.errors import InputError
from gspnl.train.data.base import DATASETS, Data

OWN = ("skip_bad",)  # of every data set, and no option


def load(
    name: str, path: str | PathLike[str] | None = None, *, skip_bad: bool = False, **options: Any
) -> Data:
    """Open a data set.

    Parameters
    ----------
    name : str
        A name of :data:`DATASETS`: ``"cifar10"``, ``"cifar100"`` and ``"cifar100_coarse"`` as
        published, ``"folder"`` for images in folders of their classes or a zip of these,
        ``"digits"`` of scikit-learn, ``"cub200"``, ``"ucf101"``.
    path : path, optional
        Where its files are; ``"digits"`` has none.
    skip_bad : bool
        Leave damaged samples out and list them in ``Data.skipped``, which are errors else.
    **options
        Of the data set, such as ``split=2`` of :func:`ucf101`.

    Returns
    -------
    Data

    Raises
    ------
    InputError
        For an unknown name or option, or a path that is missing or not asked for.
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
    # The first is the path, by whatever name.
    known = [option for option in [*inspect.signature(opener).parameters][1:] if option not in OWN]
    for option in options:
        if option not in known:
            raise InputError(
                f"the data set {name!r} has no option {option!r}; it takes "
                f"{', '.join(known) or 'none'}"
            )
    if path is None:
        return opener(None, skip_bad=skip_bad, **options)
    if not isinstance(path, (str, PathLike)):
        raise InputError(f"path={path!r} is no path; give a text or a pathlib.Path")
    return opener(Path(path), skip_bad=skip_bad, **options)
