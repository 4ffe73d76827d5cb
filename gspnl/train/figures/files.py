"""Write the figures and audits of networks to a folder, as PNG files with their numbers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from gspnl._base.effort import Work
from gspnl._base.files import make_folder
from gspnl.errors import InputError
from gspnl.nn import Audit
from gspnl.nn.auditing.channel_weights import ChannelWeights, channel_weights
from gspnl.nn.auditing.features import blocks_of
from gspnl.nn.auditing.power_histograms import PowerHistograms, power_histograms
from gspnl.nn.auditing.writing import write_audit, write_numbers, write_picture
from gspnl.plotting import top_eigenvalues
from gspnl.plotting._axes import COLOURS, new_axes, new_figure
from gspnl.plotting._style import fixed_style
from gspnl.train.figures.attention_range import attention_ranges, draw_attention_ranges
from gspnl.train.figures.evaluation import open_run
from gspnl.train.figures.feature_maps import draw_feature_maps, feature_maps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["audit_numbers", "write_audit", "write_figures"]

log = logging.getLogger(__name__)

audit_numbers = Audit.numbers
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

    Returns
    -------
    dict
        The numbers that are in ``figures.json``: "files", "image", and for each network under
        "networks" lists "range", "powers", "maps" and "weights", an entry a block, unit or map.

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
    named = networks if isinstance(networks, Mapping) else {"": networks}
    if not named:
        raise InputError("there are no networks; pass one, or a mapping from names to networks")
    models = {
        name: each if isinstance(each, nn.Module) else open_run(each)[1]
        for name, each in named.items()
    }
    for name, model in models.items():
        blocks_of(model, name)  # raises before the first is read
    ranges, powers, maps, weights, by_network = {}, {}, {}, {}, {}
    for name, model in models.items():
        log.info(f"reading the blocks{' of ' if name else ''}{name}")
        with Work("the blocks", total=4) as shown:
            ranges[name] = attention_ranges(
                model, images, image=image, position=position, pictures=pictures
            )
            shown.done += 1
            powers[name] = power_histograms(model, images, image=image, nodes=nodes, seed=seed)
            shown.done += 1
            maps[name] = feature_maps(model, images, pictures=pictures)
            shown.done += 1
            weights[name] = channel_weights(model, prefix=f"{name}: " if name else "")
        by_network[name] = {
            "range": [each.numbers() for each in ranges[name]],
            "powers": [each.numbers() for each in powers[name]],
            "maps": [each.numbers() for each in maps[name]],
            "weights": weights[name].numbers(),
        }
    folder = make_folder(Path(out))
    log.info("drawing")
    draws: dict[str, Callable[[], Axes]] = {
        "figure1.png": lambda: draw_attention_ranges(ranges),
        "figure2.png": lambda: _histograms(powers),
        "figure4.png": lambda: draw_feature_maps(maps),
        "figure4_mean.png": lambda: draw_feature_maps(maps, "mean"),
        "figure5.png": lambda: _eigenvalues(weights),
    }
    with Work("the figures", total=len(draws)) as shown:
        for file, draw in draws.items():
            with fixed_style():
                write_picture(folder / file, draw().figure)
            shown.done += 1
    numbers = {"files": list(draws), "image": image, "networks": by_network}
    write_numbers(folder / "figures.json", numbers)
    return numbers


def _histograms(powers: Mapping[str, tuple[PowerHistograms, ...]]) -> Axes:
    """One axes for each block that has histograms, or the reasons why none has."""
    lines = [(name, each) for name, parts in powers.items() for each in parts]
    some = [(name, each) for name, each in lines if each.strengths is not None]
    if not some:
        ax = new_axes(7.0, 1.0 + 0.3 * len(lines))
        ax.set_axis_off()
        reasons = (f"{name} {each.name}: {each.reason}".strip() for name, each in lines)
        ax.text(0.0, 0.5, "\n".join(["no histograms", *reasons]), va="center")
        return ax
    places = _places(len(some), 4.4)
    for ax, (name, each) in zip(places, some, strict=True):
        each.plot(ax=ax)
        ax.set_title(f"{name} {ax.get_title()}".strip(), fontsize=9)
    return places[0]


def _eigenvalues(weights: Mapping[str, ChannelWeights]) -> Axes:
    """All maps on one axes while there are colours for them, else one axes for each network."""
    groups = [each.maps for each in weights.values()]
    if sum(map(len, groups)) <= len(COLOURS):
        groups = [{name: each for maps in groups for name, each in maps.items()}]
    places = _places(len(groups), 4.2 + 0.2 * max(map(len, groups)))
    for ax, maps in zip(places, groups, strict=True):
        top_eigenvalues(maps, ax=ax)
        ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize=9)
    return places[0]


def _places(count: int, height: float) -> list[Axes]:
    """Axes of this height in two columns on one figure; those that are left over are hidden."""
    columns, rows = min(2, count), -(-count // 2)
    figure = new_figure(6.5 * columns, height * rows)
    places = list(figure.subplots(rows, columns, squeeze=False).reshape(-1))
    for ax in places[count:]:
        ax.set_axis_off()
    return places[:count]
