"""Linear paths allocate no N × N tensor, forward or backward."""

from __future__ import annotations

import pytest
import torch
from support.nn_cases import make, noise
from torch.utils._python_dispatch import TorchDispatchMode

from gspnl import nn as gnn
from gspnl.errors import SizeError

CHANNELS, INNER = 8, 4


class Largest(TorchDispatchMode):
    """The number of entries of the largest tensor that any operation returns."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **kwargs or {})
        for leaf in torch.utils._pytree.tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                # Storage as well: an expanded view of few numbers is no N x N tensor.
                held = leaf.untyped_storage().nbytes() // leaf.element_size()
                self.numel = max(self.numel, min(leaf.numel(), held))
        return out


def largest(block, x):
    x = x.requires_grad_()
    with Largest() as seen:
        block(x).square().sum().backward()
    assert torch.isfinite(x.grad).all()
    return seen.numel


def test_recorder_sees_the_matrix_of_the_dense_formula():
    x = noise(1, CHANNELS, 50).requires_grad_()
    with Largest() as seen:
        (x.mT @ x).sum().backward()
    assert seen.numel == 50 * 50


LINEAR = {
    "linear": [{}],
    "snl": [
        {},
        {"normalization": "symmetric"},
        {"normalization": "bistochastic", "feature_map": "softplus"},
        {"kernel": "cosine"},
        {"normalization": "softmax"},
        {"kernel": "concatenation"},
    ],
    "gsnl": [{}],
    "chebyshev": [{"order": 8}, {"order": 3, "kernel": "cosine"}],
    "spectral": [{"order": 2}],
    "nl": [
        {"kernel": "dot", "normalization": "random_walk"},
        {"kernel": "dot", "normalization": "mean", "feature_map": "identity"},
    ],
    "ns": [{"kernel": "dot", "normalization": "random_walk"}],
    "cgnl": [{}, {"kernel": "rbf", "order": 3}],
    "a2": [{}],
}


@pytest.mark.parametrize(
    ("name", "options"), [(name, options) for name, every in LINEAR.items() for options in every]
)
def test_memory_is_linear_in_the_positions(name, options):
    """At most some 64 numbers a position, where N × N would be 20,000."""
    n = 20_000
    block = make(name, CHANNELS, inner=INNER, **{"groups": 1} if name == "cgnl" else {}, **options)
    assert largest(block.float(), noise(1, CHANNELS, n, dtype=torch.float32)) <= 64 * n


@pytest.mark.parametrize("normalization", ["softmax", "random_walk", "symmetric"])
@pytest.mark.parametrize("name", ["nl", "snl"])
def test_exponential_kernels_store_no_full_matrix(name, normalization):
    """Tiles, or torch's fused attention: below a quarter of N x N."""
    n = 3000
    options = {"kernel": "embedded_gaussian", "normalization": normalization}
    block = make(name, CHANNELS, inner=INNER, **options).float()
    assert largest(block, noise(1, CHANNELS, n, dtype=torch.float32)) <= n * n // 4


def test_criss_cross_stores_lines_only():
    """Side 100: N = 10,000 nodes see 199 each, not 10,000."""
    block = make("cc", CHANNELS, inner=INNER).float()
    x = noise(1, CHANNELS, 100, 100, dtype=torch.float32)
    assert largest(block, x) <= 4 * 10_000 * 200


@pytest.mark.parametrize(
    ("kernel", "normalization"), [("rbf", "bistochastic"), ("concatenation", "bistochastic")]
)
def test_affinities_of_all_entries_raise_on_large_maps(kernel, normalization):
    block = make("snl", CHANNELS, inner=INNER, kernel=kernel, normalization=normalization)
    with pytest.raises(SizeError, match=r"300000.*kernel='dot'"):
        block(torch.zeros(1, CHANNELS, 300_000, dtype=torch.float64))


def test_storages_agree_around_the_crossover():
    """The cost model's choice does not change the result."""
    block = gnn.create("snl", 16, zero_init=False).double().eval()
    x = noise(1, 16, 600)
    phi, psi = block.affinity.phi.weight, block.affinity.psi.weight
    for n in (2, 4, 8, 15, 16, 17, 31, 32, 33, 64, 100, 300, 600):
        X = x[0, :, :n].T
        P, Q = torch.relu(X @ phi.T), torch.relu(X @ psi.T)
        W = (P @ Q.T + Q @ P.T) / 2
        d = W.sum(1, keepdim=True)
        A = torch.where(d > 0, W / torch.where(d > 0, d, 1.0), torch.eye(n, dtype=W.dtype))
        stage = block.stages[0]
        Z = X @ stage.g.weight.T
        F = Z @ stage.w_1.weight.T + A @ Z @ stage.w_2.weight.T
        F = F / (1 + 1e-5) ** 0.5  # running statistics at creation: mean 0, variance 1
        assert (block(x[:, :, :n])[0].T - X - F).abs().max() < 1e-12 * F.abs().max() + 1e-14
