"""Number the heads of layers that attend more than once, and place layers by their depth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gspnl.nn.auditing.heads import HeadRecord


@dataclass(frozen=True, eq=False)
class Placed:
    """A head with its place in the network.

    Attributes
    ----------
    record : HeadRecord
    call : int
        Number of its attention among those of the same layer.
    place : float
        Depth of its attention: 0 for the first, 1 for the last.
    name : str
        The layer, with the call where the layer attends more than once; "–" for the network itself.
    """

    record: HeadRecord
    call: int
    place: float
    name: str


def placed(records: Sequence[HeadRecord]) -> list[Placed]:
    """Place heads, which are in the order of execution."""
    seen: Counter[tuple[str, int]] = Counter()
    calls = []
    for record in records:
        calls.append(seen[record.layer, record.head])
        seen[record.layer, record.head] += 1
    attentions = list(dict.fromkeys((r.layer, c) for r, c in zip(records, calls, strict=True)))
    depths = {each: i / max(1, len(attentions) - 1) for i, each in enumerate(attentions)}
    repeated = {layer for (layer, _), times in seen.items() if times > 1}
    return [
        Placed(
            record, call, depths[record.layer, call],
            (record.layer or "–") + (f", call {call}" if record.layer in repeated else ""),
        )
        for record, call in zip(records, calls, strict=True)
    ]  # fmt: skip
