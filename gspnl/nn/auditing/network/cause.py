"""Judge whether the head that the spectrum blames causes the smoothing, by ablation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gspnl.nn.auditing.heads.record import HeadRecord
from gspnl.nn.auditing.network.ablation import Ablation
from gspnl.nn.auditing.network.items import second_sigma
from gspnl.nn.auditing.network.verdicts import Verdict

# Relative rise of the share off the mean, without a head, from which it counts as a cause if the
# rise without the control is less.
CAUSE = 0.1


def blamed(records: Sequence[HeadRecord]) -> HeadRecord | None:
    """Return the head that the spectrum blames for smoothing: the one with the least σ₂.

    Without π > 0 there is no σ₂, and the share of its write in the token mean decides.
    """
    square = [each for each in records if not each.cross and each.nodes > 1]
    known = [(value, each) for each in square if (value := second_sigma(each)) is not None]
    if known:
        return min(known, key=lambda pair: pair[0])[1]
    written = [each for each in square if each.low_frequency_share is not None]
    return max(written, key=lambda each: each.low_frequency_share or 0.0, default=None)


def let_through(heads: Sequence[HeadRecord], record: HeadRecord) -> HeadRecord | None:
    """Return the head of a layer that lets through most, to compare with; None for a lone head."""
    others = [each for each in heads if each is not record]
    known = [(value, each) for each in others if (value := second_sigma(each)) is not None]
    if known and second_sigma(record) is not None:
        return max(known, key=lambda pair: pair[0])[1]
    return min(others, key=lambda each: each.low_frequency_share or 0.0, default=None)


def cause(
    record: HeadRecord | None, ablation: Ablation | None, why: str, control: Ablation | None = None
) -> Verdict:
    """Judge whether the blamed head causes the smoothing, by the network without it."""
    question = "Does the head that the spectrum blames cause it?"
    if record is None:
        return Verdict("ablation", question, None, None, why or "no head is blamed")
    name = f"head {record.head} of {record.layer or 'the network'}"
    second = second_sigma(record)
    if second is not None:
        blame = f"{name} lets through least (σ₂ = {second:.2f})"
    else:
        blame = f"{name} writes most in the token mean ({record.low_frequency_share or 0:.2f})"
    if ablation is not None and ablation.shared > 1:
        blame += f", silenced in all {ablation.shared} attentions that share its W_O"
    if ablation is None:
        return Verdict("ablation", question, None, None, f"{blame}; not measured: {why}")
    rise = ablation.rise
    pair, at = ablation.off_mean, ablation.where
    text = f"{blame}; without it the output changes by {ablation.output_change:.1%}"
    if pair is not None:
        text += f", the share off the token mean at {at} is {pair[1]:.3f} instead of {pair[0]:.3f}"
    numbers: dict[str, Any] = {"layer": record.layer, "head": record.head, **_numbers(ablation)}
    if control is not None:
        numbers["control"] = {"head": control.head, "layer": control.layer, **_numbers(control)}
        share = "" if control.off_mean is None else f", and the share is {control.off_mean[1]:.3f}"
        text += (
            f" (without head {control.head}, which lets through most of that layer, the output "
            f"changes by {control.output_change:.1%}{share})"
        )
    beyond = control is None or control.rise is None or (rise is not None and rise > control.rise)
    holds = None if rise is None else rise > CAUSE and beyond
    return Verdict("ablation", question, holds, rise, text, numbers)


def _numbers(ablation: Ablation) -> dict[str, Any]:
    return {
        "off_mean": ablation.off_mean,
        "output_change": ablation.output_change,
        "at": ablation.where,
        "shared": ablation.shared,
    }
