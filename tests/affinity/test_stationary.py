"""Stationary distributions against closed forms: entries, sparse matrices, products, graphs."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse

import gspnl
from gspnl.affinity.kernels import KERNELS
from gspnl.affinity.stationary import krylov, stationary_distribution
from gspnl.affinity.stationary.distribution import DENSE
from gspnl.affinity.stationary.entries import ELIMINATED
from gspnl.affinity.weights import STORAGES
from gspnl.errors import ConvergenceError, GspnlError, InputError, ReducibleError

RNG = np.random.default_rng(0)
LARGE = ELIMINATED + 52  # nodes from which products are used


class Given:
    """A by its products alone, which are counted."""

    def __init__(self, A):
        self.A, self.n, self.products = A, A.shape[0], 0

    def apply(self, Z):
        self.products += 1
        return np.asarray(self.A @ Z)

    def transpose(self, Z):
        self.products += 1
        return np.asarray((Z.T @ self.A).T)


FORMS = {"dense": np.asarray, "sparse": scipy.sparse.csr_array, "products": Given}


def rows(W):
    return W / W.sum(1, keepdims=True)


def birth_death(n, up, down):
    """Steps i → i + 1 with probability up_i, i → i − 1 with down_i; π_i ∝ Π up_j / down_{j+1}."""
    A = np.diag(up[:-1], 1) + np.diag(down[1:], -1)
    A += np.diag(1 - A.sum(1))
    logs = np.concatenate([[0], np.cumsum(np.log(up[:-1]) - np.log(down[1:]))])
    pi = np.exp(logs - logs.max())
    return A, pi / pi.sum()


def attention(n, width=8, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    s = scale * rng.standard_normal((n, width)) @ rng.standard_normal((width, n))
    return rows(np.exp(s - s.max(1, keepdims=True)))


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("n", [1, 2, 3, 64, 65, 66, 130])
def test_one_mixture_for_every_node_is_its_own_stationary_distribution(n, form):
    pi = RNG.random(n) ** 4
    pi /= pi.sum()
    found = stationary_distribution(FORMS[form](np.ones((n, 1)) * pi))
    assert np.abs(found / pi - 1).max() < 1e-12


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("n", [2, 3, 64, 97])
def test_a_cyclic_permutation_which_is_periodic_is_uniform(n, form):
    order = np.random.default_rng(n).permutation(n)
    A = np.zeros((n, n))
    A[order, np.roll(order, 1)] = 1.0
    found = stationary_distribution(FORMS[form](A))
    assert np.abs(n * found - 1).max() < 1e-12


@pytest.mark.parametrize("n", [2, 60, 300])
def test_tiny_entries_of_a_birth_death_chain_have_small_relative_errors(n):
    rng = np.random.default_rng(1)
    A, pi = birth_death(n, 0.02 + 0.2 * rng.random(n), 0.3 + 0.2 * rng.random(n))
    assert n < 300 or 0 < pi.min() < 1e-100
    for form in ("dense", "sparse"):
        assert np.abs(stationary_distribution(FORMS[form](A)) / pi - 1).max() < 1e-12
    backwards = stationary_distribution(A[::-1, ::-1])
    assert np.abs(backwards[::-1] / pi - 1).max() < 1e-12


@pytest.mark.parametrize("form", list(FORMS))
def test_bipartite_walks_have_half_of_the_mass_on_each_side(form):
    W = np.zeros((9, 9))
    W[:4, 4:] = RNG.random((4, 5))
    W[4:, :4] = W[:4, 4:].T
    found = stationary_distribution(FORMS[form](rows(W)))
    assert np.abs(found - W.sum(1) / W.sum()).max() < 1e-13
    assert abs(found[:4].sum() - 0.5) < 1e-13


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("n", [2, 50, LARGE])
def test_causal_triangles_end_on_the_first_node(n, form):
    found = stationary_distribution(FORMS[form](rows(np.tril(0.5 + RNG.random((n, n))))))
    assert found[0] == 1
    assert (found[1:] == 0).all()


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("n", [12, LARGE])
def test_several_closed_classes_are_named(n, form):
    """Nodes 0 and 3 lead to both classes."""
    first, second = np.array([1, 4, 5]), np.array([2, *range(6, n)])
    W = np.zeros((n, n))
    for part in (first, second):
        W[np.ix_(part, part)] = 0.5 + RNG.random((len(part), len(part)))
    W[0, 3] = W[3, [4, 6]] = 1.0
    A = FORMS[form](rows(W))
    with pytest.raises(
        ReducibleError, match=r"2 closed classes.*: 3 nodes 1, 4, 5; \d+ nodes 2"
    ) as e:
        stationary_distribution(A)
    assert [p.tolist() for p in e.value.classes] == [first.tolist(), second.tolist()]
    with pytest.raises(ReducibleError, match=r"closed classes"):
        stationary_distribution(FORMS[form](np.eye(n)))


@pytest.mark.parametrize("form", list(FORMS))
def test_transient_nodes_have_no_mass(form):
    """A core of all pairs that ten nodes lead to, by one or two steps, without a way back."""
    n = DENSE + 40
    W = np.zeros((n, n))
    W[10:, 10:] = core = attention(n - 10)
    W[:10, 10:20] = W[:5, 5:10] = 1.0
    found = stationary_distribution(FORMS[form](rows(W)))
    assert (found[:10] == 0).all()
    truth = np.linalg.solve(np.eye(n - 10) - core.T + np.ones((n - 10, n - 10)), np.ones(n - 10))
    assert np.abs(found[10:] - truth / truth.sum()).max() < 1e-12


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("n", [100, DENSE + 10, LARGE])
def test_softmax_attention_equals_a_dense_null_space(n, form):
    A = attention(n)
    found = stationary_distribution(FORMS[form](A))
    system = np.vstack([np.eye(n) - A.T, np.ones(n)])[1:]  # one equation follows from the others
    truth = scipy.linalg.solve(system, np.eye(n)[-1])
    assert np.abs(found - truth).max() < 1e-12
    assert abs(found.sum() - 1) < 1e-13
    assert np.abs(found @ A / found - 1).max() < 1e-11


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_slow_mixing_does_not_matter_where_entries_are_known(form):
    """A symmetric walk on a path: 1 − λ₂ = 5e-7."""
    n = LARGE
    half = np.full(n, 0.5)
    A, _ = birth_death(n, half, half)
    assert np.abs(n * stationary_distribution(FORMS[form](A)) - 1).max() < 1e-9


def test_products_that_hardly_determine_it_are_told_apart_from_those_that_do(monkeypatch):
    n = DENSE + 100
    W = attention(n)
    W[:400, 400:] *= 1e-5
    W[400:, :400] *= 1e-5
    A = rows(W)
    truth = stationary_distribution(A)
    assert np.abs(truth @ A - truth).max() < 1e-15
    assert np.abs(stationary_distribution(Given(A)) - truth).max() < 1e-9
    W[:400, 400:] *= 1e-9
    W[400:, :400] *= 1e-9
    monkeypatch.setattr("gspnl.affinity.stationary.distribution.LARGE", 10)
    with pytest.raises(ConvergenceError, match="take the parts as graphs of their own"):
        stationary_distribution(Given(rows(W)))


def test_many_products_are_not_needed():
    given = Given(attention(DENSE + 300))
    stationary_distribution(given)
    assert given.products < 120


def test_matrices_of_no_random_walk_are_refused():
    A = attention(6)
    for wrong, message in [
        (A[:, :5], r"shape \(6, 5\)"),
        (2 * A, r"row \d of A sums to 2"),
        (A - 0.5 * np.eye(6) + 0.5 * np.eye(6)[::-1], "negative entries, down to"),
        (np.where(np.eye(6) > 0, np.nan, A), "not finite"),
    ]:
        with pytest.raises(InputError, match=message):
            stationary_distribution(wrong)


def test_transitions_of_any_size_are_taken_and_those_that_underflow_are_an_error():
    A, pi = birth_death(300, np.full(300, 1e-12), np.full(300, 0.5))
    for given, truth in ((A, pi), (A[::-1, ::-1], pi[::-1])):
        found = stationary_distribution(given)
        seen = truth > 1e-290
        assert np.abs(found[seen] / truth[seen] - 1).max() < 1e-12
        assert found[~seen].max() < 1e-280
    tiny = np.full((3, 3), 1e-300)
    np.fill_diagonal(tiny, 1.0)
    assert np.abs(stationary_distribution(tiny) - 1 / 3).max() < 1e-14
    A, _ = birth_death(5, np.full(5, 1e-200), np.full(5, 1e-200))
    A[1, 2] = A[2, 1] = 1e-320  # the product of two is 0
    A[0, 1] = A[3, 4] = 0.5
    A[0, 0] = A[3, 3] = 0.5
    found = stationary_distribution(A)
    assert np.isfinite(found).all()


# --- graphs ---------------------------------------------------------------------------------------

N = 60
X = np.random.default_rng(3).standard_normal((N, 4))
EMBED = tuple(np.abs(np.random.default_rng(4).standard_normal((2, 4, 3))))
CASES = [
    ("rbf", {"sigma": 1.5}, None),
    ("rbf", {"sigma": "adaptive"}, None),
    ("dot", {"feature_map": "softplus"}, EMBED),
    ("embedded_gaussian", {"temperature": 6.0}, EMBED),
    ("cosine", {}, None),
    ("anchors", {"anchors": 7}, None),
    ("concatenation", {}, tuple(w[:, 0] for w in EMBED)),
]
WALKS = ["random_walk", "bistochastic", "combinatorial", "softmax"]
TOLERANCE = {np.float64: 1e-13, np.float32: 1e-6}


def of(case, normalization, storage="auto", dtype=np.float64, features=X):
    kernel, options, embed = case
    shift = 4.0 if kernel == "concatenation" else 0.0  # so that all weights are positive
    return gspnl.feature_graph(
        (features + shift).astype(dtype), kernel, embed, normalization, storage, **options
    )


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("normalization", WALKS)
@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{len(c[1])}")
def test_graphs_of_every_storage_have_it(case, normalization, dtype):
    for storage in STORAGES:
        if not STORAGES[storage].supports(KERNELS[case[0]](**case[1])):
            continue
        graph = of(case, normalization, storage, dtype)
        found = graph.stationary
        assert found.dtype == dtype
        assert found.shape == (N,)
        A = of(case, normalization, "dense").dense()
        if normalization in ("bistochastic", "combinatorial"):
            truth = np.full(N, 1 / N)
        else:
            truth = np.linalg.solve(np.eye(N) - A.T + np.ones((N, N)), np.ones(N))
            truth /= truth.sum()
        assert np.abs(found - truth).max() < TOLERANCE[dtype]
        if normalization == "random_walk":
            assert np.abs(found - graph.degrees / graph.degrees.sum()).max() < TOLERANCE[dtype]


@pytest.mark.parametrize("storage", ["dense", "tiled"])
def test_large_attention_graphs_have_it(storage):
    rng = np.random.default_rng(5)
    features = rng.standard_normal((DENSE + 200, 6))
    pair = tuple(rng.standard_normal((2, 6, 4)))
    graph = gspnl.feature_graph(features, "embedded_gaussian", pair, "softmax", storage)
    scores = (features @ pair[0]) @ (features @ pair[1]).T
    A = rows(np.exp(scores - scores.max(1, keepdims=True)))
    found = graph.stationary
    assert np.abs(found @ A - found).max() < 1e-14
    assert abs(found.sum() - 1) < 1e-12


def test_low_rank_walks_that_mix_slowly_have_it():
    """Two groups of nodes whose features overlap by 1e-9: a chain of two features."""
    n = DENSE + 500
    rng = np.random.default_rng(6)
    phi, psi = rng.random((2, n, 2)) + 0.1
    phi[: n // 3, 1] *= 1e-9
    phi[n // 3 :, 0] *= 1e-9
    psi[: n // 3, 1] = psi[n // 3 :, 0] = 0.0
    both = np.concatenate([phi, psi], axis=1)
    embed = tuple(np.split(np.eye(4), 2, axis=1))
    graph = gspnl.feature_graph(both, "dot", embed, "softmax", "lowrank")
    A = rows(phi @ psi.T)
    found = graph.stationary
    assert np.abs(found @ A / found - 1).max() < 1e-12
    assert np.abs(found / stationary_distribution(A) - 1).max() < 1e-9


def test_batches_have_one_for_each_graph():
    features = np.random.default_rng(7).standard_normal((2, 3, N, 4))
    for normalization in ("random_walk", "softmax"):
        graph = of(CASES[3], normalization, features=features)
        assert graph.stationary.shape == (2, 3, N)
        one = of(CASES[3], normalization, features=features[1, 2], storage=graph.storage)
        assert np.abs(graph.stationary[1, 2] - one.stationary).max() < 1e-14
        assert np.abs(graph[1, 2].stationary - one.stationary).max() < 1e-14


def test_directed_sparse_and_dense_weights_have_it():
    W = np.where(RNG.random((N, N)) < 0.2, RNG.random((N, N)), 0) + np.roll(np.eye(N), 1, 1)
    for given in (W, scipy.sparse.csr_array(W), W.astype(np.float32)):
        found = gspnl.graph_from_weights(given, "softmax").stationary
        assert np.abs(found @ rows(W) - found).max() < (
            1e-8 if found.dtype == np.float32 else 1e-15
        )


@pytest.mark.parametrize("form", ["dense", "sparse"])
@pytest.mark.parametrize("normalization", WALKS)
def test_components_and_isolated_nodes_are_closed_classes(normalization, form):
    W = scipy.linalg.block_diag(np.ones((3, 3)), np.ones((2, 2)), 0.0)
    graph = gspnl.graph_from_weights(FORMS[form](W), normalization)
    with pytest.raises(ReducibleError, match="3 nodes 0, 1, 2; 2 nodes 3, 4; node 5") as error:
        _ = graph.stationary
    part = error.value.classes[1]
    one = gspnl.graph_from_weights(W[np.ix_(part, part)], normalization)
    assert np.abs(one.stationary - 0.5).max() < 1e-15


def test_rows_without_weights_absorb_the_walk():
    """A node of degree 0 stays where it is, A_ii = 1."""
    W = np.array([[0.0, 1, 1], [1, 0, 0], [0, 0, 0]])
    graph = gspnl.graph_from_weights(W, "softmax")
    assert np.array_equal(graph.stationary, [0, 0, 1])
    assert np.array_equal(gspnl.graph_from_weights(scipy.sparse.csr_array(W), "softmax").stationary,
                          [0, 0, 1])  # fmt: skip


def test_graphs_that_are_no_random_walk_say_so():
    with pytest.raises(InputError, match="use normalization='random_walk'"):
        _ = gspnl.feature_graph(X, "rbf", normalization="symmetric").stationary
    W = np.array([[2.0, -1], [1, 1]])
    with pytest.raises(InputError, match="negative weights"):
        _ = gspnl.graph_from_weights(W, "softmax").stationary
    signed = gspnl.graph_from_weights((W + W.T) / 2 + 1, "random_walk").stationary
    assert np.abs(signed - np.array([4, 3]) / 7).max() < 1e-15


def walk_of(x, pair):
    """A in torch, by the plain formula."""
    return ((x @ pair[0]) @ (x @ pair[1]).T / 6).softmax(-1)


@pytest.mark.parametrize("storage", ["dense", "tiled"])
def test_torch_graphs_have_it_with_its_gradient(storage):
    torch = pytest.importorskip("torch")
    goal = torch.tensor(np.random.default_rng(8).standard_normal(N))
    pair = tuple(torch.tensor(w) for w in EMBED)
    slopes = []
    for plain in (False, True):
        x = torch.tensor(X, requires_grad=True)
        w = tuple(p.clone().requires_grad_() for p in pair)
        if plain:
            A = walk_of(x, w)
            ones = torch.ones(N, N, dtype=A.dtype)
            pi = torch.linalg.solve(torch.eye(N) - A.T + ones, torch.ones(N, dtype=A.dtype))
            pi = pi / pi.sum()
        else:
            graph = gspnl.feature_graph(
                x, "embedded_gaussian", w, "softmax", storage, temperature=6.0
            )
            pi = graph.stationary
        (pi.log() * goal).sum().backward()
        slopes.append([p.grad.numpy() for p in (x, *w)])
    for found, truth in zip(*slopes, strict=True):
        assert np.abs(found - truth).max() < 1e-9 * np.abs(truth).max()


@pytest.mark.parametrize("normalization", ["random_walk", "softmax"])
def test_low_rank_graphs_have_it_with_its_gradient(normalization):
    torch = pytest.importorskip("torch")
    goal = torch.tensor(np.random.default_rng(8).standard_normal(N))
    slopes = []
    for plain in (False, True):
        x = torch.tensor(X, requires_grad=True)
        w = tuple(torch.tensor(p, requires_grad=True) for p in EMBED)
        if plain:
            first, second = (torch.nn.functional.softplus(x @ p) for p in w)
            M = first @ second.T
            M = M if normalization == "softmax" else (M + M.T) / 2
            A = M / M.sum(1, keepdim=True)
            ones = torch.ones(N, N, dtype=A.dtype)
            pi = torch.linalg.solve(torch.eye(N) - A.T + ones, torch.ones(N, dtype=A.dtype))
            pi = pi / pi.sum()
        else:
            graph = gspnl.feature_graph(
                x, "dot", w, normalization, "lowrank", feature_map="softplus"
            )
            pi = graph.stationary
        (pi.log() * goal).sum().backward()
        slopes.append([p.grad.numpy() for p in (x, *w)])
    for found, truth in zip(*slopes, strict=True):
        assert np.abs(found - truth).max() < 1e-9 * np.abs(truth).max()


def test_second_gradients_through_a_solved_distribution_are_an_error():
    torch = pytest.importorskip("torch")
    x = torch.tensor(X, requires_grad=True)
    pair = tuple(map(torch.tensor, EMBED))
    pi = gspnl.feature_graph(x, "embedded_gaussian", pair, "softmax", temperature=4.0).stationary
    (slope,) = torch.autograd.grad((pi**2).sum(), x, create_graph=True)
    with pytest.raises(GspnlError, match="gradients of gradients"):
        (slope**2).sum().backward()


@pytest.mark.parametrize("lazy", [0.0, 0.9, 0.9999])
def test_a_rough_copy_and_the_walk_that_moves_find_pi_of_lazy_walks(lazy):
    rng = np.random.default_rng(3)
    n = 60
    M = rng.random((n, n)) + 0.05
    move = M / M.sum(1, keepdims=True)
    stay = lazy * rng.random(n)
    A = np.diag(stay) + (1 - stay[:, None]) * move
    system = np.vstack([A.T - np.eye(n), np.ones(n)])
    expected = np.linalg.lstsq(system, np.append(np.zeros(n), 1.0), rcond=None)[0]
    diagonal = np.diag(A)
    exact = krylov.JumpChain(Given(A), diagonal)
    rough = krylov.JumpChain(Given(A.astype(np.float32).astype(float)), diagonal)
    jumps, change = krylov.refined(exact, rough, 1e-12, 2)
    pi = jumps / (1 - diagonal)
    assert np.abs(pi / pi.sum() / expected - 1).max() < 1e-9
    assert change < 1e-3
    Z = rng.standard_normal((n, 2))
    J = (A - np.diag(diagonal)) / (1 - diagonal[:, None])
    np.testing.assert_allclose(exact.apply(Z), J @ Z, atol=1e-12)
    np.testing.assert_allclose(exact.transpose(Z), J.T @ Z, atol=1e-12)


def test_a_walk_that_hardly_mixes_has_no_refined_pi():
    rng = np.random.default_rng(0)
    n = 400
    up, down = rng.uniform(0.1, 0.4, (2, n))
    up[-1] = down[0] = 0.0
    A = np.diag(1 - up - down) + np.diag(up[:-1], 1) + np.diag(down[1:], -1)
    assert krylov.refined(Given(A), Given(A), 1e-14, 1) is None
