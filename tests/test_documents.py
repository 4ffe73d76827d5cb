"""The Python in notebooks and documents runs as it stands, and asserts what it claims."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.md"))
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "docs" / "architecture.md",
    ROOT / "docs" / "blocks.md",
    ROOT / "docs" / "index.md",
    *sorted((ROOT / "docs" / "howto").glob("*.md")),
]


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


def run(path: Path, opening: str) -> dict[str, object]:
    source = blocks(path, opening)
    assert source.strip(), f"{path.name} holds no code"
    space: dict[str, object] = {"__name__": "document"}
    exec(compile(source, str(path), "exec", dont_inherit=True), space)
    return space


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks(path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    try:
        run(path, r"\{code-cell\}")
    finally:
        pyplot.close("all")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.stem)
def test_documents(path, registries_as_they_were):
    run(path, "python")


@pytest.fixture
def registries_as_they_were():
    """Forget what a document registers."""
    from gspnl.kernels import KERNELS
    from gspnl.nn import BLOCKS
    from gspnl.normalization import NORMALIZATIONS
    from gspnl.responses import RESPONSES
    from gspnl.train.backbones import BACKBONES
    from gspnl.train.data import AUGMENTATIONS, DATASETS
    from gspnl.train.recipes import RECIPES
    from gspnl.train.schedules import SCHEDULES
    from gspnl.train.tables import GRIDS, PROTOCOLS
    from gspnl.weights import STORAGES

    registries = (
        AUGMENTATIONS, BACKBONES, BLOCKS, DATASETS, GRIDS, KERNELS, NORMALIZATIONS, PROTOCOLS,
        RECIPES, RESPONSES, SCHEDULES, STORAGES,
    )  # fmt: skip
    before = [set(registry) for registry in registries]
    yield
    for registry, names in zip(registries, before, strict=True):
        for name in set(registry) - names:
            registry.unregister(name)


def test_a_claim_that_fails_would_be_seen(tmp_path):
    """The harness itself can fail."""
    path = tmp_path / "claim.md"
    path.write_text("text\n\n```{code-cell} ipython3\n:tags: [x]\n%magic\nassert 1 == 2\n```\n")
    with pytest.raises(AssertionError):
        run(path, r"\{code-cell\}")
