"""Say in words what a head does, what is good about it, what is bad, and what to try.

Each rule is a function of a record with a threshold below. They are conventions of this audit, not
results: a head that trips a rule may still be what its network needs, which ablation decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gspnl.nn.auditing.heads.record import HeadRecord
from gspnl.nn.auditing.network.items import defects, second_sigma

# A token holds more of π than all others together, of at least 4.
SINK, FEWEST = 0.5, 4
# Mean entropy as a share of that of uniform rows: exp(0.95 log 200) is 153 of 200 tokens.
UNIFORM = 0.95
# Entropy of a row that attends to one token: e^0.1 is 1.1 tokens.
POINTED = 0.1
# Mean distance in tokens: tokens keep at least 1 − distance of their mass, on average.
IDENTITY = 0.1
# Share of the stationary flow that does not return: below, A is within 5 % of a reversible chain.
REVERSIBLE = 0.05
DIRECTED = 0.5
# Share of the write in the token mean: above, nine tenths of what the head writes are a constant.
SMOOTHS = 0.9
# Depth, as a share of the layers, from which smoothing is advised against: there it adds up.
DEEP = 0.5
# ‖A² − A‖/‖A‖ up to which A counts as a projection; rounding of float32 is far below.
PROJECTION = 0.05
# Σ Re λ / Σ |λ| of W_V W_O: near 1 the map copies what it reads, near −1 it erases it (Elhage et
# al., A mathematical framework for transformer circuits, 2021).
COPIES = 0.8
# 1 − |μ₂|: below, |μ₂|^20 is still more than a third, and mixing takes more than 20 layers.
SLOW = 0.05
# Largest gain in the plain norm: rows sum to 1, so more than 2 means that many rows meet.
GAIN = 2.0


@dataclass(frozen=True)
class Remark:
    """One sentence on a head.

    Attributes
    ----------
    kind : str
        "good", "bad" or "neutral".
    text : str
    try_ : str
        What to try; "" where there is nothing.
    """

    kind: str
    text: str
    try_: str = ""


Rule = Callable[[HeadRecord, float], Remark | None]


def remarks(record: HeadRecord, place: float = 0.0) -> tuple[Remark, ...]:
    """Return what the rules say of a head; ``place`` is its layer's, 0 the first and 1 the last."""
    if record.nodes < 2:
        return ()
    found = (rule(record, place) for rule in RULES)
    return tuple(each for each in found if each is not None)


def words(record: HeadRecord, place: float = 0.0) -> str:
    """Return one line on a head: what is good, what is bad, what to try."""
    found = remarks(record, place)
    if record.nodes < 2:
        return "one token: nothing is mixed"
    if not found:
        return _plainly(record)
    parts = [each.text for each in found]
    tried = list(dict.fromkeys(each.try_ for each in found if each.try_))
    return "; ".join(parts) + (f". Try: {'; '.join(tried)}" if tried else "")


def _plainly(record: HeadRecord) -> str:
    """Describe a head that no rule remarks on by its numbers."""
    parts = []
    if record.entropy is not None:
        parts.append(f"mixes about {math.exp(record.entropy):.0f} of {record.keys:,} tokens a row")
    if (sigma := second_sigma(record)) is not None:
        parts.append(f"leaves at most {sigma:.2f} of any variation")
    if record.low_frequency_share is not None:
        parts.append(f"{record.low_frequency_share:.0%} of what it writes is their mean")
    return "; ".join(parts) or "nothing is known of it"


def most_entropy(record: HeadRecord) -> float:
    """Return the mean entropy of uniform rows: log M, or the mean of log i under a causal mask."""
    if record.masked == "causal":
        return float(np.mean(np.log(np.arange(1, record.nodes + 1))))
    return math.log(record.keys) if record.keys > 1 else 0.0


def sink(record: HeadRecord, place: float) -> Remark | None:
    """A token that holds most of the stationary mass."""
    if record.sink_mass is None or record.masked == "causal" or record.nodes < FEWEST:
        return None
    if record.sink_mass <= SINK:
        return None
    return Remark(
        "bad",
        f"token {record.sink} holds {record.sink_mass:.2f} of the stationary mass: a sink, whose "
        "value dominates the limit of A^k",
        "register tokens, or a softmax with a free zero score",
    )


def uniform(record: HeadRecord, place: float) -> Remark | None:
    """Rows near the uniform distribution."""
    most = most_entropy(record)
    if record.entropy is None or not most or record.entropy < UNIFORM * most:
        return None
    return Remark(
        "bad",
        f"entropy {record.entropy:.2f} of at most {most:.2f}: uniform pooling",
        "a global mean in its place, which costs O(N)",
    )


def identity(record: HeadRecord, place: float) -> Remark | None:
    """Tokens that attend to themselves."""
    if record.cross or record.distance is None or record.distance > IDENTITY:
        return None
    return Remark(
        "bad",
        f"near the identity: {1 - record.distance:.0%} of A or more is on its diagonal",
        "a map of each token alone, without attention",
    )


def pointed(record: HeadRecord, place: float) -> Remark | None:
    """Rows that attend to one token each."""
    if record.entropy is None or record.entropy > POINTED or record.keys < 2:
        return None
    far = "" if record.distance is None else f", {record.distance:.1f} tokens away"
    if record.distance is not None and record.distance <= IDENTITY:
        return None
    return Remark("good", f"pointed: each token attends to one (entropy {record.entropy:.2f}){far}")


def smooths(record: HeadRecord, place: float) -> Remark | None:
    """Writes that are the same at all tokens."""
    share = record.low_frequency_share
    if share is None or share <= SMOOTHS:
        return None
    text = f"smooths: {share:.0%} of what it writes is the same at all tokens"
    if place < DEEP:
        return Remark("neutral", text)
    line = f'gnn.set_response(model, {{"{record.layer}": "gfsa"}})'
    return Remark("bad", text, f"response 'attnscale' or 'gfsa': {line}")


def projection(record: HeadRecord, place: float) -> Remark | None:
    """A² = A."""
    defect = defects(record)
    if defect is None or defect[0] > PROJECTION:
        return None
    return Remark("neutral", f"A² = A within {defect[0]:.2f}: repeating it changes nothing")


def reversible(record: HeadRecord, place: float) -> Remark | None:
    """Flows that return, or do not."""
    if record.reversible is None or record.masked == "causal":
        return None
    if record.reversible < REVERSIBLE:
        return Remark(
            "good",
            f"nearly reversible ({record.reversible:.2f} of the flow does not return): filters of "
            "the symmetric graph apply",
        )
    if record.reversible > DIRECTED:
        return Remark(
            "neutral", f"directed: {record.reversible:.0%} of the stationary flow does not return"
        )
    return None


def slow(record: HeadRecord, place: float) -> Remark | None:
    """Chains that mix slowly."""
    if record.gap is None or record.masked == "causal" or record.gap >= SLOW:
        return None
    if record.distance is not None and record.distance <= IDENTITY:
        return None
    return Remark("good", f"keeps groups of tokens apart: |μ₂| = {1 - record.gap:.3f}")


def gain(record: HeadRecord, place: float) -> Remark | None:
    """Columns that many rows share."""
    if record.spectral_norm is None or record.spectral_norm <= GAIN:
        return None
    return Remark(
        "neutral",
        f"many tokens attend to few: ‖A‖₂ = {record.spectral_norm:.1f}, and 1 where all are "
        "attended to alike",
    )


def copies(record: HeadRecord, place: float) -> Remark | None:
    """The sign of W_V W_O."""
    mu = record.value_output_eigenvalues
    if mu is None or not np.abs(mu).sum():
        return None
    ratio = float(mu.real.sum() / np.abs(mu).sum())
    if abs(ratio) < COPIES:
        return None
    verb = "copies" if ratio > 0 else "erases"
    return Remark("neutral", f"{verb} what it reads: Σ Re λ / Σ |λ| of W_V W_O is {ratio:.2f}")


RULES: tuple[Rule, ...] = (
    sink, uniform, identity, pointed, smooths, projection, reversible, slow, gain, copies,
)  # fmt: skip
