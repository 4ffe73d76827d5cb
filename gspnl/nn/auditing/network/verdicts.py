"""Judge the paper's hypotheses on a network: A² = A, λmax = 2, θ₀, smoothing, and its cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gspnl.nn.auditing.heads.record import HeadRecord
from gspnl.nn.auditing.network.depth import LayerDepth

# ‖A² − A‖/‖A‖ up to which A^k = A counts as true: the paper's stable hypothesis.
STABLE = 0.05
# λmax from which "λmax = 2" is near: its interval is then at most a tenth too wide.
NEAR_TWO = 1.8
# Share of what a layer writes that θ₀ must add to NL and NS to count as used.
USED = 0.05
# Share below which one graph does not describe a layer, and the comparison says nothing.
DESCRIBED = 0.5
# Share of the features that the fitted directions must have, for a fit to speak of them.
COVERED = 0.8
# Last over first share off the mean below which depth smooths, and above which it sharpens.
SMOOTHS, SHARPENS = 0.5, 2.0


@dataclass(frozen=True)
class Verdict:
    """A hypothesis on a network, and what its numbers say.

    Attributes
    ----------
    name : str
        "stable", "lambda_max", "theta_0", "depth" or "ablation".
    question : str
    holds : bool or None
        None where the numbers do not decide.
    value : float or None
        The number that decides.
    text : str
        The answer, in a sentence.
    numbers : dict
        What it rests on.
    """

    name: str
    question: str
    holds: bool | None
    value: float | None
    text: str
    numbers: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        answer = {True: "yes", False: "no", None: "open"}[self.holds]
        return f"{self.question} {answer}: {self.text}"


def stable(records: Sequence[HeadRecord]) -> Verdict:
    r"""Judge :math:`A^k = A` by the defects ‖A^k − A‖/‖A‖ of all heads."""
    question = "Does A^k = A hold?"
    known = [each.defect for each in records if each.defect is not None]
    if not known:
        return Verdict("stable", question, None, None, "no head has a defect")
    defects = np.array(known)
    worst = defects.max(1)
    share = float((worst <= STABLE).mean())
    median = float(np.median(defects[:, 0]))
    text = (
        f"{_count(worst <= STABLE)} of {len(known)} heads have ‖A^k − A‖ ≤ {STABLE} ‖A‖ for "
        f"k = 2, 3, 4; the median for k = 2 is {median:.2f}"
    )
    numbers = {"share": share, "median": np.median(defects, axis=0).tolist()}
    return Verdict("stable", question, share == 1, median, text, numbers)


def lambda_max(records: Sequence[HeadRecord]) -> Verdict:
    """Judge λmax = 2, where λ = 1 − μ: the largest real part over the eigenvalues of A."""
    question = "Is λmax = 2 near?"
    spectra = [(each.eigenvalues, _complete(each)) for each in records]
    tops = [1 - float(mu.real.min()) for mu, complete in spectra if mu is not None and complete]
    # Eigenvalues that were not computed have at most the modulus of the last one that was.
    bounds = [
        1 + max(float(abs(mu[-1])), -float(mu.real.min()))
        for mu, complete in spectra
        if mu is not None and not complete
    ]
    if not tops and not bounds:
        return Verdict("lambda_max", question, None, None, "no head has eigenvalues")
    values = np.array(tops + bounds)
    top, median = float(values.max()), float(np.median(values))
    holds = bool(np.median(values) >= NEAR_TWO)
    bound = f" ({len(bounds)} by a bound)" if bounds else ""
    text = (
        f"the largest Re λ of L = I − A is {top:.2f}, the median over {len(values)} heads"
        f"{bound} {median:.2f}"
    )
    if not holds:
        text += f"; Chebyshev filters need no interval beyond [0, {top:.2f}], and a lower order"
    return Verdict(
        "lambda_max", question, holds, top, text, {"median": median, "bounded": len(bounds)}
    )


def _complete(record: HeadRecord) -> bool:
    """Return whether all eigenvalues of A are there."""
    first = record.items[0] if record.items else record
    return record.eigenvalues is not None and len(record.eigenvalues) >= first.nodes


def theta_0(layers: Sequence[LayerDepth]) -> Verdict:
    """Judge whether NL or NS would have been enough, by fits of what each layer writes."""
    question = "Is θ₀ used, beyond NL and NS?"
    known = [each for each in layers if each.identity is not None]
    if not known:
        return Verdict("theta_0", question, None, None, "no layer's write could be fitted")
    shares = np.array(
        [[s.identity, s.nl, s.ns, s.snl, s.theta_0] for s in (each.identity for each in known) if s]
    )
    mean = shares.mean(0)
    numbers = dict(zip(("identity", "nl", "ns", "snl", "theta_0"), mean.tolist(), strict=True))
    used = shares[:, 4] > USED
    described = float(mean[3]) >= DESCRIBED
    covered = float(np.mean([each.identity.coverage for each in known if each.identity]))
    numbers["coverage"] = covered
    text = (
        f"on the mean graph of a layer's heads, NL explains {mean[1]:.0%} of what it writes, NS "
        f"{mean[2]:.0%}, a map of each token alone {mean[0]:.0%}, both terms {mean[3]:.0%}: θ₀ "
        f"adds more than {USED:.0%} in {_count(used)} of {len(known)} layers"
    )
    if covered < COVERED:
        text += (
            f"; the tokens determine only directions with {covered:.0%} of the features: pass more "
            "items"
        )
    elif not described:
        text += "; one graph does not describe these layers, since their heads differ"
    holds = bool(used.mean() >= 0.5) if described and covered >= COVERED else None
    numbers["layers"] = len(known)
    return Verdict("theta_0", question, holds, float(mean[4]), text, numbers)


def smoothing(layers: Sequence[LayerDepth]) -> Verdict:
    """Judge whether depth smooths, by the share of the features off their token mean."""
    question = "Does depth smooth?"
    off = [each.off_mean for each in layers if each.off_mean is not None]
    energies = [each.dirichlet for each in layers if each.dirichlet is not None]
    if len(off) < 2:
        return Verdict("depth", question, None, None, "fewer than two layers have known inputs")
    ratio = off[-1] / off[0] if off[0] else float("inf")
    holds = ratio < SMOOTHS
    text = f"the share of the features off their token mean goes from {off[0]:.2f} to {off[-1]:.2f}"
    if len(energies) > 1:
        text += f", their Dirichlet energy from {energies[0]:.2f} to {energies[-1]:.2f}"
    if ratio > SHARPENS:
        text += "; depth sharpens"
    value = float(ratio) if np.isfinite(ratio) else None
    return Verdict("depth", question, holds, value, text, {"off_mean": off, "dirichlet": energies})


def _count(mask: np.ndarray) -> int:
    return int(np.count_nonzero(mask))
