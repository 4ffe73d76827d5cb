"""Rename fields of recipes, or their values, in kept results, so that runs are recognised.

The name of a run has a digest of its recipe, so a renamed field or value changes the name of the
file too. Run this once in each output folder of ``gspnl tables`` after such a change:

    python docs/results/rename_fields.py docs/results --value schedule one_cycle linear
    python docs/results/rename_fields.py docs/results --field OLD NEW

Numbers are left as they are. Folders under ``runs`` keep their old names and are not resumed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from gspnl._base.files import replace
from gspnl.train.tables.grid import DEFAULT, run_id


def rename(path: Path, fields: dict[str, str], values: list[list[str]]) -> Path:
    """Rewrite one file of results under the name of its changed recipe."""
    result = json.loads(path.read_text(encoding="utf-8"))
    recipe = {fields.get(name, name): value for name, value in result["recipe"].items()}
    for name, old, new in values:
        if recipe.get(name) == old:
            recipe[name] = new
    target = path.with_name(f"{run_id({**DEFAULT, **recipe})}.json")
    content = json.dumps({**result, "recipe": recipe}, indent=1, allow_nan=False) + "\n"
    replace(target, content.encode())
    if target != path:
        path.unlink()
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="output folder of gspnl tables")
    parser.add_argument("--field", nargs=2, action="append", default=[], metavar=("OLD", "NEW"))
    parser.add_argument(
        "--value", nargs=3, action="append", default=[], metavar=("FIELD", "OLD", "NEW")
    )
    options = parser.parse_args()
    for path in sorted(options.folder.glob("results/*.json")):
        print(f"{path.name} -> {rename(path, dict(options.field), options.value).name}")


if __name__ == "__main__":
    main()
