"""Plots of attention heads, compared with the numbers that they draw."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from gspnl import plotting
from gspnl.errors import InputError


def head(layer, number, gap=None, mu=None):
    return SimpleNamespace(layer=layer, head=number, gap=gap, eigenvalues=mu)


def test_a_map_has_a_row_a_layer_and_a_column_a_head():
    heads = [head("a", 0, 0.1), head("a", 1, 0.2), head("b", 0, 0.3)]
    ax = plotting.head_map(heads, "gap")
    values = ax.images[0].get_array()
    np.testing.assert_array_equal(values.mask, [[False, False], [False, True]])
    np.testing.assert_allclose(values.compressed(), [0.1, 0.2, 0.3])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert sorted(text.get_text() for text in ax.texts) == ["0.10", "0.20", "0.30"]
    assert ax.images[0].get_clim() == (0, 1)


def test_a_layer_that_is_called_again_has_a_row_of_its_own():
    heads = [head("a", 0, 0.1), head("a", 1, 0.2), head("a", 0, 0.3), head("a", 1, 0.4)]
    values = plotting.head_map(heads, "gap").images[0].get_array()
    np.testing.assert_allclose(values, [[0.1, 0.2], [0.3, 0.4]])


def test_a_number_that_all_heads_share_is_drawn():
    for gap in (0.0, 0.5, 1.0):
        ax = plotting.head_map([head("a", 0, gap)], "gap")
        np.testing.assert_allclose(ax.images[0].get_array(), [[gap]])
        ax.figure.canvas.draw()


def test_eigenvalues_are_drawn_in_the_complex_plane_on_given_axes():
    from gspnl.plotting._axes import new_axes

    mu = np.array([1, 0.5j, -0.5j])
    given = new_axes(4, 4)
    ax = plotting.head_eigenvalues([head("a", 0, mu=mu), head("b", 0)], ax=given)
    assert ax is given
    points = [line for line in ax.lines if line.get_marker() == "."]
    (line,) = points
    np.testing.assert_allclose(line.get_xdata(), mu.real)
    np.testing.assert_allclose(line.get_ydata(), mu.imag)
    circle = ax.lines[0]
    radius = np.hypot(circle.get_xdata(), circle.get_ydata())
    np.testing.assert_allclose(radius, 1)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


def test_heads_without_eigenvalues_are_told():
    ax = plotting.head_eigenvalues([head("", 0)])
    assert any("no head has eigenvalues" in text.get_text() for text in ax.texts)


def test_smoothing_is_drawn_layer_by_layer():
    layers = [
        SimpleNamespace(layer=name, off_mean=off, dirichlet=energy)
        for name, off, energy in (("a", 0.9, 1.0), ("b", None, 0.8), ("c", 0.3, 0.5))
    ]
    ax = plotting.smoothing_by_depth(layers)
    energy, share = ax.lines
    np.testing.assert_allclose(energy.get_ydata(), [1.0, 0.8, 0.5])
    np.testing.assert_allclose(share.get_ydata(), [0.9, np.nan, 0.3])
    assert ax.get_ylim()[1] > 1
    bare = [SimpleNamespace(layer="a", off_mean=None, dirichlet=None)]
    assert plotting.smoothing_by_depth(bare).lines[:] == []


def test_nothing_to_draw_is_refused():
    with pytest.raises(InputError, match="no heads"):
        plotting.head_map([], "gap")
    with pytest.raises(InputError, match="number='mood' must be one of"):
        plotting.head_map([head("a", 0)], "mood")
    with pytest.raises(InputError, match="no layers"):
        plotting.smoothing_by_depth([])
