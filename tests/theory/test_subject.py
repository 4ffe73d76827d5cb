"""Features of all kinds: degenerate, large, badly scaled, refused."""

from __future__ import annotations

import numpy as np
import pytest

from gspnl import theory
from gspnl.errors import InputError
from gspnl.theory import Subject

IDS = [each.id for each in theory.ordered()]
rng = np.random.default_rng(3)
DEGENERATE = {
    "equal rows": np.full((20, 3), 1e8 / 3),
    "zeros": np.zeros((10, 2)),
    "three nodes": rng.standard_normal((3, 4)),
    "two nodes": rng.standard_normal((2, 1)),
    "two equal nodes": np.ones((2, 1)),
    "constant column": np.c_[rng.standard_normal(50), np.ones(50)],
    "huge": 1e300 * rng.standard_normal((50, 3)),
    "1e8": 1e8 * rng.standard_normal((50, 3)),
    "1e-8": 1e-8 * rng.standard_normal((50, 3)),
    "subnormal": 1e-310 * rng.standard_normal((50, 3)),
    "float32": rng.standard_normal((50, 3)).astype(np.float32),
    "outlier": np.r_[rng.standard_normal((50, 3)), [[1e8, 1, 1]]],
    "far clusters": np.r_[rng.standard_normal((50, 3)), 100 + rng.standard_normal((50, 3))],
    "heavy tails": rng.standard_cauchy((200, 3)),
    "duplicates": np.repeat(rng.standard_normal((5, 3)), 20, axis=0),
    "many columns": rng.standard_normal((40, 2000)),
    "bytes": rng.integers(0, 256, (300, 4)),
}
WITHOUT_FEATURES = {
    "narrow-band",
    "deflation-table",
    "e9-attention",
}  # these build their own graphs


# Claims are measured in the norm of T, in which spread degrees lose no digits.
@pytest.mark.filterwarnings("ignore::gspnl.errors.PrecisionWarning")
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_features_are_decided_or_have_a_reason(name):
    subject = Subject.of(DEGENERATE[name])
    ids = [each for each in IDS if each not in WITHOUT_FEATURES]
    for verdict in theory.verify(subject, ids):
        assert verdict.passed is not False, verdict
        assert verdict.passed or verdict.reason
        if not verdict.erratum:
            assert verdict.passed, verdict


def test_features_are_centred_and_scaled():
    X = np.random.default_rng(0).standard_normal((40, 3))
    one, other = Subject.of(X), Subject.of(1e6 * X + 5.0)
    np.testing.assert_allclose(one.features, other.features, atol=1e-9)
    assert abs(np.sqrt((one.features**2).mean()) - 1) < 1e-12


def test_dense_checks_sample_large_features_and_linear_checks_do_not():
    X = np.random.default_rng(0).standard_normal((3000, 4))
    subject = Subject.of(X, seed=5)
    assert subject.sample.shape == (160, 4)
    np.testing.assert_array_equal(subject.sample, Subject.of(X, seed=5).sample)
    verdicts = {v.id: v for v in theory.verify(subject, ["parseval", "memory", "one-pass"])}
    assert {v.nodes for v in verdicts.values()} == {160, 3000}
    assert verdicts["parseval"].nodes == verdicts["one-pass"].nodes == 3000
    assert all(v.passed for v in verdicts.values())


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones(3), "features have shape"),
        (np.ones((1, 3)), "N ≥ 2"),
        (np.ones((3, 0)), "C ≥ 1"),
        (np.ones((2, 3, 4)), r"shape \(2, 3, 4\)"),
        (np.full((3, 2), np.nan), "not finite"),
        (np.array([[1.0], [np.inf]]), "not finite"),
        (np.ones((3, 2), dtype=complex), "dtype complex128"),
        ([["a"]], "not an array of numbers"),
    ],
)
def test_bad_features_are_refused(X, message):
    with pytest.raises(InputError, match=message):
        Subject.of(X)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1"])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(InputError, match="whole number ≥ 0"):
        Subject.random(seed)


def test_unknown_claims_suggest_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'parseval'"):
        theory.verify(Subject.random(), ["parsival"])
