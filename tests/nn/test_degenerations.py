"""Special cases in which two blocks are equal by algebra, and similar ones that differ."""

from __future__ import annotations

import pytest
import torch
from support.nn_cases import CHANNELS, compare, make, noise, signal

# The sides sum the same numbers in another order: some hundred roundings at most, of numbers no
# larger than the parts that are summed.
ULPS = 200 * torch.finfo(torch.float64).eps

AFFINITIES = [
    {"kernel": "dot", "normalization": "random_walk"},
    {"kernel": "dot", "normalization": "symmetric"},
    {"kernel": "dot", "feature_map": "softplus", "normalization": "bistochastic"},
    {"kernel": "embedded_gaussian", "normalization": "random_walk"},
    {"kernel": "embedded_gaussian", "normalization": "softmax"},
    {"kernel": "rbf", "normalization": "symmetric"},
    {"kernel": "concatenation", "normalization": "random_walk"},
]
IDS = ["-".join(options.values()) for options in AFFINITIES]
SPACES = [1, 2, 3]


def twin(block, name, maps, **options):
    """A block ``name`` with the parameters of another, its maps replaced by ``maps``."""
    kept = {k: v for k, v in block.state_dict().items() if not k.startswith("stages.0.w")}
    other = make(name, **options)
    other.load_state_dict(kept | {f"stages.0.{k}.weight": v for k, v in maps.items()})
    return other.eval()


def weight(block, name):
    return block.state_dict()[f"stages.0.{name}.weight"]


def same(one, other):
    for dims in SPACES:
        x = signal(dims)
        a, b = one(x), other(x)
        assert (a - b).abs().max() <= ULPS * a.abs().max()


def draw_maps(count):
    return [noise(CHANNELS, 4, seed=50 + i, scale=0.5) for i in range(count)]


@pytest.mark.parametrize("options", AFFINITIES, ids=IDS)
def test_snl_without_identity_term_equals_nl(options):
    nl = make("nl", **options).eval()
    W = weight(nl, "w")
    same(nl, twin(nl, "snl", {"w_1": torch.zeros_like(W), "w_2": W}, **options))


@pytest.mark.parametrize("options", AFFINITIES, ids=IDS)
def test_snl_with_opposite_maps_equals_ns(options):
    ns = make("ns", **options).eval()
    W = weight(ns, "w")
    same(ns, twin(ns, "snl", {"w_1": -W, "w_2": W}, **options))


@pytest.mark.parametrize("options", AFFINITIES, ids=IDS)
def test_gsnl_equals_an_snl(options):
    """Erratum E1: the same functions for every A."""
    gsnl = make("gsnl", **options).eval()
    W1, W2, W3 = (weight(gsnl, f"w_{k}") for k in (1, 2, 3))
    same(gsnl, twin(gsnl, "snl", {"w_1": W1 - W3, "w_2": W2 + 2 * W3}, **options))


@pytest.mark.parametrize("options", AFFINITIES, ids=IDS)
def test_chebyshev_of_order_one_equals_snl(options):
    """Erratum E3: L̃ = −A, so w_2 = −V₁."""
    snl = make("snl", **options).eval()
    first = make("chebyshev", order=1, **options)
    V0, V1 = weight(first, "w_0"), weight(first, "w_1")
    same(twin(first, "snl", {"w_1": V0, "w_2": -V1}, **options), first.eval())
    maps = {"w_0": weight(snl, "w_1"), "w_1": -weight(snl, "w_2")}
    same(snl, twin(snl, "chebyshev", maps, order=1, **options))


def test_linear_equals_snl_without_graph_term():
    linear, snl = make("linear").eval(), make("snl")
    V = weight(linear, "w_1")
    kept = dict(linear.state_dict())
    kept |= {k: v for k, v in snl.state_dict().items() if k.startswith("affinity")}
    snl.load_state_dict(kept | {"stages.0.w_2.weight": torch.zeros_like(V)})
    same(linear, snl.eval())


@pytest.mark.parametrize("options", AFFINITIES[:2], ids=IDS[:2])
def test_order_two_of_an_idempotent_affinity_equals_gsnl(options):
    """Identical nodes: A = 1πᵀ, A² = A, so T_2(−A) = 2A − I."""
    second = make("chebyshev", order=2, **options).eval()
    V = [weight(second, f"w_{k}") for k in range(3)]
    gsnl = twin(second, "gsnl", {"w_1": V[0], "w_2": -V[1], "w_3": V[2]}, **options)
    x = noise(2, CHANNELS, 1, 1).expand(2, CHANNELS, 3, 4)
    a, b = second(x), gsnl(x)
    assert (a - b).abs().max() <= ULPS * a.abs().max()


def test_spectral_at_time_zero_equals_linear():
    """exp(−0 L) = I; raw = −60 is τ = 3e-25."""
    spectral, linear = make("spectral", order=1).eval(), make("linear")
    with torch.no_grad():
        spectral.stages[0].times.fill_(-60.0)
    kept = {k: v for k, v in spectral.state_dict().items() if not k.startswith("affinity")}
    del kept["stages.0.times"]
    kept["stages.0.w_1.weight"] = kept.pop("stages.0.w_0.weight")
    linear.load_state_dict(kept)
    same(spectral, linear.eval())


def test_criss_cross_in_one_dimension_equals_full_attention():
    """Erratum K3 for criss-cross: in two dimensions they differ."""
    nl, cc = make("nl").eval(), make("cc").eval()
    cc.load_state_dict(nl.state_dict())
    x = signal(1)
    assert (nl(x) - cc(x)).abs().max() <= ULPS * nl(x).abs().max()
    x = signal(2)
    assert (nl(x) - cc(x)).abs().max() > 1e-3


def test_nl_and_a2_are_different_networks():
    """Erratum K3: the same parameters, other outputs."""
    nl, a2 = make("nl").eval(), make("a2").eval()
    a2.load_state_dict(nl.state_dict())
    x = signal()
    assert (nl(x) - a2(x)).abs().max() > 0.05 * (nl(x) - x).abs().max()


def test_a2_of_width_one_has_equal_rows_and_nl_has_not():
    """A of a2 has rank ≤ r. With r = 1 its rows are equal: the same output at every position,
    whatever the parameters; nl's rows differ."""
    x = signal()
    for seed in range(3):
        spread = {
            name: make(name, inner=1, norm="none", seed=seed)(x).sub(x).flatten(2).std(-1).max()
            for name in ("a2", "nl")
        }
        assert spread["a2"] < 1e-14
        assert spread["nl"] > 1e-3


@pytest.mark.parametrize("units", [1, 5])
@pytest.mark.parametrize("name", ["nl", "snl", "gsnl", "chebyshev", "spectral", "cgnl", "a2", "cc"])
def test_units_share_one_affinity(name, units):
    block = make(name, units=units)
    counts = {"affinity": 0, "g": 0}

    def count(key):
        def hook(module, args, output):
            counts[key] += 1

        return hook

    block.affinity.register_forward_hook(count("affinity"))
    for stage in block.stages:
        stage.g.register_forward_hook(count("g"))
    y = block(signal())
    assert counts == {"affinity": 1, "g": units}
    # And within it: the autograd graph shows how often a weight went into a result.
    assert uses(y, block.affinity.phi.weight) == uses(y, block.affinity.psi.weight) == 1


def uses(y, parameter):
    """Count the operations in the graph of y that take the parameter itself."""
    seen, todo, found = set(), [y.grad_fn], 0
    while todo:
        for node, _ in todo.pop().next_functions:
            if node is None:
                continue
            found += getattr(node, "variable", None) is parameter
            if node not in seen:
                seen.add(node)
                todo.append(node)
    return found


def test_two_units_differ_from_two_blocks():
    """Units share the affinity of the first input; consecutive blocks do not."""
    compare("snl", signal(), units=2)
    stack = make("snl", units=2).eval()
    halves = []
    for i in range(2):
        half = make("snl").eval()
        params = {k: v for k, v in stack.state_dict().items() if k.startswith("affinity")}
        prefix = f"stages.{i}."
        own = {k: v for k, v in stack.state_dict().items() if k.startswith(prefix)}
        half.load_state_dict(params | {k.replace(prefix, "stages.0."): v for k, v in own.items()})
        halves.append(half)
    x = signal()
    assert (stack(x) - halves[1](halves[0](x))).abs().max() > 1e-3
