"""Numbers of attention heads that one value can stand for, and ranks of heads by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

NUMBERS: dict[str, Callable[[Any], Any]] = {
    "|μ₂|": lambda head: 1 - head.gap,
    "largest |Im μ|": lambda head: np.abs(head.eigenvalues.imag).max(),
    "least Re μ": lambda head: head.eigenvalues.real.min(),
    "σ₂ of B": lambda head: head.sigma[1],
    "σ₁ of A": lambda head: head.spectral_norm,
    "Chung gap": lambda head: head.chung_gap,
    "Dobrushin": lambda head: head.dobrushin,
    "sink mass": lambda head: head.sink_mass,
    "entropy": lambda head: head.entropy,
    "effective rank": lambda head: head.effective_rank,
    "distance": lambda head: head.distance,
    "‖A² − A‖": lambda head: head.defect[0],
    "‖A³ − A‖": lambda head: head.defect[1],
    "‖A⁴ − A‖": lambda head: head.defect[2],
    "low-frequency share": lambda head: head.low_frequency_share,
    "irreversible": lambda head: head.reversible,
    "curl": lambda head: head.curl,
    "Dirichlet": lambda head: head.dirichlet,
    "σ₁ of W_V W_O": lambda head: head.value_output[0],
}


def values(head: Any) -> np.ndarray:
    """All numbers of a HeadRecord; NaN where one does not exist."""
    out = np.full(len(NUMBERS), np.nan)
    for at, number in enumerate(NUMBERS.values()):
        try:
            value = number(head)
        except (TypeError, AttributeError):  # arithmetic on None: the record says why
            continue
        out[at] = np.nan if value is None else value
    return out


@dataclass(frozen=True)
class Rule:
    """The head is where one number is most extreme.

    Parameters
    ----------
    number : str
    largest : bool
    """

    number: str
    largest: bool

    def __str__(self) -> str:
        return f"{'largest' if self.largest else 'smallest'} {self.number}"

    def ranks(self, table: np.ndarray) -> np.ndarray:
        """Ranks of heads, from 1; of equal heads the worst, since none of them stands out.

        Parameters
        ----------
        table : array of shape (..., heads, numbers)
            Last where NaN.
        """
        value = table[..., list(NUMBERS).index(self.number)]
        value = np.where(np.isnan(value), -np.inf, value if self.largest else -value)
        return (value[..., None, :] >= value[..., :, None]).sum(axis=-1)


RULES = tuple(Rule(number, largest) for number in NUMBERS for largest in (True, False))


def best_rule(table: np.ndarray, head: int) -> Rule:
    """The rule that gives a head the least mean rank over inputs; the first of equal ones."""
    return min(RULES, key=lambda rule: rule.ranks(table)[:, head].mean())


def separation(table: np.ndarray, group: np.ndarray, rule: Rule) -> float:
    """Area under the ROC curve of a group of heads against the others, mean over inputs."""
    ranks = rule.ranks(table)
    inside, outside = ranks[:, group], ranks[:, ~group]
    above = (inside[:, :, None] < outside[:, None]) + 0.5 * (inside[:, :, None] == outside[:, None])
    return float(above.mean())
