"""Claims as Markdown, for the page of the documentation that lists them."""

from __future__ import annotations

from collections.abc import Sequence

from gspnl.theory.claims import CLAIMS, Verdict
from gspnl.theory.table import WORDS

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def markdown(verdicts: Sequence[Verdict]) -> str:
    """One MyST table: a row a claim, with its equation, its check and its measured number.

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
    >>> print(theory.page.markdown(verdicts).splitlines()[2][:52])
    | [parseval](#gspnl.theory.theorem.parseval) | the t
    """
    lines = [
        "| claim and its check | statement | where | measured ≤ tolerance | |",
        "|---|---|---|---|---|",
    ]
    return "\n".join(lines + [_row(verdict) for verdict in verdicts])


def _row(verdict: Verdict) -> str:
    each = CLAIMS[verdict.id]
    check = f"{each.check.__module__}.{each.check.__qualname__}"
    tag = f"{verdict.erratum}: " if verdict.erratum else ""
    statement = f"{tag}{_text(verdict.claim)}. ${_formula(each.equation)}$"
    for title, reading in (("Printed", verdict.printed), ("Corrected", verdict.corrected)):
        if reading:
            holds = verdict.holds in (title.lower(), "both")
            end = "holds" if holds else "does not hold"
            statement += f"<br>*{title}*: {_text(reading[0])}: {number(reading[1])}, **{end}**"
    cells = [
        f"[{verdict.id}](#{check})",
        statement,
        _text(verdict.source),
        f"{number(verdict.value)} ≤ {number(verdict.tolerance)}: {_text(each.because)}",
        WORDS[verdict.passed],
    ]
    return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """Two digits, as 2.2·10⁻¹⁵.

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


def _text(words: str) -> str:
    """Words, with what Markdown would take for markup in a cell escaped."""
    for mark in "\\|*_^<>[]$":
        words = words.replace(mark, f"\\{mark}")
    return words


def _formula(latex: str) -> str:
    r"""A formula without the bars that would end its cell."""
    return latex.replace(r"\|", r"\Vert ").replace("|", r"\vert ")
