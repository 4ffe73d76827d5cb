"""Convert the attention of an audit to types that JSON has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from gspnl.nn.auditing.heads import HeadRecord
from gspnl.nn.auditing.network.advice import remarks, words
from gspnl.nn.auditing.network.depth import LayerDepth
from gspnl.nn.auditing.network.order import Placed, placed
from gspnl.nn.auditing.network.verdicts import Verdict

MOST = 64  # of an array of eigenvalues or singular values: the first ones
SCALARS = (
    "gap", "sink_mass", "sink", "spectral_norm", "chung_gap", "dobrushin", "entropy",
    "effective_rank", "distance", "low_frequency_share", "reversible", "curl", "dirichlet",
)  # fmt: skip


def head_numbers(head: Placed) -> dict[str, Any]:
    """Convert one head; of eigenvalues and singular values the first 64, as [real, imaginary]."""
    record, place = head.record, head.place
    return {
        "layer": record.layer,
        "call": head.call,
        "head": record.head,
        "nodes": record.nodes,
        "keys": record.keys,
        "masked": record.masked,
        "cross": record.cross,
        "groups": record.groups,
        "source": record.source,
        "eigenvalues": _complex(record.eigenvalues),
        "sigma": _real(record.sigma, MOST),
        "stationary": _real(record.stationary),
        "defect": _real(record.defect),
        "value_output": _real(record.value_output, MOST),
        "value_output_eigenvalues": _complex(record.value_output_eigenvalues),
        **{name: plain(getattr(record, name)) for name in SCALARS},
        "items": [
            {
                "nodes": item.nodes,
                "keys": item.keys,
                "masked": item.masked,
                **{name: plain(getattr(item, name)) for name in SCALARS},
                "defect": _real(item.defect),
            }
            for item in record.items
        ],
        "reasons": dict(record.reasons),
        "words": words(record, place),
        "remarks": [
            {"kind": each.kind, "text": each.text, "try": each.try_}
            for each in remarks(record, place)
        ],
    }


def attention_numbers(records: Sequence[HeadRecord]) -> list[dict[str, Any]]:
    """Convert all heads."""
    return [head_numbers(each) for each in placed(records)]


def depth_numbers(layers: Sequence[LayerDepth]) -> list[dict[str, Any]]:
    """Convert the layers."""
    return [
        {
            "layer": each.layer,
            "call": each.call,
            "nodes": each.nodes,
            "off_mean": plain(each.off_mean),
            "dirichlet": plain(each.dirichlet),
            "identity": None
            if each.identity is None
            else plain({**asdict(each.identity), "theta_0": each.identity.theta_0}),
            "reasons": list(each.reasons),
        }
        for each in layers
    ]


def verdict_numbers(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Convert the verdicts."""
    return [
        {
            "name": each.name,
            "question": each.question,
            "holds": each.holds,
            "value": plain(each.value),
            "text": each.text,
            "numbers": plain(each.numbers),
        }
        for each in verdicts
    ]


def plain(value: Any) -> Any:
    """Convert NumPy's numbers and arrays; None for numbers that are not finite."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    return float(value) if math.isfinite(value) else None


def _real(values: np.ndarray | None, most: int | None = None) -> list[Any] | None:
    return None if values is None else plain(values[:most])


def _complex(values: np.ndarray | None) -> list[list[Any]] | None:
    if values is None:
        return None
    return [[plain(each.real), plain(each.imag)] for each in values[:MOST].astype(complex)]
