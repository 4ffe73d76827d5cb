"""The Python code in notebooks and documents runs, with its assertions."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.documents import blocks
from support.paths import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.md"))
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "docs" / "blocks.md",
    ROOT / "docs" / "index.md",
    *sorted((ROOT / "docs" / "howto").glob("*.md")),
]


def run(path: Path, opening: str) -> dict[str, object]:
    source = blocks(path, opening)
    assert source.strip(), f"{path.name} holds no code"
    space: dict[str, object] = {"__name__": "document"}
    exec(compile(source, str(path), "exec", dont_inherit=True), space)
    return space


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_code_of_notebooks_runs(path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    try:
        run(path, r"\{code-cell\}")
    finally:
        pyplot.close("all")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.stem)
def test_the_code_of_documents_runs(path, registries_as_they_were):
    run(path, "python")


@pytest.fixture
def registries_as_they_were():
    """Remove what a document registers."""
    from gspnl.affinity.kernels import KERNELS
    from gspnl.affinity.normalization import NORMALIZATIONS
    from gspnl.affinity.weights import STORAGES
    from gspnl.nn import BLOCKS
    from gspnl.responses import RESPONSES
    from gspnl.train.backbones import BACKBONES
    from gspnl.train.data import AUGMENTATIONS, DATASETS
    from gspnl.train.recipes import RECIPES, SCHEDULES
    from gspnl.train.tables import GRIDS, PROTOCOLS

    registries = (
        AUGMENTATIONS, BACKBONES, BLOCKS, DATASETS, GRIDS, KERNELS, NORMALIZATIONS, PROTOCOLS,
        RECIPES, RESPONSES, SCHEDULES, STORAGES,
    )  # fmt: skip
    before = [set(registry) for registry in registries]
    yield
    for registry, names in zip(registries, before, strict=True):
        for name in set(registry) - names:
            registry.unregister(name)


def test_a_failing_assertion_in_a_document_fails_the_test(tmp_path):
    """The test itself can fail."""
    path = tmp_path / "claim.md"
    path.write_text("text\n\n```{code-cell} ipython3\n:tags: [x]\n%magic\nassert 1 == 2\n```\n")
    with pytest.raises(AssertionError):
        run(path, r"\{code-cell\}")
