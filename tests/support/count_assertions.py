"""Count the assertions of tests by room: python tests/support/count_assertions.py [FOLDER ...].

Counted are ``assert``, ``pytest.raises``, ``pytest.warns`` and calls of functions ``assert_*``.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path


def count(source: str) -> int:
    """Return the number of assertions in Python source."""
    found = 0
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert):
            found += 1
        elif isinstance(node, ast.Call):
            function = node.func
            name = getattr(function, "attr", None) or getattr(function, "id", "")
            found += name in ("raises", "warns") or name.startswith("assert_")
    return found


if __name__ == "__main__":
    tests = Path(__file__).parents[1]
    folders = [Path(word) for word in sys.argv[1:]] or sorted(
        p for p in tests.iterdir() if p.is_dir()
    )
    counts = {
        folder: sum(count(path.read_text()) for path in folder.rglob("*.py")) for folder in folders
    }
    for folder, number in counts.items():
        print(f"{number:6} {folder.name}")
    print(f"{sum(counts.values()):6} in all")
