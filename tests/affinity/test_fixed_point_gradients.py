"""Gradients of fixed points: those of the solution, not of the steps that led to it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import gspnl
from gspnl.errors import GspnlError
from gspnl.responses import heat


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def ring(n):
    """Equal degrees: Sinkhorn starts at the solution and takes no step."""
    angles = torch.arange(n).double() * 2 * math.pi / n
    return torch.stack([angles.cos(), angles.sin()], 1)


def two_sides(n):
    """Nearly bipartite without self-loops: Sinkhorn converges slowly."""
    return torch.cat([0.05 * draw(n, 2, seed=1), 0.05 * draw(n, 2, seed=2) + 2.0])


def directional(f, leaves, seed=9, step=1e-5):
    """(⟨gradient, V⟩, central difference) of a scalar f for random directions V."""
    leaves = [x.detach().clone().requires_grad_() for x in leaves]
    grads = torch.autograd.grad(f(*leaves), leaves)
    found, wanted = 0.0, 0.0
    for i, (x, g) in enumerate(zip(leaves, grads, strict=True)):
        V = draw(*x.shape, seed=seed + i)
        found += float((g * V).sum())
        with torch.no_grad():
            ends = []
            for sign in (1, -1):
                moved = [y + sign * step * V if y is x else y for y in leaves]
                ends.append(float(f(*moved)))
            wanted += (ends[0] - ends[1]) / (2 * step)
    return found, wanted


def dense_scaling(X, weights):
    """Bistochastic S W S by 5,000 steps, then Newton steps that autograd sees."""
    W = weights(X)
    with torch.no_grad():
        s = W.sum(-1) ** -0.5
        for _ in range(5000):
            s = torch.sqrt(s / (W @ s[..., None])[..., 0])
    for _ in range(2):
        ws = (W @ s[..., None])[..., 0]
        J = torch.diag_embed(ws) + s[..., None] * W
        s = s - torch.linalg.solve(J, s * ws - 1)
    return s[..., None] * W * s[..., None, :]


def rbf(X, self_loops=True):
    W = torch.exp(-((X[..., :, None, :] - X[..., None, :, :]) ** 2).sum(-1) / 2)
    return W if self_loops else W * (1 - torch.eye(X.shape[-2]).double())


CASES = [
    ("rbf", ring(5), {}),
    ("rbf", ring(7), {"self_loops": False}),
    ("rbf", draw(11, 3), {}),
    ("rbf", 3 * draw(8, 2), {}),
    ("rbf", two_sides(4), {"self_loops": False}),
    ("rbf", draw(2, 3, 6, 2), {}),
    ("dot", draw(9, 3).abs(), {}),
    ("dot", draw(2, 7, 2).abs(), {}),
]


@pytest.mark.parametrize("storage", ["dense", "tiled", "lowrank"])
@pytest.mark.parametrize(("kernel", "X", "options"), CASES, ids=range(len(CASES)))
def test_bistochastic_gradient_equals_that_of_the_dense_fixed_point(kernel, X, options, storage):
    if storage == "lowrank" and kernel != "dot":
        pytest.skip("no low-rank form")
    Z, w = draw(*X.shape[:-1], 2, seed=3), draw(*X.shape[:-1], 2, seed=4)
    loops = options.get("self_loops", True)

    def apply(x):
        options_ = {"normalization": "bistochastic", "storage": storage, **options}
        return gspnl.feature_graph(x, kernel, **options_).apply(Z)

    def dense(x):
        weights = (lambda y: rbf(y, loops)) if kernel == "rbf" else (lambda y: y @ y.mT)
        return dense_scaling(x, weights) @ Z

    x = X.clone().requires_grad_()
    (found,) = torch.autograd.grad((apply(x) * w).sum(), x)
    (wanted,) = torch.autograd.grad((dense(x) * w).sum(), x)
    assert float((found - wanted).abs().max()) < 1e-10 * max(1.0, float(wanted.abs().max()))
    slope, difference = directional(lambda x: (apply(x) * w).sum(), [X])
    assert abs(slope - difference) < 1e-6 * max(1.0, abs(difference))
    assert torch.equal(apply(X), apply(x).detach())  # values do not depend on gradients


@pytest.mark.parametrize("storage", ["dense", "tiled"])
def test_bistochastic_gradcheck(storage):
    Z = draw(5, 2, seed=1)

    def run(x):
        graph = gspnl.feature_graph(x, "rbf", normalization="bistochastic", storage=storage)
        return graph.apply(Z), graph.filter(Z, heat(1.0))

    assert torch.autograd.gradcheck(run, ring(5).requires_grad_(), atol=1e-7)


def test_bistochastic_gradient_of_given_weights():
    """A symmetric circulant W of degree 4: D is a multiple of I."""
    Z, w = draw(6, 1, seed=1), draw(6, 1, seed=2)
    W = torch.ones(6, 6).double() - torch.diag(2 * torch.ones(6).double())
    W = W.abs() * 0.8

    def run(W):
        W = (W + W.mT) / 2
        return (gspnl.graph_from_weights(W, normalization="bistochastic").apply(Z) * w).sum()

    slope, difference = directional(run, [W], step=1e-4)
    assert abs(difference) > 1e-2
    assert abs(slope - difference) < 1e-6


def test_isolated_nodes_have_no_gradient_through_the_scales():
    X = torch.cat([draw(5, 2).abs(), torch.zeros(1, 2).double()])
    Z, w = draw(6, 1, seed=1), draw(6, 1, seed=2)

    def run(x):
        return (
            gspnl.feature_graph(x, kernel="dot", normalization="bistochastic").apply(Z) * w
        ).sum()

    x = X.clone().requires_grad_()
    (found,) = torch.autograd.grad(run(x), x)
    assert bool(torch.isfinite(found).all())
    V = torch.cat([draw(5, 2, seed=3), torch.zeros(1, 2).double()])
    with torch.no_grad():
        difference = (run(X + 1e-5 * V) - run(X - 1e-5 * V)) / 2e-5
    assert abs(float((found * V).sum() - difference)) < 1e-7


def test_float32_gradients_have_the_digits_of_float32():
    X, Z = draw(40, 3), draw(40, 2, seed=1)

    def run(x):
        graph = gspnl.feature_graph(x, "rbf", normalization="bistochastic")
        return torch.autograd.grad((graph.apply(Z.to(x.dtype)) ** 2).sum(), x)[0]

    single, double = run(X.float().requires_grad_()), run(X.requires_grad_())
    assert float((single - double).abs().max()) < 1e-4 * float(double.abs().max())


def test_gradients_of_gradients_are_refused():
    x = draw(6, 2).requires_grad_()
    Z = draw(6, 1, seed=1)
    graph = gspnl.feature_graph(x, "rbf", normalization="bistochastic")
    (grad,) = torch.autograd.grad((graph.apply(Z) ** 2).sum(), x, create_graph=True)
    assert grad.requires_grad
    with pytest.raises(GspnlError, match="gradients of gradients"):
        grad.square().sum().backward()


@pytest.mark.parametrize("kernel", ["dot", "rbf", "embedded_gaussian"])
def test_blocks_refuse_gradients_of_gradients_of_bistochastic_scales(kernel):
    torch.manual_seed(0)
    options = {"kernel": kernel, "normalization": "bistochastic"}
    block = gspnl.nn.create("snl", 4, norm="none", zero_init=False, **options).double()
    x, w = draw(2, 4, 3, 3), draw(2, 4, 3, 3, seed=1)
    slope, difference = directional(lambda x: (block(x) * w).sum(), [x])
    assert abs(slope - difference) < 1e-6
    x.requires_grad_()
    (grad,) = torch.autograd.grad((block(x) * w).sum(), x, create_graph=True)
    with pytest.raises(GspnlError, match="gradients of gradients"):
        grad.square().sum().backward()


SIGNALS = {"random": draw(8, 2, seed=5), "constant": torch.ones(8, 2).double()}
SIGNALS["zero"] = 0 * SIGNALS["constant"]


@pytest.mark.parametrize("normalization", ["random_walk", "symmetric", "bistochastic"])
@pytest.mark.parametrize(
    ("method", "strength"), [("harmonic", None), ("tikhonov", 0.7), ("heat", 2.0)]
)
@pytest.mark.parametrize("signal", SIGNALS)
def test_inpainting_gradients_do_not_depend_on_the_number_of_steps(
    signal, method, strength, normalization
):
    """Conjugate gradients solve for a constant or zero signal in no step at all."""
    X, Z, w = draw(8, 2), SIGNALS[signal], draw(8, 2, seed=6)
    known = torch.tensor([True, False, False, True, False, True, False, False])

    def run(x, z):
        graph = gspnl.feature_graph(x, "rbf", normalization=normalization)
        return (gspnl.inpaint(graph, z, known, method, strength=strength) * w).sum()

    slope, difference = directional(run, [X, Z], step=1e-4)
    assert abs(difference) > 1e-3
    assert abs(slope - difference) < 1e-6


def test_harmonic_gradient_equals_the_dense_solve():
    X = draw(7, 2).requires_grad_()
    known = np.array([1, 0, 1, 0, 0, 1, 0], dtype=bool)
    Z = draw(7, 1, seed=2)
    graph = gspnl.feature_graph(X, "rbf", storage="tiled")
    (found,) = torch.autograd.grad(gspnl.inpaint(graph, Z, torch.tensor(known)).sum(), X)
    W = rbf(X)
    A = W / W.sum(1, keepdim=True)
    inner = torch.linalg.solve(
        torch.eye(4).double() - A[~known][:, ~known], A[~known][:, known] @ Z[known]
    )
    (wanted,) = torch.autograd.grad(inner.sum(), X)
    assert float((found - wanted).abs().max()) < 1e-9


def test_harmonic_labels_carry_the_gradient_of_the_solution():
    labels = [0, -1, -1, 1, -1, -1, 2, -1]
    w = draw(8, 3, seed=3)

    def run(x):
        graph = gspnl.feature_graph(x, "rbf")
        return (gspnl.propagate_labels(graph, labels, "harmonic").scores * w).sum()

    slope, difference = directional(run, [draw(8, 2)])
    assert abs(slope - difference) < 1e-7 + 1e-6 * abs(difference)


@pytest.mark.parametrize("kernel", ["rbf", "dot"])
@pytest.mark.parametrize("normalization", ["random_walk", "symmetric", "bistochastic"])
def test_exact_banks_carry_the_gradient_of_their_eigenvalues(normalization, kernel):
    """With gains as constants, only the eigenvectors would be differentiated."""
    bank = gspnl.banks.mexican_hat(3)
    Z, C, w = draw(9, 2, seed=1), draw(3, 9, 2, seed=2), draw(3, 9, 2, seed=3)

    def graph(x):
        return gspnl.feature_graph(x.abs() if kernel == "dot" else x, kernel, **options)

    options = {"normalization": normalization}
    X = draw(9, 3)
    for run in (
        lambda x: (gspnl.analyze(graph(x), Z, bank) * w).sum(),
        lambda x: (gspnl.synthesize(graph(x), C, bank) * w[0]).sum(),
    ):
        slope, difference = directional(run, [X])
        assert abs(slope - difference) < 1e-6 * max(1.0, abs(difference))
        recorded = run(X.clone().requires_grad_()).detach()
        assert abs(float(recorded - run(X))) < 1e-12


def test_exact_banks_with_kinks_refuse_gradients():
    bank = gspnl.banks.abspline(3)
    graph = gspnl.feature_graph(draw(9, 3).requires_grad_(), "rbf")
    with pytest.raises(GspnlError, match="resolves into a series"):
        gspnl.analyze(graph, draw(9, 2), bank)


ANCHORS = [
    (draw(30, 2), {"anchors": 5}),
    (draw(30, 2), {"anchors": 5, "sigma": 0.7}),
    (draw(6, 2), {"anchors": 6}),  # each node is an anchor
    (draw(5, 2), {"anchors": 5, "sigma": 0.4}),
    (draw(2, 20, 3), {"anchors": 3, "seed": 4}),
    (draw(4300, 2) + 50 * ring(4).repeat(1075, 1), {"anchors": 4}),  # a sample of 4,096 nodes
]


@pytest.mark.parametrize(("X", "options"), ANCHORS, ids=range(len(ANCHORS)))
def test_gradients_include_the_anchor_points(X, options):
    """Centres are means of clusters, whose assignment stays as it is in a small step."""
    Z, w = draw(*X.shape[:-1], 2, seed=3), draw(*X.shape[:-1], 2, seed=4)

    def run(x):
        kernel = gspnl.KERNELS["anchors"](**options)
        return (gspnl.feature_graph(x, kernel).apply(Z) * w).sum()

    slope, difference = directional(run, [X], step=1e-6)
    assert abs(slope - difference) < 1e-6 * max(1.0, abs(difference))
    with torch.no_grad():
        plain = float(run(X))
    assert float(run(X.clone().requires_grad_()).detach()) == plain


def test_anchors_without_nodes_refuse_gradients():
    from gspnl.affinity.kernels.placement import Placement

    X = draw(4, 1).requires_grad_()
    placed = Placement(np.zeros((2, 1)), 1.0, np.arange(4), nearest=np.zeros(4, dtype=int))
    with pytest.raises(GspnlError, match="1 of 2 anchors lost all their nodes"):
        placed.of(X)
