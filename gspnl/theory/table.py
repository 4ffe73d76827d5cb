"""Verdicts as text for a terminal, and as rows for JSON."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

from gspnl.theory.claims import CLAIMS, Verdict
from gspnl.theory.subject import Subject

WORDS = {True: "holds", False: "FAILS", None: "n/a"}
INDENT = " " * 7


def rows(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """One dict a verdict, of what JSON can hold: a number that is not finite is None."""
    return [_row(verdict) for verdict in verdicts]


def _row(verdict: Verdict) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": verdict.id,
        "claim": verdict.claim,
        "source": verdict.source,
        "value": _finite(verdict.value),
        "tolerance": verdict.tolerance,
        "passed": verdict.passed,
        "nodes": verdict.nodes,
        "seconds": verdict.seconds,
        "reason": verdict.reason,
    }
    if verdict.erratum:
        row["erratum"] = verdict.erratum
        row["holds"] = verdict.holds
        for name in ("printed", "corrected"):
            reading = getattr(verdict, name)
            row[name] = reading and {"reading": reading[0], "value": _finite(reading[1])}
    return row


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def text(verdicts: Sequence[Verdict], width: int = 100) -> str:
    """A table: verdict, claim, measured number, tolerance and source; both readings of errata."""
    lines: list[str] = []
    section = ""
    for verdict in verdicts:
        if CLAIMS[verdict.id].section != section:
            section = CLAIMS[verdict.id].section
            lines += ["", section]
        lines += [*_lines(verdict, max(width, 60))]
    return "\n".join(lines)


def _lines(verdict: Verdict, width: int) -> list[str]:
    name = f"{verdict.erratum}  {verdict.id}" if verdict.erratum else verdict.id
    numbers = f"{verdict.value:.1e} ≤ {verdict.tolerance:.1e}"
    lines = [f"{WORDS[verdict.passed]:<7}{name:<28}  {numbers:<19}  {verdict.source}"]
    lines += _wrap(verdict.claim, width)
    for title, reading in (("printed", verdict.printed), ("corrected", verdict.corrected)):
        if reading:
            holds = verdict.holds in (title, "both")
            end = "holds" if holds else "does not hold"
            lines += _wrap(f"{title}: {reading[0]}: {reading[1]:.2g}, {end}", width)
    if verdict.reason:
        lines += _wrap(f"not decided: {verdict.reason}", width)
    return lines


def _wrap(words: str, width: int) -> list[str]:
    return textwrap.wrap(words, width, initial_indent=INDENT, subsequent_indent=INDENT + "  ")


def about(subject: Subject) -> str:
    """One line on what the claims were checked on."""
    n, columns = subject.features.shape
    line = f"{subject.name}: {n:,} nodes, {columns} columns, centred and scaled"
    line += f", seed {subject.seed}"
    if len(subject.sample) < n:
        line += f"; dense checks on a sample of {len(subject.sample)} nodes, linear ones on all"
    return line


def summary(verdicts: Sequence[Verdict], seconds: float) -> str:
    """One line on how it went."""
    counts = {word: sum(WORDS[v.passed] == word for v in verdicts) for word in WORDS.values()}
    parts = [f"{counts['holds']} of {len(verdicts)} claims hold"]
    if counts["FAILS"]:
        parts.append(f"{counts['FAILS']} fail")
    if counts["n/a"]:
        parts.append(f"{counts['n/a']} cannot be decided on these features")
    return f"{', '.join(parts)}; {seconds:.1f} s"
