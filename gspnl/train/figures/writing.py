"""All figures of one network or several, as PNG files and numbers in a folder."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import nn

from gspnl._base.files import replace
from gspnl.errors import FileError, InputError
from gspnl.plotting import top_eigenvalues
from gspnl.plotting._axes import COLOURS, new_axes, new_figure
from gspnl.train.figures.added import feature_maps
from gspnl.train.figures.channels import ChannelWeights, channel_weights
from gspnl.train.figures.opening import opened
from gspnl.train.figures.overlaid import draw_feature_maps
from gspnl.train.figures.passing import blocks_of, check_images, check_item
from gspnl.train.figures.powers import PowerHistograms, power_histograms
from gspnl.train.figures.ranges import attention_ranges
from gspnl.train.figures.reached import draw_attention_ranges

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
Network = nn.Module | str | PathLike[str]


def write_figures(
    networks: Network | Mapping[str, Network],
    images: Any,
    out: str | PathLike[str],
    *,
    image: int = 0,
    position: Any = None,
    pictures: Any = None,
    nodes: int = 1024,
    seed: int = 0,
    say: Callable[[str], object] = lambda line: None,
) -> dict[str, Any]:
    """Write figures 1, 2, 4 and 5 of the paper, of one trained network or several side by side.

    Parameters
    ----------
    networks : Module, path, or mapping from name to one of these
        A network with blocks, or a run folder or checkpoint of ``gspnl train``.
    images : tensor of shape (B, C, ``*spatial``)
        As the networks take them.
    out : path
        A folder; made if it is not there. Files of an earlier call are replaced.
    image, position, pictures, nodes, seed
        As in :func:`attention_ranges` and :func:`power_histograms`.
    say : callable
        Told what is being made.

    Returns
    -------
    dict
        The numbers that are in ``figures.json``: "files", "image", and for each network under
        "networks" lists "range", "powers", "maps" and "weights", an entry a block, unit or map.

    Raises
    ------
    InputError
        For a network without blocks, images that it cannot run, and as the functions do.
    FileError
        Where a network cannot be read, or the folder not be written.

    Examples
    --------
    >>> import tempfile, torch
    >>> from gspnl import nn as gnn
    >>> from gspnl.train import figures
    >>> block, images = gnn.create("snl", 4, zero_init=False), torch.randn(2, 4, 6, 6)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     numbers = figures.write_figures({"SNL": block}, images, folder)
    >>> numbers["files"]
    ['figure1.png', 'figure2.png', 'figure4.png', 'figure4_mean.png', 'figure5.png']
    """
    given = networks if isinstance(networks, Mapping) else {"": networks}
    if not given:
        raise InputError("there are no networks; pass one, or a mapping from names to networks")
    check_images(images)
    check_item(image, len(images))
    models = {
        name: each if isinstance(each, nn.Module) else opened(each)[1]
        for name, each in given.items()
    }
    for name, model in models.items():
        blocks_of(model, name)  # before a folder is made
    folder = folder_for(out)
    ranges, powers, maps, weights = {}, {}, {}, {}
    for name, model in models.items():
        say(f"reading the blocks{' of ' if name else ''}{name}")
        ranges[name] = attention_ranges(
            model, images, image=image, position=position, pictures=pictures
        )
        powers[name] = power_histograms(model, images, image=image, nodes=nodes, seed=seed)
        maps[name] = feature_maps(model, images, pictures=pictures)
        weights[name] = channel_weights(model, prefix=f"{name}: " if name else "")
    drawn: dict[str, Callable[[], Axes]] = {
        "figure1.png": lambda: draw_attention_ranges(ranges),
        "figure2.png": lambda: _histograms(powers),
        "figure4.png": lambda: draw_feature_maps(maps),
        "figure4_mean.png": lambda: draw_feature_maps(maps, "mean"),
        "figure5.png": lambda: _eigenvalues(weights),
    }
    say("drawing")
    for file, draw in drawn.items():
        write_picture(folder / file, cast("Figure", draw().figure))
    numbers = {
        "files": list(drawn),
        "image": image,
        "networks": {
            name: {
                "range": [each.numbers() for each in ranges[name]],
                "powers": [each.numbers() for each in powers[name]],
                "maps": [each.numbers() for each in maps[name]],
                "weights": weights[name].numbers(),
            }
            for name in models
        },
    }
    write_numbers(folder / "figures.json", numbers)
    return numbers


def folder_for(out: str | PathLike[str]) -> Path:
    """The folder of a path, made if it is not there."""
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"cannot make the folder {str(folder)!r}: {error.strerror or error}; name another"
        ) from error
    return folder


def _histograms(powers: Mapping[str, tuple[PowerHistograms, ...]]) -> Axes:
    """One axes for each block that has histograms, or the reasons why none has."""
    all_of = [(name, each) for name, parts in powers.items() for each in parts]
    some = [(name, each) for name, each in all_of if each.strengths is not None]
    if not some:
        ax = new_axes(7.0, 1.0 + 0.3 * len(all_of))
        ax.set_axis_off()
        told = [f"{name} {each.name}: {each.reason}".strip() for name, each in all_of]
        ax.text(0.0, 0.5, "no histograms\n" + "\n".join(told), va="center")
        return ax
    places = _places(len(some), 6.5, 4.4)
    for place, (name, each) in zip(places, some, strict=False):
        ax = each.plot(ax=place)
        ax.set_title(f"{name} {ax.get_title()}".strip(), fontsize=9)
    for place in places[len(some) :]:
        place.set_axis_off()
    return places[0]


def _eigenvalues(weights: Mapping[str, ChannelWeights]) -> Axes:
    """All on one axes as long as they can be told apart, then an axes for each network."""
    maps = {key: value for each in weights.values() for key, value in each.maps.items()}
    groups = [maps] if len(maps) <= len(COLOURS) else [dict(w.maps) for w in weights.values()]
    places = _places(len(groups), 6.5, 4.2 + 0.2 * max(map(len, groups)))
    for place, group in zip(places, groups, strict=False):
        ax = top_eigenvalues(group, ax=place)
        ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize=9)
    for place in places[len(groups) :]:
        place.set_axis_off()
    return places[0]


def _places(count: int, width: float, height: float) -> list[Axes]:
    """Axes in two columns on one figure, sizes in inches."""
    columns = min(2, count)
    rows = -(-count // columns)
    figure = new_figure(width * columns, height * rows)
    return list(figure.subplots(rows, columns, squeeze=False).reshape(-1))


def write_picture(path: Path, figure: Figure) -> None:
    """A figure as a PNG file, of the same bytes for the same figure."""
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=DPI, metadata={"Software": None})
    replace(path, held.getvalue())


def write_numbers(path: Path, numbers: dict[str, Any]) -> None:
    """Numbers as a JSON file; NaN and infinite ones are a ValueError."""
    text = json.dumps(numbers, indent=1, allow_nan=False, ensure_ascii=False)
    replace(path, text.encode() + b"\n")
