"""Read the code of a document."""

import re
from pathlib import Path


def blocks(path: Path, opening: str) -> str:
    """The code of a document, its blocks one after another, with their line numbers kept."""
    text = path.read_text()
    code = ["\n"] * (text.count("\n") + 1)
    for match in re.finditer(rf"^```{opening}[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        first = text[: match.start(1)].count("\n")
        for offset, line in enumerate(match.group(1).splitlines(keepends=True)):
            if not line.startswith(("%", ":", "---")):  # magics and cell options
                code[first + offset] = line
    return "".join(code)
