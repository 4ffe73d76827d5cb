"""Draw docs/_static/rooms.svg, the rooms of gspnl and the imports between them.

    python docs/draw_rooms.py

Each row is a room, each column a room that it may import. A blue cell says that a file of the
row imports one of the column, for type checking or to run. A blue cell left of the diagonal would
be an import that goes up.
"""

from __future__ import annotations

import ast
import re
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "_static" / "rooms.svg"
CELL, LEFT, TOP, TEXT = 34, 108, 96, 560
BLUE, GREY, INK = "#2f6db3", "#e8ebef", "#1f2430"


def rooms() -> list[str]:
    """Return the rooms from top to bottom, as the contract in pyproject.toml lists them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return list(settings["tool"]["importlinter"]["contracts"][0]["layers"])


def summary(room: str) -> str:
    """Return the first line of the room's docstring as plain text, without its full stop."""
    path = ROOT / "gspnl" / room / "__init__.py"
    path = path if path.exists() else ROOT / "gspnl" / f"{room}.py"
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    line = docstring.partition("\n")[0].partition(". ")[0].rstrip(".").replace("``", "")
    return re.sub(r":\w+:`([^`]*)`", r"\1", line).replace("\\lambda", "λ")


def imports() -> set[tuple[str, str]]:
    """Return (room, other) where a file of the room imports one of the other."""
    known = set(rooms())
    found = set()
    for path in sorted((ROOT / "gspnl").rglob("*.py")):
        here = path.relative_to(ROOT / "gspnl").parts[0].removesuffix(".py")
        if here not in known:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                modules = [node.module]
                if node.module == "gspnl":
                    modules = [f"gspnl.{alias.name}" for alias in node.names]
            else:
                continue
            for module in modules:
                parts = module.split(".")
                if parts[0] == "gspnl" and len(parts) > 1 and parts[1] in known - {here}:
                    found.add((here, parts[1]))
    return found


def draw() -> str:
    """Return the picture as SVG."""
    names, found = rooms(), imports()
    width, height = LEFT + len(names) * CELL + TEXT, TOP + len(names) * CELL + 16
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="13" fill="{INK}" role="img">',
        "<title>The rooms of gspnl and the imports between them</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for j, name in enumerate(names):
        x, y = LEFT + (j + 0.5) * CELL, TOP - 8
        out.append(f'<text x="{x}" y="{y}" transform="rotate(-55 {x} {y})">{name}</text>')
    for i, name in enumerate(names):
        y = TOP + i * CELL
        base = y + CELL / 2 + 4
        out.append(
            f'<text x="{LEFT - 10}" y="{base}" text-anchor="end" font-weight="bold">{name}</text>'
        )
        for j, other in enumerate(names):
            if j < i and (name, other) not in found:
                continue
            fill = INK if i == j else BLUE if (name, other) in found else GREY
            tip = f"<title>{name} imports {other}</title>" if fill == BLUE else ""
            out.append(
                f'<rect x="{LEFT + j * CELL + 1}" y="{y + 1}" width="{CELL - 2}" '
                f'height="{CELL - 2}" rx="3" fill="{fill}">{tip}</rect>'
            )
        x = LEFT + len(names) * CELL + 12
        out.append(f'<text x="{x}" y="{base}" font-size="12">{escape(summary(name))}</text>')
    return "\n".join([*out, "</svg>", ""])


if __name__ == "__main__":
    TARGET.write_text(draw())
    print(f"wrote {TARGET.relative_to(ROOT)}")
