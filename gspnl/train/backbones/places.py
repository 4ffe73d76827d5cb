"""Put blocks at the paper's places in a backbone."""

from __future__ import annotations

import difflib
from typing import Any

from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.nn import insert
from gspnl.nn.surgery.shapes import channels_of_layers
from gspnl.nn.surgery.targets import find
from gspnl.train.backbones.registry import Backbone

UNITS = {"sp3": 3, "sp5": 5}  # consecutive units that share one affinity


def place(
    model: Backbone,
    block: str,
    where: str | None = None,
    *,
    reduction: int = 2,
    units: int | None = None,
    **block_options: Any,
) -> Backbone:
    """Put blocks into a backbone at the paper's places.

    The inner width is Cs = C₁ / ``reduction``, where C₁ are the channels at each place. New blocks
    are the identity: the network's outputs stay bit-identical.

    Parameters
    ----------
    model : Backbone
        Changed in place, or not at all if anything below is wrong.
    block : str
        A name of :data:`gspnl.nn.BLOCKS`.
    where : str, optional
        "stage1", "stage2", … (after the second residual block of a stage), "res4" (ResNet and I3D:
        before the last residual block of res4), "dp3" (a block in each of stages 1, 2 and 3), "sp3"
        or "sp5" (3 or 5 units in stage 1 that share one affinity). Default:
        ``model.default_place``, which is "stage1" for PreResNet and "res4" for the others.
    reduction : int
        C₁ / Cs, at least 1; Cs is rounded down, and at least 1.
    units : int, optional
        Consecutive units that share one affinity, at least 1; default: those of ``where``, else 1.
    **block_options
        Of the block, see :func:`gspnl.nn.create`. ``inner`` overrides ``reduction``; ``match``
        chooses the inner width itself, against the other block at C₁/2.

    Returns
    -------
    Backbone
        ``model``.

    Raises
    ------
    InputError
        If the place is unknown or taken, the block cannot be made so, or two arguments disagree.

    References
    ----------
    L. Zhu et al., "Spectral nonlocal block for neural network", 2019, sections 4.1 and 4.2.

    Examples
    --------
    >>> from gspnl import nn as gnn
    >>> from gspnl.train import backbones
    >>> net = backbones.create("preresnet20", classes=10)
    >>> print(gnn.describe(backbones.place(net, "snl", "dp3")))
    name      block  channels  inner  units  parameters
    layer1.1  snl          16      8      1         672
    layer2.1  snl          32     16      1       2,624
    layer3.1  snl          64     32      1      10,368
    """
    if not isinstance(model, Backbone):
        raise InputError(
            f"model must be a backbone of gspnl.train, not {type(model).__name__}; "
            "gspnl.nn.insert puts blocks into any network"
        )
    where = model.default_place if where is None else where
    names = _modules(model, where)
    shared = UNITS.get(where, 1)
    if units is not None and where in UNITS and whole_number("units", units, 1) != shared:
        raise InputError(
            f"where={where!r} means {shared} units, and units={units} was given; use "
            f"where='stage1' with units={units}"
        )
    whole_number("reduction", reduction, 1)
    matched = block_options.get("match") is not None
    if matched and reduction != 2:
        raise InputError(
            f"match={block_options['match']!r} chooses the inner width against that block at C/2, "
            f"so reduction={reduction} cannot be kept; leave one of them out"
        )
    entries: dict[str, tuple[str, dict[str, int]]] = {}
    for name in names:
        channels = channels_of_layers(name, find(model, name).sources)
        chosen = matched or block_options.get("inner") is not None
        entries[name] = block, {} if chosen else {"inner": max(1, channels // reduction)}
    insert(model, entries, units=shared if units is None else units, **block_options)
    return model


def _modules(model: Backbone, where: str) -> tuple[str, ...]:
    if isinstance(where, str) and where in model.places:
        return model.places[where]
    near = difflib.get_close_matches(str(where), model.places, 1, 0.4)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise InputError(
        f"the backbone has no place {where!r}{hint} Available: {', '.join(model.places)}."
    )
