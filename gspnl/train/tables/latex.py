"""Tables as LaTeX: a ``tabular`` that needs no package."""

from __future__ import annotations

from collections.abc import Sequence

from gspnl.train.tables.markdown import NUMBERS
from gspnl.train.tables.rows import Table
from gspnl.train.tables.texts import REPORTED, cells, reported, so_far

ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"$<$", ">": r"$>$", "|": r"$|$", "±": r"$\pm$", "−": "$-$", "–": "--", "≥": r"$\ge$",
    "≤": r"$\le$", "×": r"$\times$", "₀": "$_0$", "₁": "$_1$", "₂": "$_2$", "₃": "$_3$",
    "…": r"\ldots{}",
}  # fmt: skip


def latex(table: Table) -> str:
    r"""Write a table as two ``tabular``: the rows, and the paper's statements beside ours.

    Parameters
    ----------
    table : Table

    Returns
    -------
    str
        To be read by ``\input``.
    """
    headings, rows = cells(table)
    parts = [
        f"% {_ascii(table.grid.title)}. {_ascii(table.grid.setting)}. {so_far(table)}",
        tabular(headings, rows),
        "\\par\\bigskip",
        tabular(REPORTED, reported(table)),
    ]
    return "\n".join(parts) + "\n"


def tabular(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """One ``tabular``, numbers to the right."""
    kinds = "".join("r" if heading in NUMBERS else "l" for heading in headings)
    lines = [f"\\begin{{tabular}}{{{kinds}}}", "\\hline", _line(headings), "\\hline"]
    lines += [_line(row) for row in rows]
    return "\n".join([*lines, "\\hline", "\\end{tabular}"])


def _line(texts: Sequence[str]) -> str:
    # {} before a bracket: after \\ LaTeX takes [ for a length.
    return "{}" + " & ".join(map(escape, texts)) + r" \\"


def escape(text: str) -> str:
    r"""Text that LaTeX sets as it stands.

    Examples
    --------
    >>> print(escape("50 % of a_b"))
    50 \% of a\_b
    """
    return "".join(ESCAPES.get(character, character) for character in text)


def _ascii(text: str) -> str:
    return text.replace("\n", " ").encode("ascii", "replace").decode()
