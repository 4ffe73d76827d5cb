"""Estimates, refusals and progress of long work."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest

import gspnl
from gspnl._base import effort
from gspnl.errors import EffortError, InputError


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_short_work_costs_nothing_and_shows_nothing(monkeypatch):
    stderr = Terminal()
    monkeypatch.setattr("sys.stderr", stderr)
    with effort.work("a product", 1e6, 3) as shown:
        shown.done += 1
    assert not isinstance(shown, effort.Work)
    assert stderr.getvalue() == ""


def test_hopeless_work_is_refused_with_its_estimate_unless_insisted(monkeypatch):
    monkeypatch.setattr(effort, "rate", lambda: 1e9)
    with (
        pytest.raises(
            EffortError, match=r"everything would take about 2.8 h .*; use less; .*hours=4.2"
        ),
        effort.work("everything", 1e13, 0, "use less"),
    ):
        pass
    with gspnl.patience(hours=3), effort.work("everything", 1e13) as shown:
        assert shown.estimate == pytest.approx(1e4)
    for hours in (0, -1, "3", np.nan):
        with pytest.raises(InputError, match="hours="), gspnl.patience(hours):
            pass


def test_work_is_shown_on_a_terminal_and_silent_elsewhere(monkeypatch):
    monkeypatch.setattr(effort, "WAIT", 0.02)
    monkeypatch.setattr(effort, "EVERY", 0.02)
    for stderr, show, seen in (
        (Terminal(), None, True), (io.StringIO(), None, False),
        (io.StringIO(), True, True), (Terminal(), False, False),
    ):  # fmt: skip
        monkeypatch.setattr("sys.stderr", stderr)
        with gspnl.progress(show), effort.Work("outer", total=4) as outer:
            outer.done = 2
            with effort.Work("inner"):
                time.sleep(0.15)
        assert ("outer 2/4, inner: 0 s" in stderr.getvalue()) is seen
        assert not seen or stderr.getvalue().endswith("\x1b[K")  # the line is cleared


def test_a_call_takes_progress(monkeypatch):
    monkeypatch.setattr(effort, "WAIT", 0.001)
    monkeypatch.setattr(effort, "EVERY", 0.001)
    monkeypatch.setattr(effort, "QUICK", 0.0)
    X = np.random.default_rng(0).random((400, 2))
    seen = []

    def show(work):
        seen.append(str(work))

    graph = gspnl.feature_graph(X, "rbf", sigma=0.3, tol=1e-2, progress=show)
    assert any("approximation" in line for line in seen)
    seen.clear()
    gspnl.choose_strength(graph, X, sigma=0.1, progress=show)
    assert any("strength" in line for line in seen)
    assert gspnl.spectral_clustering(graph, 2, progress=False).shape == (400,)
    with pytest.raises(InputError, match="progress=3 must be"):
        graph.filter(X, gspnl.responses.heat(1.0), progress=3)


def test_a_tolerance_that_is_not_reached_in_time_is_refused_with_its_rank(monkeypatch):
    from gspnl.affinity.approximation import forecast

    monkeypatch.setattr(forecast, "FIRST", 0.0)
    monkeypatch.setattr(forecast, "EARLY", 1e-3)
    X = np.random.default_rng(0).random((3000, 3))
    with pytest.raises(EffortError, match=r"tol=0.001 needs .*rank.* by the decay .*patience"):
        gspnl.feature_graph(X, "rbf", sigma=0.1, tol=1e-3, approximation="cholesky")
    with gspnl.patience(hours=1):
        graph = gspnl.feature_graph(X, "rbf", sigma=1.0, tol=1e-3, approximation="cholesky")
    assert graph.approximation.bound <= 1e-3
