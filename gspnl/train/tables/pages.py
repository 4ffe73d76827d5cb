"""Write tables as Markdown, LaTeX and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from gspnl.errors import MissingExtraError
from gspnl.train.tables.columns import REPORTED, TEXTS, cells, reported, so_far
from gspnl.train.tables.existing import write
from gspnl.train.tables.grid import BACKBONE
from gspnl.train.tables.grids import PROTOCOLS
from gspnl.train.tables.statistics import Difference
from gspnl.train.tables.table import POOLS, Line, Table, Tables, answers

NOTE = (
    "Accuracy is the test accuracy after the last epoch, mean ± standard deviation over seeds. "
    "Differences to the backbone are paired by seed, with the 95 % interval of Student's t; "
    '"inside the noise" means that the interval contains 0. The column "seeds" counts finished '
    'runs, and as "paired" the seeds that the backbone has too, where they are fewer. The best of '
    "several rows is picked on the seeds that all of them have; rows without results are left out. "
    "FLOPs are those of one image, forward. Images/s and memory were measured in training on the "
    "machine of the runs; memory is without what the process held before training."
)
MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\|`*_<>"})
LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"$<$", ">": r"$>$", "|": r"$|$", "±": r"$\pm$", "−": "$-$", "–": "--", "≥": r"$\ge$",
    "≤": r"$\le$", "×": r"$\times$", "₀": "$_0$", "₁": "$_1$", "₂": "$_2$", "₃": "$_3$",
    "…": r"\ldots{}",
})  # fmt: skip


def write_tables(found: Tables, folder: Path) -> None:
    """Write ``README.md`` with all tables, ``tables.json``, and ``tables/NAME.md`` and ``.tex``."""
    origin = " and ".join([f"`{command}`" for command in found.commands])
    parts = [
        "# Results",
        f"{PROTOCOLS[found.protocol].about} Written by {origin}. Finished runs are not repeated; "
        "the numbers of each run are in `results/`.",
        NOTE,
    ]
    for table in found.tables:
        path, text = folder / "tables" / f"{found.protocol}-{table.grid.name}", markdown(table)
        write(path.with_suffix(".md"), f"{text[1:]}\n{NOTE}\n")
        write(path.with_suffix(".tex"), latex(table))
        parts.append(text)
    write(folder / "README.md", "\n\n".join(parts))
    write(folder / "tables.json", json.dumps(as_json(found), indent=1, allow_nan=False) + "\n")


def markdown(table: Table) -> str:
    """A table in Markdown, with the paper's statements beside ours, and the runs that failed."""
    parts = [
        f"## {table.grid.title}",
        f"{table.grid.setting.translate(MARKDOWN)}. {so_far(table)}",
        grid(*cells(table), MARKDOWN, "pipe"),
        grid(REPORTED, reported(table), MARKDOWN, "pipe") + "\n",
    ]
    failures = [
        f"- {line.row.label}, seed {seed} failed: {reason.translate(MARKDOWN)}\n"
        for line in table.lines
        for seed, reason in line.failures.items()
    ]
    return "\n\n".join(parts) + "".join(["\n", *failures] if failures else [])


def latex(table: Table) -> str:
    r"""A table as two LaTeX ``tabular`` that need no package, to be read by ``\input``."""
    about = f"{table.grid.title}. {table.grid.setting}. {so_far(table)}".replace("\n", " ")
    parts = [
        f"% {about.encode('ascii', 'replace').decode()}",
        grid(*cells(table), LATEX, "latex_raw"),
        "\\par\\bigskip",
        grid(REPORTED, reported(table), LATEX, "latex_raw"),
    ]
    return "\n".join(parts) + "\n"


def grid(
    headings: Sequence[str], rows: Sequence[Sequence[str]], escapes: dict[int, str], form: str
) -> str:
    """Lay out one table in a format of tabulate, its texts escaped, numbers to the right."""
    try:
        from tabulate import tabulate
    except ImportError as error:
        raise MissingExtraError(
            "tables need tabulate, which is not installed: pip install 'gspnl[train]'"
        ) from error
    sides = ["left" if heading in TEXTS else "right" for heading in headings]
    lines = [[text.translate(escapes) for text in line] for line in (headings, *rows)]
    if form == "latex_raw":  # {} before a bracket: after \\ LaTeX takes [ for a length
        lines = [["{}" + first, *others] for first, *others in lines]
    return str(tabulate(lines[1:], lines[0], form, disable_numparse=True, colalign=sides))


def as_json(found: Tables) -> dict[str, Any]:
    """Convert tables to types that JSON has; unknown numbers are None."""
    return {
        "protocol": found.protocol,
        "tables": [
            {
                "table": table.grid.name,
                "title": table.grid.title,
                "setting": table.grid.setting,
                "done": table.done,
                "runs": table.runs,
                "rows": [_line(line) for line in table.lines],
                "paper": [
                    {
                        "text": answer.statement.text,
                        "value": answer.statement.value,
                        "here": answer.label,
                        "difference": _difference(answer.difference),
                        "seeds": list(answer.seeds),
                        "without": list(answer.without),
                    }
                    for answer in answers(table)
                ],
            }
            for table in found.tables
        ],
        "failed": dict(found.failed),
        "left": [{"run": name, "why": why} for name, why in found.left.items()],
    }


def _line(line: Line) -> dict[str, Any]:
    mean, sd = line.accuracy or (None, None)
    return {
        "condition": line.row.group,
        "label": line.row.label,
        "block": line.row.block,
        "seeds": sorted(line.accuracies),
        "accuracies": [line.accuracies[seed] for seed in sorted(line.accuracies)],
        "accuracy": mean,
        "sd": sd,
        "difference": _difference(line.difference),
        "paired_seeds": sorted(line.differences),
        "failures": {str(seed): reason for seed, reason in line.failures.items()},
        **{name: getattr(line, name) for name in POOLS},
    }


def _difference(found: Difference | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {**asdict(found), "pairs": list(found.pairs), "reading": found.reading}


def commands(
    protocol: str, tables: Sequence[Table], asked: Sequence[str] = (), only: Sequence[str] = ()
) -> tuple[str, ...]:
    """The commands that reproduce some tables, or more if a block has results in some rows only.

    ``only`` are the blocks that were run last in the tables named by ``asked``.
    """
    groups: dict[tuple[tuple[int, ...], tuple[str, ...]], list[Table]] = {}
    for table in tables:
        blocks = _blocks(table, only) if only and table.grid.name in asked else ()
        groups.setdefault((table.lines[0].seeds, blocks), []).append(table)
    found = []
    for (seeds, blocks), group in groups.items():
        # Seeds less their positions are equal within a range without gaps.
        for _, pairs in groupby(enumerate(seeds), key=lambda pair: pair[1] - pair[0]):
            (_, first), *others = pairs
            words = ["gspnl tables", *[table.grid.name for table in group]]
            words += ["--protocol", protocol, "--seeds", str(1 + len(others))]
            words += ["--seed", str(first)] if first else []
            words += ["--only", ",".join(blocks)] if blocks else []
            skipped = any(line.skipped for table in group for line in table.lines)
            words += ["--skip-bad"] if skipped else []
            found.append(" ".join([*words, "--data DATA"]))
    return tuple(found)


def _blocks(table: Table, only: Sequence[str]) -> tuple[str, ...]:
    """The blocks that the page shows; none, if it is all of them."""
    blocks = dict.fromkeys(line.row.block for line in table.lines if line.row.recipe.block)
    done = {line.row.block for line in table.lines if line.accuracies}
    shown = tuple(block for block in blocks if block in only or block in done)
    return () if len(shown) == len(blocks) else shown or (BACKBONE,)
