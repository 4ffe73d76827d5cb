"""Where the data of a protocol lie under the folder that ``--data`` names."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from gspnl.errors import FileError, InputError
from gspnl.train.recipes import Recipe

PUBLISHED: dict[str, tuple[str, ...]] = {
    "cifar10": (
        "cifar-10-batches-bin", "cifar-10-batches-py",
        "cifar-10-binary.tar.gz", "cifar-10-python.tar.gz",
    ),
    "cifar100": (
        "cifar-100-binary", "cifar-100-python",
        "cifar-100-binary.tar.gz", "cifar-100-python.tar.gz",
    ),
    "cub200": ("CUB_200_2011",),
    "ucf101": ("UCF-101", "ucfTrainTestlist"),
}  # fmt: skip
"""Folders and archives as the data sets are published, in the folder that is given."""

BESIDE = {"ucf101"}  # videos and lists are two folders, so what is opened is the one they lie in


def source(recipe: Recipe, data: Path) -> Path:
    """What ``train`` is to open for a recipe.

    Raises
    ------
    FileError
        If the data are not there; the message says where they were expected.
    """
    names = PUBLISHED.get(recipe.data)
    if names is None:
        return data
    for folder in (data, *(data / name for name in names)):
        if folder.name in names and folder.exists():
            return folder.parent if recipe.data in BESIDE else folder
    wanted = " or ".join(map(repr, names))
    if not data.is_dir():
        raise FileError(
            f"{str(data)!r} is not the folder that holds {wanted}, which {recipe.data!r} is read "
            "from; name it, or for class folders of your own pass --protocol mini"
        )
    raise FileError(
        f"{str(data)!r} holds no data for {recipe.data!r}; put {wanted}, as published, into it"
    )


def weights(recipe: Recipe, data: Path) -> Path | None:
    """Where the pretrained weights of a recipe are, None if it starts from none.

    Raises
    ------
    FileError
        If the file is not there.
    """
    if recipe.pretrained is None:
        return None
    path = data / recipe.pretrained
    if not path.is_file():
        raise FileError(
            f"{str(path)!r} is missing: {recipe.backbone} starts from pretrained weights; put "
            "their state dict there"
        )
    return path


def checked(data: str | PathLike[str] | None, recipes: Iterable[Recipe]) -> Path:
    """The given path, or what is needed where none is given.

    Raises
    ------
    InputError
        Without data; the message names every data set and its folder.
    FileError
        If there is no such path.
    """
    needed = list(recipes)
    if data is None:
        raise InputError(f"no data given; pass --data, {asked(needed)}")
    path = Path(data)
    if not path.exists():
        raise FileError(f"--data {str(data)!r} does not exist; name {asked(needed)}")
    return path


def asked(recipes: Iterable[Recipe]) -> str:
    """What has to be given, in words."""
    wanted: dict[str, None] = {}
    for recipe in recipes:
        names = PUBLISHED.get(recipe.data)
        if names is None:
            return "a folder or zip with train/CLASS/ and test/CLASS/ of images"
        both = " and ".join(names) if recipe.data in BESIDE else names[0]
        wanted[f"{both} ({recipe.data})"] = None
        if recipe.pretrained is not None:
            wanted[f"{recipe.pretrained} (weights for {recipe.backbone})"] = None
    return f"a folder that holds {', '.join(wanted)}"
