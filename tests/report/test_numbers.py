"""report.json: strict, equal to the numbers returned, and to dense formulas."""

import json
import math
import re

import numpy as np
from support.reports import SMALL, refuse_constant

import gspnl
from gspnl import images
from gspnl.report import write_report
from gspnl.report.analysis import analyse
from gspnl.report.clock import Clock
from gspnl.report.numbers import strict


def test_report_json_is_strict_and_equals_the_returned_numbers(report):
    out, numbers, _, _ = report
    read = json.loads((out / "report.json").read_text(), parse_constant=refuse_constant)
    assert read == json.loads(json.dumps(numbers))
    promised = {"nodes", "rank", "normalization", "kernel", "eigenvalues", "seconds",
                "peak_bytes", "orders"}  # fmt: skip
    assert promised <= set(read)
    assert (read["nodes"], read["edges"], read["rank"]) == (1200, 1200**2, 12)
    assert [row["order"] for row in read["orders"]] == [1, 2, 3, 4, 5, 6]
    assert all(set(row) == {"order", "error", "bound", "seconds"} for row in read["orders"])
    assert read["peak_bytes"] > 10**7
    assert sorted(path.name for path in out.iterdir()) == read["files"]


def test_numbers_agree_with_dense_formulas(report):
    _, numbers, _, path = report
    photo = images.load_photo(path)
    X = images.photo_features(photo)
    A = gspnl.feature_graph(X, kernel="anchors", anchors=12, seed=0).dense()
    np.testing.assert_allclose(A, A.T, atol=1e-14)  # anchors: born bistochastic
    lam = np.sort(1 - np.linalg.eigvalsh(A))
    raised = np.repeat(numbers["eigenvalues"], numbers["multiplicities"])
    np.testing.assert_allclose(raised, lam, atol=1e-10)
    # The error of order 4, written out: the exact filter by all eigenvectors, the norm weighted by
    # the degrees, which are all 1 here.
    Z = photo.reshape(-1, 3)
    exact = np.linalg.solve(np.eye(1200) + 10 * (np.eye(1200) - A), Z)
    approximate = gspnl.feature_graph(X, kernel="anchors", anchors=12, seed=0).filter(
        Z, gspnl.responses.tikhonov(10), order=4
    )
    error = np.linalg.norm(exact - approximate) / np.linalg.norm(Z)
    row = numbers["orders"][3]
    assert math.isclose(row["error"], error, rel_tol=1e-6)
    assert row["error"] <= row["bound"]
    view = numbers["attention"][0]
    assert view["pixel"] == [3, 2]
    row = np.sort(A[2 * 40 + 3])[::-1]
    assert row[: view["half_in"]].sum() >= 0.5 > row[: view["half_in"] - 1].sum()
    assert math.isclose(view["largest"], 1200 * row[0], rel_tol=1e-9)


def test_every_check_applies_and_passes(report):
    _, numbers, _, _ = report
    assert {check["id"] for check in numbers["checks"]} == {
        "eigenpairs", "two-routes", "rows", "certificate"
    }  # fmt: skip
    assert all(check["passed"] for check in numbers["checks"])


def test_areas_of_one_colour_are_segments(report):
    _, numbers, _, path = report
    analysis = analyse(path, SMALL, Clock())
    y, x = np.indices((30, 40))
    areas = np.ravel(2 * (y > 15) + (x > 20))
    for label in range(len(analysis.segments.shares)):  # an area may hold several segments
        assert (
            np.bincount(areas[analysis.segments.labels == label]).max()
            > 0.97 * (analysis.segments.labels == label).sum()
        )
    assert len(numbers["segments"]) >= 4
    assert math.isclose(sum(s["share"] for s in numbers["segments"]), 1)
    assert [s["share"] for s in numbers["segments"]] == sorted(
        (s["share"] for s in numbers["segments"]), reverse=True
    )


def test_the_same_settings_give_the_same_numbers(report, tmp_path):
    _, numbers, _, path = report
    assert numbers["command"] == (
        f"gspnl report '{path}' --rank 12 --response 'tikhonov(10)' --orders 1:6 --seed 0 "
        "--pixel 3,2 --pixel 30,25"
    )
    again = write_report(path, tmp_path / "again", SMALL)
    volatile = {"seconds", "exact_seconds", "orders", "peak_bytes"}
    assert {k: v for k, v in again.items() if k not in volatile} == {
        k: v for k, v in numbers.items() if k not in volatile
    }
    assert [row["error"] for row in again["orders"]] == [row["error"] for row in numbers["orders"]]


def test_nan_and_infinity_become_none():
    assert strict({"a": [np.float64("nan"), math.inf, np.int64(3), np.array([1.5, -np.inf])]}) == {
        "a": [None, None, 3, [1.5, None]]
    }


def test_each_step_logs_a_line(report):
    _, numbers, lines, _ = report
    steps = [line.split()[0] for line in lines]
    assert [*steps, "total"] == list(numbers["seconds"])
    assert all(re.search(r"\d\.\d\d s", line) for line in lines)
