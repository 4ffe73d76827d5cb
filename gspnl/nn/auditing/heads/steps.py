"""Steps of a measurement, each with the numbers that it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gspnl.nn.auditing.heads.deadline import Deadline, LateError

Head = TypeVar("Head")
Found = tuple[dict[str, Any], dict[str, str]]  # numbers, and reasons or remarks

CROSS = "cross-attention: A maps keys of other nodes to queries, so it has no powers and no π"


@dataclass(frozen=True)
class Step(Generic[Head]):
    """A function of a head that finds some of its numbers.

    Attributes
    ----------
    names : tuple of str
    run : callable
    square : bool
        Whether the numbers exist only where queries and keys are the same nodes.
    cheap : bool
        Whether it runs after the deadline too.
    """

    names: tuple[str, ...]
    run: Callable[[Head], Found]
    square: bool = True
    cheap: bool = True


def take(
    head: Head, steps: Iterable[Step[Head]], square: bool, deadline: Deadline
) -> tuple[dict[str, Any], dict[str, str]]:
    """Run steps on a head; those that are left out leave a reason."""
    numbers: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for step in steps:
        if step.square and not square:
            reasons |= dict.fromkeys(step.names, CROSS)
        elif not step.cheap and deadline.over:
            reasons |= dict.fromkeys(step.names, deadline.reason)
        else:
            try:
                found, why = step.run(head)
            except LateError:
                found, why = {}, dict.fromkeys(step.names, deadline.reason)
            numbers |= found
            reasons |= why
    return numbers, reasons
