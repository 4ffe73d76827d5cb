"""Every block and the core's torch path on other devices than the CPU.

On the meta device no value exists, so a block that reads one fails, and so does one that mixes in a
tensor of the CPU. A dispatch mode also refuses any tensor that an operation makes on the CPU. The
tests marked ``gpu`` compare a CUDA device with the CPU; ``pytest -m gpu`` runs them alone.
"""

from __future__ import annotations

import itertools
from copy import deepcopy

import numpy as np
import pytest
import torch
from support.nn_cases import NAMES, OPTIONS, PAIRED, allowed, make, signal, step
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import gspnl
from gspnl import nn as gnn

KERNELS = ("dot", "cosine", "gaussian", "embedded_gaussian", "rbf", "concatenation")
NORMALIZATIONS = ("random_walk", "symmetric", "bistochastic", "softmax", "mean", "none")
NEEDS_SYMMETRY = ("chebyshev", "spectral")  # a series of high order has no meaning otherwise


def pairs():
    """Every block × kernel × normalisation that exists."""
    for name, kernel, normalization in itertools.product(PAIRED, KERNELS, NORMALIZATIONS):
        plain = normalization in ("softmax", "mean", "none")
        if allowed(kernel, normalization) and not (plain and name in NEEDS_SYMMETRY):
            yield name, {"kernel": kernel, "normalization": normalization}


CASES = [
    *((name, {}) for name in NAMES),
    *pairs(),
    *(("cgnl", {"kernel": k, "groups": 2}) for k in ("dot", "rbf")),
    *OPTIONS,
]


class OnlyOn(TorchDispatchMode):
    """Refuse operations whose result lies on another device."""

    def __init__(self, device):
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and leaf.numel() and leaf.device.type != self.device:
                raise AssertionError(f"{func} makes a tensor {tuple(leaf.shape)} on {leaf.device}")
        return out


@pytest.mark.parametrize(("name", "options"), CASES)
def test_forward_and_backward_on_the_meta_device(name, options):
    block = make(name, **options).train().to("meta")
    x = signal().to("meta").requires_grad_()
    with OnlyOn("meta"):
        y = block(x)
        y.sum().backward()
    assert (y.device.type, y.shape, y.dtype) == ("meta", x.shape, x.dtype)
    assert x.grad is not None
    assert x.grad.device.type == "meta"
    assert all(p.grad is None or p.grad.device.type == "meta" for p in block.parameters())


@pytest.mark.parametrize("dims", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_one_and_three_dimensions_on_the_meta_device(name, dims):
    block, x = make(name).to("meta").eval(), signal(dims).to("meta")
    with OnlyOn("meta"):
        assert block(x).shape == x.shape


@pytest.mark.parametrize("name", NAMES)
def test_large_maps_on_the_meta_device(name):
    """At 64 × 64 positions other storages are chosen than at 3 × 4."""
    block, x = make(name).to("meta"), torch.empty(2, 6, 64, 64, dtype=torch.float64, device="meta")
    with OnlyOn("meta"):
        y = block(x.requires_grad_())
        y.sum().backward()
    assert x.grad is not None


def test_a_constant_of_the_cpu_is_refused():
    """The check itself: a table made on the CPU and moved, as a careless block would."""

    def careless(x):
        return x + torch.arange(x.shape[-1], dtype=x.dtype).to(x.device)

    with pytest.raises(AssertionError, match="on cpu"), OnlyOn("meta"):
        careless(torch.empty(3, device="meta"))


cuda = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def marked(test):
    for mark in cuda:
        test = mark(test)
    return test


@marked
@pytest.mark.parametrize(("name", "options"), CASES)
def test_block_on_a_gpu_equals_the_cpu(name, options):
    """Forward and backward in float64: other orders of the same sums, 1e-9 of the largest entry."""
    block, x = make(name, **options).train(), signal()
    twin, weight = deepcopy(block).to("cuda"), torch.linspace(-1, 1, x.numel(), dtype=x.dtype)
    weight = weight.view_as(x)
    actual, expected = step(twin, x.to("cuda"), weight.to("cuda")), step(block, x, weight)
    largest = max(v.abs().max() for key, v in expected.items() if key != "y")
    assert actual.keys() == expected.keys()
    for key, truth in expected.items():
        size = max(truth.abs().max(), 1e-3 * largest)  # what vanishes by algebra is rounding
        assert (actual[key].cpu() - truth).abs().max() <= 1e-9 * size, key


@marked
@pytest.mark.parametrize("name", NAMES)
def test_folded_block_on_a_gpu_equals_the_cpu(name):
    net = torch.nn.Sequential(make(name)).eval()
    folded = gnn.fold(deepcopy(net)).to("cuda")
    with torch.no_grad():
        y = net(signal())
        assert (folded(signal().to("cuda")).cpu() - y).abs().max() <= 1e-9 * y.abs().max()


GRAPHS = [
    ("dot", {}),
    ("cosine", {}),
    ("anchors", {"anchors": 5}),
    ("rbf", {"sigma": 0.7, "storage": "dense"}),
    ("rbf", {"sigma": 0.7, "storage": "tiled"}),
    ("gaussian", {"storage": "dense"}),
    ("embedded_gaussian", {"embed": 3, "storage": "tiled"}),
    ("concatenation", {"embed": 1, "storage": "sorted"}),
]
VERBS = {
    "apply": lambda g, z: g.apply(z),
    "laplacian": lambda g, z: g.laplacian(z),
    "degrees": lambda g, z: g.degrees,
    "dense": lambda g, z: g.dense(),
    "exact": lambda g, z: g.filter(z, gspnl.responses.heat(2.0)),
    "order 8": lambda g, z: g.filter(z, gspnl.responses.heat(2.0), order=8),
    "tol": lambda g, z: g.filter(z, gspnl.responses.heat(2.0), tol=1e-8),
    "eigenvalues": lambda g, z: g.spectrum().eigenvalues,
    "gft": lambda g, z: g.spectrum().igft(g.spectrum().gft(z)),
}


@marked
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("kernel", "options"), GRAPHS)
def test_graph_on_a_gpu_equals_the_cpu(kernel, options, verb):
    """The core with torch arrays: the result stays on the device of the features."""
    rng = np.random.default_rng(0)
    X, z = torch.as_tensor(rng.random((60, 4))), torch.as_tensor(rng.standard_normal((60, 2)))
    options = dict(options)
    width = options.pop("embed", None)
    embed = [torch.as_tensor(rng.random((4, width or 1))) for _ in range(2)]
    if width == 1:
        embed = [e[:, 0] for e in embed]

    def run(device):
        given = {"embed": tuple(e.to(device) for e in embed)} if width else {}
        graph = gspnl.feature_graph(X.to(device), kernel, **options, **given)
        return VERBS[verb](graph, z.to(device))

    actual, expected = run("cuda"), run("cpu")
    assert actual.device.type == "cuda"
    assert (actual.cpu() - expected).abs().max() <= 1e-9 * expected.abs().max()


@marked
def test_gradient_of_a_filter_on_a_gpu_equals_the_cpu():
    X = torch.as_tensor(np.random.default_rng(0).random((60, 4)))

    def run(device):
        x = X.to(device).detach().requires_grad_()
        gspnl.feature_graph(x, "rbf").filter(x, gspnl.responses.heat(2.0)).square().sum().backward()
        return x.grad.cpu()

    truth = run("cpu")
    assert (run("cuda") - truth).abs().max() <= 1e-9 * truth.abs().max()
