"""An audit as plain numbers, and as files."""

from __future__ import annotations

import math
from os import PathLike
from typing import Any

from gspnl._base.files import replace
from gspnl.nn import Audit
from gspnl.nn.auditing import UnitAudit
from gspnl.train.figures.writing import folder_for, write_numbers, write_picture


def audit_numbers(audit: Audit) -> dict[str, Any]:
    """What an audit found, in types that JSON has; what has no number, or no finite one, is None.

    Parameters
    ----------
    audit : Audit
        As :func:`gspnl.nn.audit` returns it.

    Returns
    -------
    dict
        ``{"blocks": [{"module", "block", "items": [{"nodes", "gap", "defect", "eigenvalues",
        "reasons"}], "units": [{"gain", "cfl": [{"radius", "limit"}], "channels", "rank",
        "negative", "top", "reasons"}], "reasons"}]}``. "eigenvalues" are the two ends of the real
        parts of λ, "gain" is the largest ‖W(λ)‖, "negative" a count, "top" the 32 largest
        eigenvalues of the channel weights.

    Examples
    --------
    >>> import torch
    >>> from gspnl import nn as gnn
    >>> from gspnl.train import figures
    >>> seen = gnn.audit(gnn.create("snl", 8), torch.randn(2, 8, 5, 5))
    >>> block = figures.audit_numbers(seen)["blocks"][0]
    >>> block["block"], [item["nodes"] for item in block["items"]]
    ('snl', [25, 25])
    """
    return {
        "blocks": [
            {
                "module": block.module,
                "block": block.block,
                "items": [
                    {
                        "nodes": item.nodes,
                        "gap": _number(item.gap),
                        "defect": _number(item.defect),
                        "eigenvalues": None
                        if item.eigenvalues is None
                        else [_number(item.eigenvalues[k].real) for k in (0, -1)],
                        "reasons": dict(item.reasons),
                    }
                    for item in block.items
                ],
                "units": [_unit(unit) for unit in block.units],
                "reasons": block.reasons,
            }
            for block in audit
        ]
    }


def _unit(unit: UnitAudit) -> dict[str, Any]:
    values = unit.damping.eigenvalues
    return {
        "gain": _number(unit.norm.max()),
        "cfl": [
            None if v is None else {"radius": _number(v.radius), "limit": _number(v.limit)}
            for v in unit.cfl
        ],
        "channels": len(values),
        "rank": unit.damping.rank,
        "negative": round(unit.damping.negative * len(values)),
        "top": unit.damping.top(32).tolist(),
        "reasons": dict(unit.reasons),
    }


def _number(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def write_audit(audit: Audit, out: str | PathLike[str]) -> dict[str, Any]:
    """Write ``audit.txt``, ``audit.png`` and ``audit.json`` to a folder.

    Parameters
    ----------
    audit : Audit
    out : path
        A folder; made if it is not there. Files of an earlier call are replaced.

    Returns
    -------
    dict
        As :func:`audit_numbers`.

    Raises
    ------
    FileError
        Where the folder cannot be written.
    """
    folder, numbers = folder_for(out), audit_numbers(audit)
    write_picture(folder / "audit.png", audit.plot())
    replace(folder / "audit.txt", f"{audit}\n".encode())
    write_numbers(folder / "audit.json", numbers)
    return numbers
