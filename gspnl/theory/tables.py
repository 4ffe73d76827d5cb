"""Format verdicts: text for a terminal, rows for JSON, Markdown for the documentation."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

from gspnl.theory.claims import CLAIMS, Verdict
from gspnl.theory.subject import Subject

WORDS = {True: "holds", False: "FAILS", None: "n/a"}
INDENT = " " * 7
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def rows(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Return one dict per verdict for strict JSON, with None for a number that is not finite."""
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
    """Format verdicts for a terminal: number, tolerance, source, claim, readings of errata."""
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
    """Describe the subject in one line: name, size, preparation and seed."""
    n, columns = subject.features.shape
    line = f"{subject.name}: {n:,} nodes, {columns} columns, centred and scaled"
    line += f", seed {subject.seed}"
    if len(subject.sample) < n:
        line += f"; dense checks on a sample of {len(subject.sample)} nodes, linear ones on all"
    return line


def summary(verdicts: Sequence[Verdict], seconds: float) -> str:
    """Summarise the outcome in one line: how many claims hold, fail or are undecided."""
    counts = {word: sum(WORDS[v.passed] == word for v in verdicts) for word in WORDS.values()}
    parts = [f"{counts['holds']} of {len(verdicts)} claims hold"]
    if counts["FAILS"]:
        parts.append(f"{counts['FAILS']} fail")
    if counts["n/a"]:
        parts.append(f"{counts['n/a']} cannot be decided on these features")
    return f"{', '.join(parts)}; {seconds:.1f} s"


def markdown(verdicts: Sequence[Verdict]) -> str:
    """Format verdicts as a MyST table: check, statement with equation, source and number.

    Parameters
    ----------
    verdicts : sequence of Verdict

    Returns
    -------
    str

    Examples
    --------
    >>> from gspnl import theory
    >>> verdicts = theory.verify(theory.Subject.random(), ["parseval"])
    >>> print(theory.tables.markdown(verdicts).splitlines()[2][:45])
    | [parseval](#gspnl.theory.theorem1.parseval)
    """
    lines = [
        "| claim and its check | statement | where | measured ≤ tolerance | |",
        "|---|---|---|---|---|",
    ]
    return "\n".join(lines + [_markdown_row(verdict) for verdict in verdicts])


def _markdown_row(verdict: Verdict) -> str:
    each = CLAIMS[verdict.id]
    check = f"{each.check.__module__}.{each.check.__qualname__}"
    tag = f"{verdict.erratum}: " if verdict.erratum else ""
    statement = f"{tag}{_escaped(verdict.claim)}. ${_formula(each.equation)}$"
    for title, reading in (("Printed", verdict.printed), ("Corrected", verdict.corrected)):
        if reading:
            holds = verdict.holds in (title.lower(), "both")
            end = "holds" if holds else "does not hold"
            statement += f"<br>*{title}*: {_escaped(reading[0])}: {number(reading[1])}, **{end}**"
    cells = [
        f"[{verdict.id}](#{check})",
        statement,
        _escaped(verdict.source),
        f"{number(verdict.value)} ≤ {number(verdict.tolerance)}: {_escaped(each.because)}",
        WORDS[verdict.passed],
    ]
    return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """Format a number with two digits, as 2.2·10⁻¹⁵.

    Examples
    --------
    >>> number(2.21e-15), number(0.5), number(0.0)
    ('2.2·10⁻¹⁵', '0.5', '0')
    """
    digits = f"{value:.2g}"
    if "e" not in digits:
        return digits
    front, exponent = digits.split("e")
    power = str(int(exponent)).translate(SUPERSCRIPTS)
    return f"10{power}" if front == "1" else f"{front}·10{power}"


def _escaped(words: str) -> str:
    """Escape the characters that are markup in a Markdown cell."""
    for mark in "\\|*_^<>[]$":
        words = words.replace(mark, f"\\{mark}")
    return words


def _formula(latex: str) -> str:
    r"""Replace the bars of a formula, which would end its cell."""
    return latex.replace(r"\|", r"\Vert ").replace("|", r"\vert ")
