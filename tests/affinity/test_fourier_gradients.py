"""Gradients through Fourier sums: against finite differences and against a dense formula."""

from __future__ import annotations

import numpy as np
import pytest

import gspnl
from gspnl.errors import GspnlError

pytest.importorskip("finufft")
torch = pytest.importorskip("torch")

N = 12
NORMALIZATIONS = ["random_walk", "symmetric", "bistochastic", "softmax", "combinatorial"]
KERNELS = ["rbf", "gaussian", "embedded_gaussian"]
VERBS = {
    "apply": lambda graph, Z: graph.apply(Z),
    "laplacian": lambda graph, Z: graph.laplacian(Z),
    "exact filter": lambda graph, Z: graph.filter(Z, gspnl.responses.heat(2.0)),
    "filter of an order": lambda graph, Z: graph.filter(Z, gspnl.responses.heat(2.0), order=5),
    "filter to a tolerance": lambda graph, Z: graph.filter(Z, gspnl.responses.heat(2.0), tol=1e-6),
    "energy": gspnl.dirichlet_energy,
    "degrees": lambda graph, Z: graph.degrees,
}


def drawn(*shape, seed=0, dtype=torch.float64):
    values = np.random.default_rng([seed, *shape]).random(shape)
    return torch.tensor(values, dtype=dtype, requires_grad=True)


def graph_of(X, kernel="rbf", E=None, tol=1e-8, **options):
    own = {"rbf": {"sigma": 0.4}, "gaussian": {}, "embedded_gaussian": {"embed": (E, E)}}[kernel]
    return gspnl.feature_graph(X, kernel, approximation="fourier", tol=tol, **own, **options)


def checked(function, *inputs):
    return torch.autograd.gradcheck(
        function, inputs, atol=1e-5, rtol=1e-3, fast_mode=True, check_undefined_grad=False
    )


def dense(X, sigma=0.4):
    """Compute the random-walk A by differences."""
    W = torch.exp(-((X[..., :, None, :] - X[..., None, :, :]) ** 2).sum(-1) / (2 * sigma**2))
    return W / W.sum(-1, keepdim=True)


def gradients(value, *inputs):
    return [grad.detach() for grad in torch.autograd.grad(value, inputs, retain_graph=True)]


@pytest.mark.parametrize("self_loops", [True, False])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_gradients_of_products_agree_with_finite_differences(
    dims, kernel, normalization, self_loops
):
    def product(X, Z, E):
        options = {"normalization": normalization, "self_loops": self_loops}
        return graph_of(X, kernel, E, tol=1e-5, **options).apply(Z)

    if kernel != "embedded_gaussian":
        assert checked(lambda X, Z: product(X, Z, None), drawn(N, dims), drawn(N, 3))
    else:
        assert checked(product, drawn(N, dims), drawn(N, 3), drawn(dims, dims))


@pytest.mark.parametrize("kernel", ["rbf", "gaussian"])
@pytest.mark.parametrize("normalization", [n for n in NORMALIZATIONS if n != "softmax"])
@pytest.mark.parametrize("verb", VERBS)
def test_gradients_of_verbs_agree_with_finite_differences(verb, normalization, kernel):
    def value(X, Z):
        return VERBS[verb](graph_of(X, kernel, normalization=normalization), Z)

    assert checked(value, drawn(N, 2), drawn(N, 3))


def test_every_entry_of_the_jacobian_agrees_with_finite_differences():
    def product(X, Z):
        return graph_of(X).apply(Z)

    assert torch.autograd.gradcheck(product, (drawn(6, 2), drawn(6, 3)), atol=1e-6, rtol=1e-5)


def test_gradients_of_a_batch_are_those_of_its_graphs():
    X, Z = drawn(2, 3, N, 2), drawn(2, 3, N, 1)
    found = gradients((graph_of(X).filter(Z, gspnl.responses.heat(1.0), order=3) ** 2).sum(), X, Z)
    for index in np.ndindex(2, 3):
        x, z = X[index], Z[index]
        lone = graph_of(x).filter(z, gspnl.responses.heat(1.0), order=3)
        for all_, one in zip(found, gradients((lone**2).sum(), x, z), strict=True):
            torch.testing.assert_close(all_[index], one, atol=1e-7, rtol=1e-6)


def test_gradients_of_float32_features_agree_with_a_dense_formula_in_float64():
    X, Z = drawn(N, 3, dtype=torch.float32), drawn(N, 5, dtype=torch.float32)
    out = graph_of(X, tol=1e-5).apply(Z)
    wide = [part.detach().double().requires_grad_() for part in (X, Z)]
    truth = gradients(((dense(wide[0]) @ wide[1]) ** 2).sum(), *wide)
    for found, true in zip(gradients((out**2).sum(), X, Z), truth, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), true, atol=1e-5, rtol=1e-4)


def test_a_graph_that_is_used_twice_adds_its_gradients():
    X, Z = drawn(N, 2), drawn(N, 2)
    graph = graph_of(X)
    A = dense(X)
    found = gradients((graph.apply(graph.apply(Z)) * graph.apply(Z**2)).sum(), X, Z)
    truth = gradients(((A @ (A @ Z)) * (A @ Z**2)).sum(), X, Z)
    for mine, true in zip(found, truth, strict=True):
        torch.testing.assert_close(mine, true, atol=1e-7, rtol=1e-6)


def test_a_backward_pass_can_be_repeated():
    X, Z = drawn(N, 2), drawn(N, 2)
    value = (graph_of(X).apply(Z) ** 2).sum()
    for first, second in zip(gradients(value, X, Z), gradients(value, X, Z), strict=True):
        assert torch.equal(first, second)


def test_gradients_for_far_points_are_those_of_their_neighbours():
    """Gaps are closed along the axes; the derivative over them vanishes."""
    X = (drawn(N, 2) + torch.tensor([[0.0, 1e4]] * 5 + [[0.0, 0.0]] * 7)).detach().requires_grad_()
    Z = drawn(N, 2)
    found = gradients((graph_of(X, tol=1e-6).apply(Z) ** 2).sum(), X, Z)
    for mine, true in zip(found, gradients(((dense(X) @ Z) ** 2).sum(), X, Z), strict=True):
        torch.testing.assert_close(mine, true, atol=1e-6, rtol=1e-5)


def test_gradients_of_small_upstream_values_keep_their_digits():
    """Signals and gradients of very different sizes travel in one transform."""
    X, Z = drawn(N, 1), drawn(N, 1)
    out = graph_of(X).apply(Z)
    small, plain = gradients(1e-30 * out.sum(), X, Z), gradients(out.sum(), X, Z)
    for mine, true in zip(small, plain, strict=True):
        torch.testing.assert_close(mine * 1e30, true, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("by", ["X", "Z"])
def test_gradients_of_gradients_are_refused(by):
    X, Z = drawn(N, 2), drawn(N, 2)
    value = (graph_of(X).apply(Z) ** 2).sum()
    chosen = {"X": X, "Z": Z}[by]
    (first,) = torch.autograd.grad(value, chosen, create_graph=True)
    with pytest.raises(GspnlError, match=r"approximation='fourier'.*differentiate once"):
        torch.autograd.grad((first**2).sum(), X)


def test_no_gradients_are_recorded_without_autograd():
    X, Z = drawn(N, 2), drawn(N, 2)
    with torch.no_grad():
        graph = graph_of(X)
        assert not graph.apply(Z).requires_grad
    assert graph.apply(Z).requires_grad
    live = graph_of(X)
    with torch.no_grad():
        values = [graph.apply(Z) for graph in (graph, live)]
    torch.testing.assert_close(*values, atol=1e-12, rtol=0)
    assert not values[1].requires_grad
