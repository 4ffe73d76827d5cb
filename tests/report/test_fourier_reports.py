"""Reports on rbf graphs of colours: Fourier sums, whose numbers agree with dense formulas."""

import json

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from support.reports import logged, picture, refuse_constant

from gspnl import images
from gspnl.report import Settings, write_report
from gspnl.report.analysis import analyse
from gspnl.report.clock import Clock

SETTINGS = Settings(kernel="rbf", sigma=0.08, position=0.0, orders="1:4", response="heat(2)")


@pytest.fixture
def every_size(monkeypatch):
    """Take Fourier sums for photos of every size: the cost model finds dense weights cheaper."""
    pytest.importorskip("finufft")
    monkeypatch.setattr("gspnl.report.graphs.EXACT", 0)


def dense(path, sigma, normalization="random_walk"):
    """Compute W of a photo's colours, d, and eigenpairs of I − S, by NumPy."""
    X = images.photo_features(images.load_photo(path), colour=1.0, position=0.0)
    W = np.exp(-((X[:, None] - X) ** 2).sum(-1) / (2 * sigma**2))
    d = W.sum(1)
    lam, V = np.linalg.eigh(np.eye(len(d)) - W / np.sqrt(np.outer(d, d)))
    return W, d, lam, V


def test_numbers_on_colours_agree_with_dense_formulas(tmp_path, every_size):
    path = picture(tmp_path / "photo.png", 18, 24)
    numbers = write_report(path, tmp_path / "out", SETTINGS)
    read = json.loads(
        (tmp_path / "out" / "report.json").read_text(), parse_constant=refuse_constant
    )
    assert read == json.loads(json.dumps(numbers))
    assert numbers["storage"] == "fourier"
    found = numbers["approximation"]
    assert found["method"] == "fourier"
    assert len(found["modes"]) == 3
    assert 0 < found["bound"] <= 1e-6
    W, d, lam, V = dense(path, 0.08)
    np.testing.assert_allclose(numbers["eigenvalues"], lam[:9], atol=found["bound"])
    assert numbers["multiplicities"] == [1] * 9
    assert (numbers["rank"], numbers["all_eigenvalues"]) == (None, False)
    # Order 2 against the exact filter, in the norm weighted by the degrees.
    Z = images.load_photo(path).reshape(-1, 3)
    root = np.sqrt(d)[:, None]
    exact = V @ (np.exp(-2 * lam)[:, None] * (V.T @ (root * Z)))
    plan = analyse(path, SETTINGS, Clock()).graph.chebyshev(SETTINGS.response_function, order=2)
    error = np.linalg.norm(exact - root * plan(Z)) / np.linalg.norm(root * Z)
    row = numbers["orders"][1]
    np.testing.assert_allclose(row["error"], error, atol=2 * found["bound"])
    assert row["error"] <= row["bound"]
    A = W / d[:, None]
    for view in numbers["attention"]:
        x, y = view["pixel"]
        assert np.isclose(view["largest"], len(d) * A[24 * y + x].max(), rtol=1e-6)
    assert {check["id"] for check in numbers["checks"]} == {
        "eigenpairs", "on-modes", "rows", "certificate"
    }  # fmt: skip
    assert all(check["passed"] for check in numbers["checks"])


@pytest.mark.parametrize("normalization", ["symmetric", "bistochastic"])
def test_checks_pass_in_other_normalisations(tmp_path, every_size, normalization):
    path = picture(tmp_path / "photo.png", 18, 24)
    settings = Settings(
        kernel="rbf", sigma=0.08, position=0.0, orders="1,2", normalization=normalization
    )
    numbers = write_report(path, tmp_path / "out", settings)
    assert numbers["storage"] == "fourier"
    assert all(check["passed"] for check in numbers["checks"])


def test_the_page_names_the_sum_and_its_bound(tmp_path, every_size):
    path = picture(tmp_path / "photo.png", 18, 24)
    numbers = write_report(path, tmp_path / "out", SETTINGS)
    page = (tmp_path / "out" / "report.html").read_text()
    modes = " × ".join(map(str, numbers["approximation"]["modes"]))
    assert f"are Fourier sums of {modes} modes" in page
    bound = f"{numbers['approximation']['bound']:.2e}".replace("-", "−")
    assert f"‖<i>S</i> − <i>Ŝ</i>‖ ≤ {bound}" in page
    assert "The 9 lowest eigenvalues" in page
    assert "has rank" not in page


def test_narrow_weights_of_five_features_and_small_photos_are_exact(tmp_path, monkeypatch):
    path = picture(tmp_path / "photo.png", 18, 24)
    small = write_report(path, tmp_path / "small", SETTINGS)
    monkeypatch.setattr("gspnl.report.graphs.EXACT", 0)
    with_position = Settings(kernel="rbf", sigma=0.02, orders="1,2")
    five = write_report(path, tmp_path / "five", with_position)
    for numbers in (small, five):
        assert (numbers["storage"], numbers["approximation"]) == ("dense", None)
        assert sum(numbers["multiplicities"]) == numbers["nodes"]


def test_without_finufft_weights_are_exact(tmp_path, monkeypatch, every_size):
    path = picture(tmp_path / "photo.png", 18, 24)
    monkeypatch.setattr("gspnl._base.extras.spec", lambda name: None)
    with logged() as lines:
        analysis = analyse(path, SETTINGS, Clock())
    assert analysis.graph.storage == "dense"
    assert any("pip install 'gspnl[fourier]'" in line for line in lines)


def test_a_refused_sum_takes_a_larger_tolerance(tmp_path, monkeypatch, every_size):
    monkeypatch.setattr("gspnl.report.graphs.TOLERANCES", (1e-30, 1e-5))
    path = picture(tmp_path / "photo.png", 18, 24)
    graph = analyse(path, SETTINGS, Clock()).graph
    assert 1e-30 < graph.approximation.bound <= 1e-5
    monkeypatch.setattr("gspnl.report.graphs.TOLERANCES", (1e-30,))
    with logged() as lines:
        assert analyse(path, SETTINGS, Clock()).graph.storage == "dense"
    assert any("no graph of tolerance 1e-30" in line for line in lines)


def test_a_wide_sigma_is_of_low_rank(tmp_path):
    """Five features, more pixels than are exact: the numbers agree with dense formulas."""
    path = picture(tmp_path / "photo.png", 45, 60)
    numbers = write_report(path, tmp_path / "out", Settings(kernel="rbf", sigma=2.0, orders="1,2"))
    assert (numbers["storage"], numbers["approximation"]["method"]) == ("lowrank", "cholesky")
    assert sum(numbers["multiplicities"]) == numbers["nodes"]
    X = images.photo_features(images.load_photo(path))
    gaps = cdist(X, X, "sqeuclidean")
    W = np.exp(-gaps / 8)
    d = W.sum(1)
    lam = np.linalg.eigvalsh(np.eye(len(d)) - W / np.sqrt(np.outer(d, d)))[:9]
    raised = np.repeat(numbers["eigenvalues"], numbers["multiplicities"])[:9]
    np.testing.assert_allclose(raised, lam, atol=numbers["approximation"]["bound"])
    assert all(check["passed"] for check in numbers["checks"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "certified to differ" in page
    assert "Choice of the storage, by the cost model: lowrank" in page
