"""Every claim holds on random graphs, and fails with a broken formula."""

from __future__ import annotations

import numpy as np
import pytest
from support.broken_formulas import BROKEN

from gspnl import theory
from gspnl.errors import InputError
from gspnl.theory import CLAIMS, Subject

SEEDS = range(5)
IDS = [each.id for each in theory.ordered()]


@pytest.fixture(scope="module")
def subjects():
    return [Subject.random(seed) for seed in SEEDS]


def test_verify_takes_one_name_and_refuses_an_array():
    assert [v.id for v in theory.verify(Subject.random(), "parseval")] == ["parseval"]
    with pytest.raises(InputError, match=r"not a ndarray; make one, theory.Subject.of"):
        theory.verify(np.ones((4, 2)))


def test_every_claim_has_broken_formulas():
    assert set(BROKEN) == set(CLAIMS)
    assert all(BROKEN.values())
    assert len(CLAIMS) >= 28


@pytest.mark.parametrize("name", IDS)
def test_claims_fail_with_broken_formulas(name, subjects):
    assert CLAIMS[name](subjects[0]).passed is True
    for broken in BROKEN[name]:
        verdict = CLAIMS[name](subjects[0], **broken)
        assert verdict.passed is False, (broken, verdict)
        assert not verdict.value <= verdict.tolerance


@pytest.mark.parametrize("name", IDS)
def test_claims_hold_with_margin(name, subjects):
    """Rounding stays a factor of 50 below a tolerance meant for rounding."""
    each = CLAIMS[name]
    for subject in subjects:
        verdict = each(subject)
        assert verdict.passed is True, verdict
        room = 1.0 if each.tolerance > 1e-3 else 50.0
        assert verdict.value * room <= verdict.tolerance
        if each.erratum:
            assert verdict.holds == "corrected"
            assert verdict.printed[1] > 10 * each.tolerance
    assert each.because


def test_every_erratum_has_both_readings():
    rows = [each for each in theory.ordered() if each.erratum]
    assert {f"E{i}" for i in range(1, 11)} <= {each.erratum for each in rows}
    assert all(each.printed and each.corrected for each in rows)


def test_errata_whose_readings_agree_are_undecided():
    alike = Subject.of(np.ones((20, 3)))
    verdict = CLAIMS["e5-transpose"](alike)
    assert (verdict.passed, verdict.holds) == (None, "both")
    assert "agree" in verdict.reason
    # If the corrected reading fails, the claim fails.
    swapped = CLAIMS["e3-sign"](Subject.random(), scaled=lambda A: A)
    assert (swapped.passed, swapped.holds) == (False, "neither")


def test_checks_that_raise_are_undecided_with_a_reason():
    def check(subject, **formulas):
        raise InputError("no such features")

    theory.claim(
        "unheard-of", "x", source="", equation="", tolerance=1.0, because="a test"
    )(check)  # fmt: skip
    try:
        verdict = CLAIMS["unheard-of"](Subject.random())
    finally:
        CLAIMS.unregister("unheard-of")
    assert (verdict.passed, verdict.reason) == (None, "no such features")
    assert np.isnan(verdict.value)


def test_a_claim_that_measures_nan_fails(subjects):
    verdict = CLAIMS["memory"](subjects[0], rate=lambda graph, k: np.nan)
    assert verdict.passed is False
