"""The files of some tables: a page of all, and each as Markdown, LaTeX and PNG."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from gspnl._base import files
from gspnl.train.tables.answers import Answer
from gspnl.train.tables.drawing import draw
from gspnl.train.tables.folder import Folder, make
from gspnl.train.tables.latex import latex
from gspnl.train.tables.markdown import NOTE, markdown
from gspnl.train.tables.protocols import PROTOCOLS
from gspnl.train.tables.rows import Line, Table
from gspnl.train.tables.statistics import Difference

if TYPE_CHECKING:
    from gspnl.train.tables.planning import Tables


def write_tables(found: Tables, folder: Folder, *, pictures: bool = True) -> None:
    """Write ``README.md`` with all, ``tables.json``, and ``tables/NAME.md``, ``.tex`` and ``.png``.

    Parameters
    ----------
    found : Tables
    folder : Folder
    pictures : bool
        Write those too; drawing one takes a second.

    Raises
    ------
    FileError
        If a file cannot be written; the others stay whole.
    """
    make(folder.path / "tables")
    for table in found.tables:
        path = folder.page(found.protocol, table.grid.name)
        files.replace(path.with_suffix(".md"), f"{markdown(table, 1)}\n{NOTE}\n".encode())
        files.replace(path.with_suffix(".tex"), latex(table).encode())
        if pictures:
            files.replace(path.with_suffix(".png"), png(table))
    files.replace(folder.path / "README.md", page(found).encode())
    content = json.dumps(as_json(found), indent=1, allow_nan=False) + "\n"
    files.replace(folder.path / "tables.json", content.encode())


def png(table: Table) -> bytes:
    """A table as a picture."""
    figure = draw(table)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def page(found: Tables) -> str:
    """All tables on a page of Markdown, with the commands that make it."""
    made = " and ".join(f"`{command}`" for command in found.commands)
    goes = "goes" if len(found.commands) == 1 else "go"
    parts = [
        "# Results",
        f"{PROTOCOLS[found.protocol].about} Written by {made}, which {goes} on from "
        "what is there; the numbers of each run are in `results/`.",
        NOTE,
    ]
    return "\n\n".join([*parts, *(markdown(table) for table in found.tables)])


def as_json(found: Tables) -> dict[str, Any]:
    """Some tables as what JSON can hold; what is not known is None."""
    return {
        "protocol": found.protocol,
        "tables": [_table(table) for table in found.tables],
        "failed": dict(found.failed),
        "left": [{"run": name, "why": why} for name, why in found.left.items()],
    }


def _table(table: Table) -> dict[str, Any]:
    return {
        "table": table.grid.name,
        "title": table.grid.title,
        "setting": table.grid.setting,
        "done": table.done,
        "runs": table.runs,
        "rows": [_line(line) for line in table.lines],
        "paper": [_answer(answer) for answer in table.answers],
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
        "parameters": line.parameters,
        "flops": line.flops,
        "images_per_second": line.images_per_second,
        "peak_bytes": line.peak_bytes,
        "failures": {str(seed): reason for seed, reason in line.failures.items()},
        "skipped": line.skipped,
    }


def _difference(found: Difference | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "mean": found.mean,
        "low": found.low,
        "high": found.high,
        "pairs": list(found.pairs),
        "reading": found.reading,
    }


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "text": answer.statement.text,
        "value": answer.statement.value,
        "here": answer.label,
        "difference": _difference(answer.difference),
        "seeds": list(answer.seeds),
        "without": list(answer.without),
    }
