"""The number of the package's own function calls behind one call of a user.

The counts were 150 (dot), 243 (rbf) and 3,898 (tables) when this was written.
"""

from __future__ import annotations

import numpy as np
import pytest
from support.calls import count_calls

import gspnl


def test_calls_are_counted():
    counts = count_calls(lambda: gspnl.responses.heat(2.0)(np.linspace(0, 2, 5)))
    assert counts["responses/smooth.py:heat.__call__"] == 1


@pytest.mark.parametrize("kernel", ["dot", "rbf"])
def test_a_chebyshev_filter_makes_few_calls(kernel):
    X = np.random.default_rng(0).standard_normal((300, 8))
    g = gspnl.responses.heat(2.0)
    gspnl.feature_graph(X, kernel).filter(X, g, order=8)  # imports are not counted
    graph = gspnl.feature_graph(X, kernel)
    assert count_calls(lambda: graph.filter(X, g, order=8)).total() <= 250


def test_planning_a_table_makes_few_calls(tmp_path, capsys, monkeypatch):
    from gspnl import cli
    from gspnl.train import Recipe

    words = ["tables", "5", "--protocol", "mini", "--no-run", "--quiet"]
    cli.main([*words, "--out", str(tmp_path / "first")])
    recipes, validate = [], Recipe.__init__

    def count(recipe, **fields):
        recipes.append(fields)
        validate(recipe, **fields)

    monkeypatch.setattr(Recipe, "__init__", count)
    counts = count_calls(lambda: cli.main([*words, "--out", str(tmp_path / "second")]))
    assert counts.total() <= 5000
    assert 0 < len(recipes) <= 30  # 24 runs, and the recipe they edit
