"""Responses and banks against PyGSP's filters on the same λ; frames, duals, frame bounds."""

from __future__ import annotations

import numpy as np
import pytest

import gspnl
from gspnl import banks, responses
from gspnl.errors import InputError
from gspnl.responses.banks import FilterBank
from gspnl.responses.banks.bounds import extremes

pygsp = pytest.importorskip("pygsp", reason="pygsp is not installed")
F = pygsp.filters


class Spectral:
    """Stand-in for the attributes of a graph that PyGSP's filters read."""

    def __init__(self, lmax, e=None):
        self.lmax, self.e = lmax, e
        self.n_vertices = None if e is None else len(e)


def both(lmax, e=None):
    """Return λ to compare on: a grid, and the points where kernels change their formula."""
    special = np.array([1, 2, 1 / 3, 2 / 3, 4 / 3, 0.5, 0.25, 0.75, 1.25]) / 2 * lmax
    return np.unique(np.concatenate([np.linspace(0, lmax, 301), special]))


SCALES = (17.0, 5.0, 0.7)
CASES = {
    "abspline": lambda m: (F.Abspline(Spectral(m)), banks.abspline(lmax=m)),
    "abspline-9-40": lambda m: (
        F.Abspline(Spectral(m), 9, lpfactor=40), banks.abspline(9, lpfactor=40, lmax=m)
    ),
    "abspline-scales": lambda m: (
        F.Abspline(Spectral(m), 4, scales=SCALES), banks.abspline(4, scales=SCALES, lmax=m)
    ),
    "expwin": lambda m: (F.Expwin(Spectral(m)), responses.expwin(lmax=m)),
    "expwin-band": lambda m: (
        F.Expwin(Spectral(m), 0.2, 0.6, 3), responses.expwin(0.2, 0.6, 3, m)
    ),
    "expwin-high": lambda m: (
        F.Expwin(Spectral(m), 0.4, None, 0.5), responses.expwin(0.4, None, 0.5, m)
    ),
    "expwin-none": lambda m: (
        F.Expwin(Spectral(m), None, None), responses.expwin(None, None, lmax=m)
    ),
    "half_cosine": lambda m: (F.HalfCosine(Spectral(m)), banks.half_cosine(lmax=m)),
    "half_cosine-3": lambda m: (F.HalfCosine(Spectral(m), 3), banks.half_cosine(3, m)),
    "half_cosine-11": lambda m: (F.HalfCosine(Spectral(m), 11), banks.half_cosine(11, m)),
    "heat": lambda m: (F.Heat(Spectral(m)), banks.heat(lmax=m)),
    "heat-scales": lambda m: (F.Heat(Spectral(m), [0.5, 7, 90]), banks.heat([0.5, 7, 90], lmax=m)),
    "heat-normalize": lambda m: (
        F.Heat(Spectral(m, both(m)), [0.5, 7], normalize=True),
        banks.heat([0.5, 7], both(m), lmax=m),
    ),
    "held": lambda m: (F.Held(Spectral(m)), banks.held(lmax=m)),
    "held-0.4": lambda m: (F.Held(Spectral(m), 0.4), banks.held(0.4, m)),
    "itersine": lambda m: (F.Itersine(Spectral(m)), banks.itersine(lmax=m)),
    "itersine-9-4": lambda m: (F.Itersine(Spectral(m), 9, 4), banks.itersine(9, 4, m)),
    "itersine-5-3": lambda m: (F.Itersine(Spectral(m), 5, 3), banks.itersine(5, 3, m)),
    "meyer": lambda m: (F.Meyer(Spectral(m)), banks.meyer(lmax=m)),
    "meyer-3": lambda m: (F.Meyer(Spectral(m), 3), banks.meyer(3, lmax=m)),
    "meyer-scales": lambda m: (
        F.Meyer(Spectral(m), 4, scales=SCALES), banks.meyer(4, SCALES, lmax=m)
    ),
    "mexican_hat": lambda m: (F.MexicanHat(Spectral(m)), banks.mexican_hat(lmax=m)),
    "mexican_hat-normalize": lambda m: (
        F.MexicanHat(Spectral(m), 8, lpfactor=30, normalize=True),
        banks.mexican_hat(8, lpfactor=30, normalize=True, lmax=m),
    ),
    "mexican_hat-scales": lambda m: (
        F.MexicanHat(Spectral(m), 4, scales=SCALES), banks.mexican_hat(4, scales=SCALES, lmax=m)
    ),
    "papadakis": lambda m: (F.Papadakis(Spectral(m)), banks.papadakis(lmax=m)),
    "papadakis-0.5": lambda m: (F.Papadakis(Spectral(m), 0.5), banks.papadakis(0.5, m)),
    "rectangular": lambda m: (F.Rectangular(Spectral(m)), responses.rectangular(lmax=m)),
    "rectangular-band": lambda m: (
        F.Rectangular(Spectral(m), 0.25, 0.5), responses.rectangular(0.25, 0.5, m)
    ),
    "rectangular-high": lambda m: (
        F.Rectangular(Spectral(m), 0.25, None), responses.rectangular(0.25, None, m)
    ),
    "rectangular-none": lambda m: (
        F.Rectangular(Spectral(m), None, None), responses.rectangular(None, None, m)
    ),
    **{
        f"regular-{d}": lambda m, d=d: (F.Regular(Spectral(m), d), banks.regular(d, m))
        for d in range(6)
    },
    "simoncelli": lambda m: (F.Simoncelli(Spectral(m)), banks.simoncelli(lmax=m)),
    "simoncelli-0.9": lambda m: (F.Simoncelli(Spectral(m), 0.9), banks.simoncelli(0.9, m)),
    "simple_tight": lambda m: (F.SimpleTight(Spectral(m)), banks.simple_tight(lmax=m)),
    "simple_tight-3": lambda m: (F.SimpleTight(Spectral(m), 3), banks.simple_tight(3, lmax=m)),
    "simple_tight-scales": lambda m: (
        F.SimpleTight(Spectral(m), 4, scales=SCALES), banks.simple_tight(4, SCALES, lmax=m)
    ),
    "wave": lambda m: (F.Wave(Spectral(m)), banks.wave(lmax=m)),
    "wave-times": lambda m: (
        F.Wave(Spectral(m), [5, 15.5], 1.9), banks.wave([5, 15.5], 1.9, m)
    ),
    "wave-both": lambda m: (
        F.Wave(Spectral(m), [5, 15], [0, 0.7]), banks.wave([5, 15], [0, 0.7], m)
    ),
    "complement": lambda m: (
        F.Filter(Spectral(m), F.Abspline(Spectral(m))._kernels).complement(7.0),
        banks.abspline(lmax=m).complement(7.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("lmax", [2.0, 1.31, 17.0])
@pytest.mark.parametrize("case", CASES)
def test_banks_agree_with_pygsp(case, lmax):
    theirs, ours = CASES[case](lmax)
    lam = both(lmax)
    values = np.atleast_2d(ours(lam))
    truth = theirs.evaluate(lam)
    assert values.shape == truth.shape
    assert np.abs(values - truth).max() < 1e-10
    assert np.abs(truth).max() > 0.1  # not a comparison of zeros


@pytest.fixture(scope="module")
def sensor():
    graph = pygsp.graphs.Sensor(40, seed=3, lap_type="normalized")
    graph.compute_fourier_basis()
    return graph


def test_gabor_agrees_with_pygsp(sensor):
    theirs = F.Gabor(sensor, F.Rectangular(sensor, None, 0.1))
    ours = banks.gabor(responses.rectangular(None, 0.1, sensor.lmax), sensor.e)
    lam = np.linspace(0.003, sensor.lmax, 97)
    assert np.abs(ours(lam) - theirs.evaluate(lam)).max() == 0
    heat = banks.gabor(responses.heat(2.0 / sensor.lmax), sensor.e)  # PyGSP's heat stops at 1
    truth = F.Gabor(sensor, F.Heat(sensor, 2)).evaluate(lam)
    assert np.abs(np.minimum(heat(lam), 1) - truth).max() < 1e-12
    assert ours[5].jumps == pytest.approx([0.1 * sensor.lmax + sensor.e[5]])


def test_modulation_agrees_with_pygsp(sensor):
    theirs = F.Modulation(sensor, F.Heat(sensor, 5)).evaluate(sensor.e)
    ours = banks.modulation(responses.heat(5 / sensor.lmax), sensor.e, sensor.U)
    assert np.isfinite(theirs).all()
    assert np.abs(ours(sensor.e) - theirs).max() < 1e-10
    between = (sensor.e[3] + sensor.e[4]) / 2
    assert np.isnan(ours([between])).all()
    assert np.isnan(F.Modulation(sensor, F.Heat(sensor, 5)).evaluate(np.array([between]))).all()
    with pytest.raises(InputError, match="not finite"):
        ours.frame_bounds()
    low, high = ours.frame_bounds(spectrum=sensor.e)
    assert low == pytest.approx((theirs**2).sum(0).min())
    assert high == pytest.approx((theirs**2).sum(0).max())


@pytest.mark.parametrize("case", ["abspline", "meyer", "mexican_hat", "half_cosine-11", "held"])
def test_the_dual_agrees_with_pygsp(case):
    theirs, ours = CASES[case](2.0)
    theirs.estimate_frame_bounds = lambda: (1, 1)  # the pseudo-inverse without its warning
    lam = both(2.0)
    assert np.abs(ours.dual()(lam) - theirs.inverse().evaluate(lam)).max() < 1e-10


# --- frames ---------------------------------------------------------------------------------------

TIGHT = {
    "half_cosine": (banks.half_cosine(), 9 / 8),
    "half_cosine-3": (banks.half_cosine(3, lmax=2.5), 9 / 8),
    "held": (banks.held(), 1),
    "itersine": (banks.itersine(), 1),
    "itersine-3": (banks.itersine(3), 1),
    "meyer": (banks.meyer(), 1),
    "papadakis": (banks.papadakis(), 1),
    "regular": (banks.regular(), 1),
    "regular-0": (banks.regular(0), 1),
    "simoncelli": (banks.simoncelli(), 1),
    "simple_tight": (banks.simple_tight(), 1),
    "tight": (banks.tight(responses.heat(3.0), [1.0, 5.0], bound=4.0), 4),
    "normalized": (banks.abspline().normalized(), 1),
    "completed-jump": (FilterBank((responses.band_pass(0.3, 0.9),)).completed(), 1),
}
LAM = np.unique(np.concatenate([np.linspace(0, 2, 4001), [2 / 3, 4 / 3, 1 / 3, 0.3, 0.9]]))


@pytest.mark.parametrize("case", TIGHT)
def test_tight_banks_have_equal_frame_bounds(case):
    bank, bound = TIGHT[case]
    assert np.abs((bank(LAM) ** 2).sum(0) - bound).max() < 1e-12
    assert bank.is_tight(tolerance=1e-11)
    low, high = bank.frame_bounds()
    assert low <= bound <= high
    assert high - low < 1e-11


FRAMES = {
    **{name: bank for name, (bank, _) in TIGHT.items()},
    "abspline": banks.abspline(),
    "mexican_hat": banks.mexican_hat(),
    "heat": banks.heat([1.0, 9.0]),
    "scaling": banks.meyer(3, scales=(9.0, 2.0), lmax=2.0).completed(),
    "smooth": FilterBank((responses.tikhonov(4.0), responses.ns())),
    "dual": banks.abspline(4).dual(),
}


@pytest.mark.parametrize("case", FRAMES)
def test_the_dual_inverts_the_bank(case):
    bank = FRAMES[case]
    dual = bank.dual()
    g, h = bank(LAM), dual(LAM)
    assert np.abs((h * g).sum(0) - 1).max() < 1e-12
    assert np.abs(dual.dual()(LAM) - g).max() < 1e-12 * np.abs(g).max()
    for f in range(len(bank)):  # single filters agree with the whole bank
        assert np.abs(dual[f](LAM) - h[f]).max() < 1e-14 * max(1, np.abs(h).max())
    low, high = bank.frame_bounds()
    assert np.allclose(dual.frame_bounds(), (1 / high, 1 / low), rtol=1e-9)


@pytest.mark.parametrize("case", FRAMES)
def test_frame_bounds_are_outer_and_near(case):
    bank = FRAMES[case]
    low, high = bank.frame_bounds()
    fine = np.concatenate([np.linspace(0, 2, 100_001), LAM])
    total = (bank(fine) ** 2).sum(0)
    rounding = 1e-14 * high
    assert low <= total.min() + rounding
    assert high >= total.max() - rounding
    assert total.min() - low < 1e-4 * high  # the resolution of the grid
    assert high - total.max() < 1e-4 * high


@pytest.mark.parametrize(
    ("fn", "jumps", "low", "high"),
    [
        (lambda x: 1 + np.sin(40 * x), (), 0.0, 2.0),
        (lambda x: np.abs(x - 0.7123456), (), 0.0, 2 - 0.7123456),  # a kink at the minimum
        (lambda x: 5 - np.abs(x - np.pi / 3), (), 5 - np.pi / 3, 5.0),  # and at the maximum
        (lambda x: 1 + 9 * (x > 1 / 3), (1 / 3,), 1.0, 10.0),
        (lambda x: np.where(x == 1 / 3, 7.0, 1.0), (1 / 3,), 1.0, 7.0),  # a single point
        (lambda x: 1 + x * (x <= 0.5), (0.5,), 1.0, 1.5),  # attained at the jump only
        (lambda x: np.exp(-(((x - 0.777) / 2e-3) ** 2)), (), 0.0, 1.0),  # narrow
        (lambda x: 0 * x + 3, (), 3.0, 3.0),
        (lambda x: 0 * x, (), 0.0, 0.0),
        (lambda x: 1e-200 * (1 + x), (), 1e-200, 3e-200),
        (lambda x: 1e200 * (1 + x), (), 1e200, 3e200),
        (lambda x: (x - 2**0.5) ** 2, (), 0.0, 2.0),
        (lambda x: 1 + 9 * (x > 1 / 3), (), 1.0, 10.0),  # a jump that is not declared
        (lambda x: np.sqrt(np.abs(x - 0.75)), (), 0.0, 1.25**0.5),  # a cusp
        (lambda x: 1 + np.sin(3000 * x), (), 0.0, 2.0),
    ],
)
def test_extremes_agree_with_closed_forms(fn, jumps, low, high):
    found = extremes(fn, (0.0, 2.0), jumps)
    slack = 1e-11 * high
    assert low - slack <= found[0] <= low + 1e-15 * high
    assert high - 1e-15 * high <= found[1] <= high + slack


def test_extremes_of_noise_terminate_with_wide_bounds():
    rng, calls = np.random.default_rng(0), [0]

    def noisy(x):
        calls[0] += x.size
        return 1 + x / 4 + 1e-6 * rng.random(x.shape)

    low, high = extremes(noisy, (0.0, 2.0))
    assert 1 - 1e-4 < low <= 1 + 1e-7
    assert 1.5 + 9e-7 <= high < 1.5 + 1e-4
    assert calls[0] < 2e6


def test_frame_bounds_include_a_peak_between_grid_points():
    """The peak lies between the 1000 points of PyGSP's grid."""
    bump = responses.smooth_band_pass(0.8008008 - 0.001, 2e-4)
    bank = FilterBank((responses.nl(0.0), bump))
    grid = np.linspace(0, 2, 1000)
    assert (bank(grid) ** 2).sum(0).max() < 1e-4
    assert bank.frame_bounds()[1] == pytest.approx(1.0, abs=1e-10)


def test_frame_bounds_on_a_spectrum():
    X = np.random.default_rng(0).standard_normal((60, 3))
    spectrum = gspnl.feature_graph(X, kernel="dot").spectrum()
    bank = banks.abspline()
    total = (bank(np.asarray(spectrum.eigenvalues)) ** 2).sum(0)
    assert bank.frame_bounds(spectrum=spectrum) == (total.min(), total.max())
    assert bank.frame_bounds(spectrum=[0.0, 1.0])[0] == (bank([0.0, 1.0]) ** 2).sum(0).min()
    wavelets = FilterBank(banks.mexican_hat().responses[1:])
    with pytest.raises(InputError, match="no frame"):
        wavelets.dual()
    away = wavelets.dual((0.1, 2.0))
    assert np.abs((away(LAM[300:]) * wavelets(LAM[300:])).sum(0) - 1).max() < 1e-12
    assert away == wavelets.dual(spectrum=[0.5, 1.0])


def test_the_dual_is_zero_where_all_responses_vanish():
    wavelets = FilterBank(banks.meyer().responses[1:])
    dual = wavelets.dual((0.5, 2.0))
    assert (dual([0.0]) == 0).all()
    assert (dual[2](np.array([0.0])) == 0).all()


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: FilterBank(()), "one at least"),
        (lambda: FilterBank(responses.heat(1.0)), "tuple of responses"),
        (lambda: FilterBank((responses.heat,)), "must be a response"),
        (lambda: FilterBank((1.0,)), "must be a response"),
        (lambda: FilterBank((responses.heat(1.0),), power=np.nan), "finite"),
        (lambda: banks.abspline()[1.5], "number of a filter"),
        (lambda: banks.abspline().frame_bounds((2.0, 0.0)), "lo < hi"),
        (lambda: banks.abspline().frame_bounds(spectrum=[]), "one-dimensional"),
        (lambda: banks.abspline().frame_bounds(spectrum=[np.nan]), "finite"),
        (lambda: banks.abspline().complement(0.5), "below the upper frame bound"),
        (lambda: banks.abspline(1), "whole number ≥ 2"),
        (lambda: banks.abspline(6.5), "whole number"),
        (lambda: banks.abspline(lpfactor=0.0), "> 0"),
        (lambda: banks.abspline(scales=(1.0, 2.0)), "takes 5"),
        (lambda: banks.meyer(3, scales=(1.0, -2.0)), "> 0"),
        (lambda: banks.meyer(lmax=-1.0), "> 0"),
        (lambda: banks.half_cosine(2), "whole number ≥ 3"),
        (lambda: banks.itersine(2, overlap=3), "overlap"),
        (lambda: banks.wave([1.0, 2.0], [0.5] * 3), "as many of each"),
        (lambda: banks.wave(speeds=2.0), r"\[0, 2\)"),
        (lambda: banks.heat("warm"), "a finite number"),
        (lambda: banks.gabor("heat", [0.0]), "response"),
        (lambda: banks.gabor(responses.heat(1.0), np.zeros((2, 2))), "one-dimensional"),
        (lambda: banks.modulation(responses.heat(1.0), [0.0, 1.0], np.eye(3)), "need"),
        (lambda: banks.modulation(responses.heat(1.0), [0.0, 1.0], np.ones((2, 2))), "orthonormal"),
        (lambda: banks.tight(responses.heat(1.0), bound=0.5), "upper frame bound"),
        (lambda: banks.tight(responses.heat(1.0), bound=0.9999), "upper frame bound"),
        (lambda: FilterBank((responses.heat(20.0),)).dual(), "no frame"),  # Σ g² = e⁻⁸⁰ at 2
        (lambda: banks.log_scales(0.0, 2.0, 3), "lmin=0.0 must be a finite number > 0"),
        (lambda: banks.log_scales(0.1, -2.0, 3), "lmax=-2.0 must be a finite number > 0"),
        (lambda: banks.log_scales(0.1, 2.0, -3), "count=-3"),
        (lambda: banks.abspline()(np.array(["a"])), "dtype"),
        (lambda: FilterBank((lambda x: 1 / x,)).frame_bounds(), "not finite"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_bad_arguments_raise(act, message):
    with pytest.raises(InputError, match=message):
        act()


def test_adding_banks_concatenates_their_filters():
    a, b = banks.held(), banks.abspline(3).dual()
    both_ = a + b
    assert np.array_equal(both_(LAM), np.concatenate([a(LAM), np.stack([g(LAM) for g in b])]))
    with pytest.raises(TypeError):
        a + 1


def test_a_partial_spectrum_raises():
    graph = gspnl.feature_graph(np.random.default_rng(0).random((30, 2)), "rbf", sigma=0.3)
    low = graph.spectrum(3)
    bank = FilterBank((responses.low_pass(0.5),))  # no frame, but for the first λ
    for act in (bank.frame_bounds, bank.dual, lambda spectrum: banks.heat(1.0, spectrum=spectrum)):
        with pytest.raises(
            InputError, match=r"holds 3 of the eigenvalues; pass graph.spectrum\(\)"
        ):
            act(spectrum=low)
    assert len(banks.gabor(responses.heat(1.0), low.eigenvalues)) == 3
