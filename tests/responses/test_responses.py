"""Contract of every registered response and bank: finite, elementwise, any array library."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, fields

import array_api_strict
import numpy as np
import pytest

import gspnl
from gspnl import responses
from gspnl.errors import InputError
from gspnl.responses import RESPONSES, parse
from gspnl.responses.banks import BANKS, FilterBank
from gspnl.responses.composite import FAMILY, RESPONSE
from gspnl.responses.points import NUMBERS

torch = pytest.importorskip("torch", reason="torch is not installed")

POINTS = (0.0, 0.25, 1.0, 2.0)
LAM = np.unique(np.concatenate([np.linspace(0, 2, 401), [1 / 3, 2 / 3, 4 / 3]]))


def example(cls):
    """Build a response of a registered class, with a value for parameters without default."""
    values = {}
    for i, f in enumerate(fields(cls)):
        check = f.metadata.get("check")
        if check is RESPONSE["check"]:
            values[f.name] = responses.heat(1.5)
        elif check is FAMILY["check"]:
            values[f.name] = (responses.heat(1.5), responses.low_pass(0.5))
        elif check is NUMBERS["check"]:
            values[f.name] = POINTS
        elif f.default is f.default_factory:  # both missing
            values[f.name] = 0.5 + i / 4
    return cls(**values)


def example_bank(make):
    """Build a bank by a registered function, with a value for parameters without default."""
    given = {"mother": responses.heat(1.5), "spectrum": POINTS, "modes": np.eye(len(POINTS))}
    missing = [
        name for name, p in inspect.signature(make).parameters.items() if p.default is p.empty
    ]
    return make(**{name: given[name] for name in missing})


def at(g):
    """Return λ at which a response, or a bank, is defined."""
    members = g.responses if isinstance(g, FilterBank) else (g,)
    return np.array(POINTS) if any(hasattr(m, "points") for m in members) else LAM


def everything():
    for name in RESPONSES:
        yield pytest.param(lambda name=name: example(RESPONSES[name]), id=name)
    for name in BANKS:
        yield pytest.param(lambda name=name: example_bank(BANKS[name]), id=f"bank-{name}")
        yield pytest.param(lambda name=name: dual_of(BANKS[name]), id=f"dual-{name}")


def dual_of(make):
    bank = example_bank(make)
    return FilterBank(bank.responses, 1.0)


EVERY = pytest.mark.parametrize("make", list(everything()))


@EVERY
def test_values_are_finite_and_elementwise(make):
    g, lam = make(), at(make())
    values = g(lam)
    F = (len(g),) if isinstance(g, FilterBank) else ()
    assert values.shape == (*F, *lam.shape)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()
    # one λ at a time, and in any shape
    single = np.stack([g(lam[i : i + 1])[..., 0] for i in range(0, len(lam), 7)], axis=-1)
    assert np.allclose(single, values[..., ::7], 0, 1e-14)
    square = g(lam[: len(lam) // 2 * 2].reshape(2, -1))
    assert square.shape == (*F, 2, len(lam) // 2)
    assert np.allclose(square.reshape(*F, -1), values[..., : len(lam) // 2 * 2], 0, 1e-14)
    assert g(lam[:0]).shape == (*F, 0)


@EVERY
def test_values_just_outside_0_and_2_are_finite(make):
    g = make()
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(g(np.array([-1e-15, 2 + 1e-15]))).all()


@EVERY
def test_values_have_the_array_library_of_lambda(make):
    g, lam = make(), at(make())
    values = g(lam)
    for other in (array_api_strict.asarray(lam), torch.asarray(lam)):
        found = g(other)
        assert type(found) is type(other)
        assert np.allclose(np.asarray(found), values, rtol=1e-12, atol=2e-8)
        # An ulp under the root of a complement is 1e-8; elsewhere the libraries agree:
        assert np.median(np.abs(np.asarray(found) - values)) < 1e-14
    narrow = g(lam.astype(np.float32))
    assert narrow.dtype == np.float32
    assert g(torch.asarray(lam, dtype=torch.float32)).dtype == torch.float32


@EVERY
def test_equality_and_hash_are_by_value(make):
    g = make()
    again = pickle.loads(pickle.dumps(g))
    assert again == g == make() == copy.deepcopy(g)
    assert hash(again) == hash(g) == hash(make())
    assert np.array_equal(again(at(g)), g(at(g)))
    space = {name: RESPONSES[name] for name in RESPONSES} | {"FilterBank": FilterBank}
    assert eval(repr(g), space) == g
    if not isinstance(g, FilterBank):
        assert parse(repr(g)) == g
        assert len({g, make()}) == 1
    with pytest.raises((FrozenInstanceError, AttributeError)):
        setattr(g, fields(g)[0].name, 1.0)


@pytest.mark.parametrize("name", list(RESPONSES))
def test_parameters_are_checked(name):
    cls = RESPONSES[name]
    good = example(cls)
    values = {f.name: getattr(good, f.name) for f in fields(cls)}
    for f in fields(cls):
        for bad in ("text", np.nan, np.inf, True, 1j, [], object()):
            with pytest.raises(InputError, match=f"{name}: {f.name}"):
                cls(**(values | {f.name: bad}))
        if isinstance(values[f.name], float):
            made = cls(**(values | {f.name: np.float64(values[f.name])}))
            assert made == good
            assert repr(made) == repr(good)


@pytest.mark.parametrize("name", list(RESPONSES))
def test_declared_jumps_are_the_discontinuities(name):
    """Find jumps on a fine grid and compare with the declared ones."""
    g = example(RESPONSES[name])
    if name == "tabulated":
        return
    declared = np.array(g.jumps)
    for jump in declared:
        if 0 < jump < 2:
            assert abs(g(np.array([jump + 1e-9])) - g(np.array([jump - 1e-9])))[0] > 1e-3
    fine = np.linspace(0, 2, 200_001)
    steps = np.abs(np.diff(g(fine)))
    big = fine[:-1][steps > 0.02]  # a slope of 2,000
    for place in big:
        assert np.abs(declared - place).min(initial=np.inf) < 2e-5


def test_a_newly_registered_response_and_bank_are_tested():
    @responses.base.response("added")
    class added(responses.base.Parameters):
        cut: float = 1.0

        def __call__(self, lam):
            return lam * self.cut

    def added_bank(cut: float = 2.0):
        return FilterBank((added(cut), added(1.0)))

    BANKS.register("added")(added_bank)
    try:
        assert {"added", "bank-added", "dual-added"} <= {p.id for p in everything()}
        for make in (lambda: example(RESPONSES["added"]), lambda: example_bank(BANKS["added"])):
            test_values_are_finite_and_elementwise(make)
            test_values_have_the_array_library_of_lambda(make)
        test_parameters_are_checked("added")
        assert parse("added(3)") == added(3)
    finally:
        RESPONSES.unregister("added")
        BANKS.unregister("added")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("abspline(3)", responses.abspline(3)),
        ("expwin(None, 0.5, slope=2)", responses.expwin(None, 0.5, 2)),
        ("rectangular(0.1, None)", responses.rectangular(0.1, None)),
        (
            "shifted(scaled(nl, 2), by=-0.5)",
            responses.shifted(responses.scaled(responses.nl(), 2), -0.5),
        ),
        ("complement((held(),), 1)", responses.complement((responses.held(),), 1)),
        ("quotient([nl, ns], 1)", responses.quotient((responses.nl(), responses.ns()), 1)),
        ("tabulated((0, 1), (2, -3))", responses.tabulated((0, 1), (2, -3))),
    ],
)
def test_parse_returns_the_response_of_a_text(text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "abspline(scales=3)", "wave(1, 2, 3, 4)", "shifted(os.system, 1)", "shifted(hea(3), 1)",
        "shifted(3, 1)", "complement((), 1)", "complement(3)", "tabulated((1, 2), (3,))",
        "held(*a)", "quotient((nl,), 1)", "expwin(slope=0)", "wave(speed=2)", "regular(1.5)",
        "regular(-1)", "__import__('os')", "heat(__import__('os'))", "(lambda: 1)()",
        "shifted(shifted, 1)",
    ],
)  # fmt: skip
def test_parse_rejects_invalid_text(text):
    with pytest.raises(InputError):
        parse(text)


def test_composites_transform_the_jumps():
    low = responses.low_pass(0.5)
    assert responses.shifted(low, 0.25).jumps == (0.75,)
    assert responses.dilated(low, 2.0).jumps == (0.25,)
    assert responses.scaled(low, 2.0).jumps == (0.5,)
    assert responses.complement((low, responses.high_pass(1.0)), 2.0).jumps == (0.5, 1.0)
    assert responses.scaled(np.cos).jumps == ()


def test_the_report_accepts_every_response():
    settings = gspnl.responses.parse("abspline(4.0)")
    X = np.random.default_rng(0).standard_normal((50, 2))
    graph = gspnl.feature_graph(X, kernel="dot")
    assert graph.filter(X, settings).shape == X.shape


def test_a_response_may_be_any_callable():
    @dataclass(frozen=True)
    class mine:
        def __call__(self, lam):
            return 3.0  # a constant

    bank = FilterBank([mine(), np.cos])
    assert bank(LAM).shape == (2, len(LAM))
    assert bank.responses == (mine(), np.cos)
    assert bank([0, 1]).shape == (2, 2)
    assert bank(1.0).shape == (2,)


def test_tabulated_uses_the_nearest_point_on_either_side():
    table = responses.tabulated((1.0, 0.0), (7.0, 5.0))
    off = 5e-10  # within the slack
    assert table(np.array([0.0 - off, 0.0 + off, 1.0 - off, 1.0 + off])).tolist() == [5, 5, 7, 7]
