"""Print the attention of a network: a row a head, a line of words a head, depth and verdicts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from gspnl.nn.auditing.heads import HeadRecord
from gspnl.nn.auditing.network.advice import words
from gspnl.nn.auditing.network.depth import LayerDepth
from gspnl.nn.auditing.network.order import Placed, placed
from gspnl.nn.surgery.describe import aligned

TITLES = (
    "layer", "head", "N", "mask", "gap", "|μ₂|", "σ₂", "Chung gap", "sink", "entropy", "rank",
    "distance", "defect", "low freq.", "one-way", "curl", "Dirichlet",
)  # fmt: skip
DEPTH = ("layer", "N", "off mean", "Dirichlet", "NL", "NS", "per token", "both", "θ₀ adds")
NONE = "–"


def head_cells(each: Placed) -> tuple[str, ...]:
    """Format the row of one head."""
    record = each.record
    second = None
    if record.sigma is not None and len(record.sigma) > 1:
        second = f"{record.sigma[1]:.2f}"
    elif record.spectral_norm is not None:
        second = f"‖A‖ {record.spectral_norm:.2f}"
    sink = None
    if record.sink_mass is not None:
        sink = f"{record.sink_mass:.2f} (token {record.sink})"
    size = (
        f"{record.nodes:,}" if record.nodes == record.keys else f"{record.nodes:,}×{record.keys:,}"
    )
    kinds = [record.masked] if record.masked else []
    kinds += ["cross"] * record.cross + [f"{record.groups} a key head"] * (record.groups > 1)
    return (
        each.name,
        str(record.head),
        size,
        ", ".join(kinds) or NONE,
        _short(record.gap),
        _short(None if record.gap is None else 1 - record.gap),
        second or NONE,
        _short(record.chung_gap),
        sink or NONE,
        _short(record.entropy),
        _short(record.effective_rank, 1),
        _short(record.distance, 1),
        _short(None if record.defect is None else record.defect[0]),
        _short(record.low_frequency_share),
        _short(record.reversible),
        _short(record.curl),
        _short(record.dirichlet),
    )


def heads_table(records: Sequence[HeadRecord]) -> str:
    """Return the table of all heads, with the reasons for missing numbers below."""
    rows = [TITLES, *map(head_cells, placed(records))]
    return "\n".join([aligned(rows), *_reasons(records)])


def words_table(records: Sequence[HeadRecord]) -> str:
    """Return one line of words for each head."""
    lines = [
        f"{each.name}, head {each.record.head}: {words(each.record, each.place)}"
        for each in placed(records)
    ]
    return "\n".join(["What each head does", *lines])


def depth_table(layers: Sequence[LayerDepth]) -> str:
    """Return the table of layers, in the order of execution."""
    rows = aligned([DEPTH, *map(_depth_cells, layers)])
    reasons: dict[str, list[str]] = {}
    for each in layers:
        for why in each.reasons:
            reasons.setdefault(why, []).append(each.layer or NONE)
    return "\n".join(["Depth", rows, *map(_of_layers, reasons.values(), reasons)])


def _of_layers(layers: Sequence[str], why: str) -> str:
    """Say which layers a reason is of: one by its name, more by their number."""
    return f"{layers[0] if len(layers) == 1 else f'{len(layers)} layers'}, {why}"


def _depth_cells(each: LayerDepth) -> tuple[str, ...]:
    share = each.identity
    fits: Sequence[Any] = (None,) * 5
    if share is not None:
        fits = (share.nl, share.ns, share.identity, share.snl, share.theta_0)
    name = (each.layer or NONE) + (f", call {each.call}" if each.call else "")
    return (name, f"{each.nodes:,}", *map(_short, (each.off_mean, each.dirichlet, *fits)))


def _reasons(records: Sequence[HeadRecord]) -> list[str]:
    """Return each reason once, with the heads that it is of; alike but for a number is the same."""
    found: dict[str, list[tuple[str, HeadRecord]]] = {}
    for record in records:
        for name, why in record.reasons.items():
            key = re.sub(r"\d[\d.,]*", "#", f"{name}: {why}")
            found.setdefault(key, []).append((f"{name}: {why}", record))
    out = []
    for those in found.values():
        text, first = those[0]
        text += " (others differ in the number)" if any(each != text for each, _ in those) else ""
        if len(those) == len(records):
            out.append(f"all heads, {text}")
        elif len(those) == 1:
            out.append(f"{first.layer or NONE}, head {first.head}, {text}")
        else:
            out.append(f"{len(those)} heads, {text}")
    return out


def _short(value: Any, digits: int = 2) -> str:
    """Format a number with the digits that a table needs."""
    if value is None:
        return NONE
    return f"{float(value):.{digits}f}"
