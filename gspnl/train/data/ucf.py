"""UCF-101: videos of actions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.train.data.listing import check_files, class_names, folder, inside, label, lines
from gspnl.train.data.names import composed
from gspnl.train.data.registry import DATASETS, Data, DataError, data_errors
from gspnl.train.data.video import Clips

# Of Kinetics-400, which published weights are trained on; torchvision's numbers.
MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)


@DATASETS.register("ucf101")
def ucf101(
    path: Path | str | None,
    *,
    skip_bad: bool = False,
    split: int = 1,
    frames: int = 16,
    stride: int = 2,
    clips: int = 1,
) -> Data:
    """Open UCF-101 [1]_ as published: 13,320 videos of 101 actions, in one of its three splits.

    A training sample is a clip whose start is drawn anew for each sample and epoch
    (:func:`gspnl.train.data.video.read_clip`); a test sample is the clip in the middle, or
    ``clips`` of them. A video that is shorter than a clip is repeated.

    Parameters
    ----------
    path : path
        A folder with ``ucfTrainTestlist`` (the lists) and ``UCF-101`` (the videos), or with the
        videos beside the lists' folder. Videos lie in folders of their classes, or all together.
    skip_bad : bool
        Leave out videos that are missing, and list them in ``skipped``; those that do not decode
        are found when they are read. Faults of the lists are always errors.
    split : 1, 2 or 3
        Number of the lists, ``trainlist0{split}.txt`` and ``testlist0{split}.txt``.
    frames, stride : int
        T of a clip and the step between its frames, ≥ 1.
    clips : int
        ≥ 1, for testing: clips of each video, evenly spread. A test sample holds them one after
        the other; ``test.views`` says how many, and the probabilities of a network are averaged.

    Returns
    -------
    Data
        A sample is uint8 of shape (3, T, H, W), for testing (3, clips · T, H, W). ``mean`` and
        ``std`` are those of Kinetics-400.

    Raises
    ------
    DataError
        If a file is missing, or the lists contradict themselves or each other, with the place; on
        reading, if a video does not decode.

    References
    ----------
    .. [1] K. Soomro, A. R. Zamir, M. Shah, UCF101: a dataset of 101 human actions classes from
       videos in the wild, CRCV-TR-12-01, University of Central Florida, 2012.
    """
    if type(split) is not int or split not in (1, 2, 3):
        raise InputError(f"split={split!r} must be 1, 2 or 3")
    for option, value in (("frames", frames), ("stride", stride), ("clips", clips)):
        whole_number(option, value, 1)
    lists = folder(path, "ucf101", "ucfTrainTestlist", "classInd.txt")
    classes = class_names(lists / "classInd.txt")
    train = _labels_by_video(lists / f"trainlist0{split}.txt", classes)
    test = _labels_by_video(lists / f"testlist0{split}.txt", classes)
    both = sorted(train.keys() & test.keys())
    if both:
        raise DataError(f"{both[0]!r} is in trainlist0{split}.txt and in testlist0{split}.txt")
    root = lists.parent if lists.samefile(str(path)) else Path(str(path))
    videos = root / "UCF-101" if (root / "UCF-101").is_dir() else root
    found = _files(videos, [*train, *test])
    splits = []
    for labels, draws, views in ((train, 1, 1), (test, 0, clips)):
        present = [name for name in labels if name in found]
        files = tuple(found[name] for name in present)
        classes_of = np.array([labels[name] for name in present], np.int64)
        splits.append(Clips(files, classes_of, frames, stride, draws, views))
    absent = [name for name in [*train, *test] if name not in found]
    counts = len(splits[0].files), len(splits[1].files)
    skipped = check_files(f"video of split {split}", videos, absent, *counts, skip_bad)
    return Data("ucf101", classes, splits[0], splits[1], MEAN, STD, skipped)


def _labels_by_video(path: Path, classes: tuple[str, ...]) -> dict[str, int]:
    """Videos and their classes, counted from 0, of a list with or without the classes' numbers."""
    # The published files write HandstandPushups and HandStandPushups of one class.
    names = {name.casefold(): name for name in classes}
    found: dict[str, int] = {}
    for place, line in lines(path):
        name, _, number = line.partition(" ")
        name = inside(name, place)
        kind = name.rpartition("/")[0] or "_".join(name.split("_")[1:-2])
        if kind.casefold() not in names:
            raise DataError(f"{place} has the class {kind!r}, which classInd.txt has not")
        if name in found:
            raise DataError(f"{place} has {name!r} for the second time")
        kind = names[kind.casefold()]
        own = classes.index(kind)
        found[name] = label(number.strip(), place, classes, kind) if number else own
    return found


def _files(videos: Path, listed: list[str]) -> dict[str, Path]:
    """The files of listed videos that exist: where the list says, or in any one folder."""
    files: dict[str, list[Path]] = {}
    with data_errors(f"{str(videos)!r} cannot be listed", "let it be read"):
        for entry in sorted(videos.iterdir()):
            for file in sorted(entry.iterdir()) if entry.is_dir() else (entry,):
                files.setdefault(composed(file.name).casefold(), []).append(file)
    found = {}
    for name in listed:
        places = files.get(name.rpartition("/")[2].casefold(), [])
        if videos / name in places:
            found[name] = videos / name
        elif len(places) == 1:
            found[name] = places[0]
        elif places:
            raise DataError(
                f"{name!r} is not where the list says, but in {len(places)} other folders"
            )
    return found
