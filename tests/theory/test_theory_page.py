"""docs/theory.md lists every claim, and its example runs."""

from __future__ import annotations

import inspect
import re

import pytest
from support.documents import blocks
from support.paths import ROOT

from gspnl import theory
from gspnl.theory.tables import markdown, number

PAGE = ROOT / "docs" / "theory.md"


@pytest.fixture(scope="module")
def shown():
    """Run the cells of the page; return the text that each displays."""
    pytest.importorskip("IPython")
    texts = []
    cells = blocks(PAGE, r"\{code-cell\}").replace('show("', 'SHOWN += show("')

    class Collected:
        def __iadd__(self, value):
            texts.append(value.data)
            return self

    space = {"__name__": "document", "SHOWN": Collected()}
    exec(compile(cells, str(PAGE), "exec", dont_inherit=True), space)
    return texts


def test_every_claim_is_on_the_page_once(shown):
    text = "\n".join(shown)
    for each in theory.ordered():
        check = f"{each.check.__module__}.{each.check.__qualname__}"
        assert text.count(f"[{each.id}](#{check})") == 1, each.id
    assert text.count("**does not hold**") == sum(bool(c.erratum) for c in theory.ordered())
    assert "FAILS" not in text
    assert "n/a" not in text


def test_every_row_has_five_cells_and_a_formula(shown):
    for table in shown:
        for line in table.splitlines()[2:]:
            assert len(re.findall(r"(?<!\\)\|", line)) == 6, line
            assert re.search(r"\$[^$]+\$", line), line


def test_every_check_is_in_the_api_reference():
    """The link of a claim leads to its check, under its module in the API reference."""
    listed = (ROOT / "docs" / "api" / "index.md").read_text()
    for each in theory.ordered():
        assert re.search(rf"^   {re.escape(each.check.__module__)}$", listed, re.MULTILINE), each.id
        assert inspect.getdoc(each.check)


def test_the_example_of_the_page_runs():
    source = blocks(PAGE, "python")
    try:
        exec(compile(source, str(PAGE), "exec", dont_inherit=True), {"__name__": "document"})
    finally:
        theory.CLAIMS.unregister("rows-average")


def test_numbers_have_two_digits():
    assert [number(v) for v in (1e-10, 2.21e-15, 1.0, 0.02)] == ["10⁻¹⁰", "2.2·10⁻¹⁵", "1", "0.02"]


def test_markup_characters_are_escaped():
    table = markdown(theory.verify(theory.Subject.random(), ["memory", "e9-histograms"]))
    assert r"\|μ₂\|\^k" in table
    assert r"\Vert" in table
