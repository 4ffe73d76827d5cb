"""Measure all attention of a network: heads, depth, rollout and verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from gspnl._base.effort import Work
from gspnl.errors import InputError
from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.auditing.heads import HeadRecord, measure_heads
from gspnl.nn.auditing.heads.masks import shape_of
from gspnl.nn.auditing.network.ablation import Observe, Pass, ablate
from gspnl.nn.auditing.network.cause import blamed, cause, let_through
from gspnl.nn.auditing.network.depth import LayerDepth, depth
from gspnl.nn.auditing.network.identity import IdentityShare, identity_share
from gspnl.nn.auditing.network.limits import Clock, cost_of, grids_of, without_grid
from gspnl.nn.auditing.network.rollout import rollout
from gspnl.nn.auditing.network.verdicts import Verdict, lambda_max, smoothing, stable, theta_0


@dataclass(frozen=True, eq=False)
class NetworkAudit:
    """What :class:`gspnl.nn.Audit` has of a network's attention; see there."""

    attention: tuple[HeadRecord, ...] = ()
    depth: tuple[LayerDepth, ...] = ()
    rollout: Any = None
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Network:
    """A network that can be run again on the same batch, for ablations.

    Attributes
    ----------
    model : Module
    observe : callable
        Runs it again.
    first : Pass
        The first run.
    seconds : float
        The time that it took.
    """

    model: nn.Module
    observe: Observe
    first: Pass
    seconds: float = 0.0


def audit_attention(
    calls: Sequence[AttentionCall],
    network: Network | None,
    *,
    nodes: int,
    k: int,
    seconds: float | None,
    grid: tuple[int, int] | None,
) -> NetworkAudit:
    """Measure attention that was observed.

    Parameters
    ----------
    calls : sequence of AttentionCall
        In the order of execution.
    network : Network or None
        To run without the blamed head; None where that is not wanted or not possible.
    nodes, k, seconds, grid
        As :func:`gspnl.nn.audit` has them.
    """
    if not calls:
        return NetworkAudit()
    limit, grids = Clock(seconds), grids_of(grid, calls)
    costs = [cost_of(call, nodes) for call in calls]
    found: list[tuple[HeadRecord, ...]] = []
    shares: list[tuple[IdentityShare | None, str]] = []
    notes = without_grid(grids, calls) if grid is not None else []
    with Work("the audit of attention", total=len(calls)) as work:
        for i, call in enumerate(calls):
            # A tenth of the time is for the rest; a call that needs less leaves it to the others.
            part = 0.9 * costs[i] / max(1.0, sum(costs[i:]))
            found.append(measure_heads(call, nodes, k, limit.share(part), grids[i]))
            shares.append(_identity(call, nodes, limit))
            notes += [f"{call.layer or 'the network'}: {note}" for note in call.notes]
            work.done += 1
    row, told = rollout([] if limit.left == 0 else calls, nodes=nodes)
    if limit.left == 0:
        notes.append("rollout: left out, for the limit on time")
    records = tuple(record for heads in found for record in heads)
    layers = depth(calls, found, shares)
    verdicts = (stable(records), lambda_max(records), theta_0(layers), smoothing(layers))
    last = _cause(records, found, network, limit)
    notes += [*told, *_left_out(records, seconds)]
    return NetworkAudit(records, layers, row, (*verdicts, last), tuple(dict.fromkeys(notes)))


def _identity(call: AttentionCall, nodes: int, limit: Clock) -> tuple[IdentityShare | None, str]:
    if max(shape_of(call)[2:]) > nodes:
        return None, f"more than nodes={nodes:,} tokens, beyond which no fit is made"
    if limit.left == 0:
        return None, "left out, for the limit on time"
    return identity_share(call)


def _left_out(records: Sequence[HeadRecord], seconds: float | None) -> list[str]:
    """Say which numbers the limit on time left out."""
    lacking: Counter[str] = Counter()
    for record in records:
        for name, why in record.reasons.items():
            lacking[name] += "limit on time" in why
    told = [f"{name} ({count})" for name, count in lacking.items() if count]
    if not told:
        return []
    return [
        f"seconds={seconds:g} was not enough: numbers were left out, wholly or for some items, of "
        f"so many of {len(records)} heads: {', '.join(told)}; pass a larger seconds=, None for no "
        "limit, fewer items or a smaller nodes="
    ]


def _cause(
    records: Sequence[HeadRecord],
    found: Sequence[Sequence[HeadRecord]],
    network: Network | None,
    limit: Clock,
) -> Verdict:
    """Silence the blamed head, and for comparison the one that lets through most."""
    record = blamed(records)
    if record is None:
        return cause(None, None, "no head has σ₂ or a write that is known")
    if network is None:
        return cause(record, None, "ablations were not asked for, or there is no model to run")
    if limit.left is not None and limit.left < network.seconds:
        return cause(record, None, "left out, for the limit on time")
    own = next(heads for heads in found if any(each is record for each in heads))
    index = next(i for i, heads in enumerate(found) if heads is own)
    try:
        ablation = ablate(network.model, network.observe, network.first, index, record.head)
    except InputError as error:
        return cause(record, None, str(error))
    other, control = let_through(own, record), None
    if other is not None and (limit.left is None or limit.left > network.seconds):
        control = ablate(network.model, network.observe, network.first, index, other.head)
    return cause(record, ablation, "", control)
