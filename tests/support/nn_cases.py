"""Create small blocks with random parameters and compare them with the dense formulas."""

from __future__ import annotations

import torch

from gspnl import nn as gnn
from support.nn_dense import COMMON, DEFAULTS, dense

NAMES = sorted(gnn.BLOCKS)
SIZES = {1: (7,), 2: (3, 4), 3: (2, 3, 2)}
CHANNELS, INNER = 6, 4
OWN = {  # default options of the tests
    "chebyshev": {"order": 3},
    "spectral": {"order": 2},
    "cgnl": {"groups": 2},
}
PAIRED = [name for name in NAMES if {"kernel", "normalization"} <= DEFAULTS[name].keys()]
ATTENDING = [name for name in NAMES if name != "linear"]  # blocks with an affinity

KERNELS = ["dot", "cosine", "gaussian", "embedded_gaussian", "rbf", "concatenation"]
SYMMETRIC = ["random_walk", "symmetric", "bistochastic"]
PLAIN = ["softmax", "mean", "none"]  # M itself, not symmetrised: A has no real spectrum

# One block for each option that changes the operations
OPTIONS = [
    *[("snl", {"kernel": k}) for k in KERNELS],
    *[("snl", {"normalization": m}) for m in ("symmetric", "softmax", "mean", "none")],
    *[("snl", {"kernel": "rbf", "normalization": m}) for m in ("symmetric", "softmax")],
    ("snl", {"kernel": "concatenation", "normalization": "mean"}),
    ("snl", {"isolated": "zero"}),
    ("snl", {"storage": "lowrank"}),
    ("snl", {"storage": "dense"}),
    ("chebyshev", {"storage": "lowrank"}),
    ("nl", {"sub_sample": 2}),
    ("nl", {"kernel": "concatenation", "normalization": "mean", "sub_sample": 2}),
    ("cgnl", {"kernel": "rbf", "groups": 2}),
    *[("snl", {"norm": norm, "bias": True}) for norm in ("group", "layer", "none")],
    ("snl", {"units": 2, "activation": "relu"}),
]

# Outputs and gradients agree to 1e-9 of their largest entry; gradients that are 0 by algebra (a
# constant before a batch norm) agree to 1e-13 of the largest gradient.
RELATIVE, ROUNDING = 1e-9, 1e-13


def noise(*shape, seed=0, scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=dtype)


def signal(dims=2, batch=2, channels=CHANNELS, seed=0):
    return noise(batch, channels, *SIZES[dims], seed=seed)


def randomize(block, seed=0, scale=0.5):
    """Draw every parameter and running statistic at random, γ, gates and biases included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in block.state_dict().items():
            if not value.is_floating_point():
                continue
            drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            if name.endswith("running_var"):
                drawn = 0.5 + drawn.abs()
            elif name.endswith("times"):
                drawn = drawn - 3  # τ around 1.5, where exp(−τ L) is far from its limits
            else:
                drawn = scale * drawn
            value.copy_(drawn)
    return block


def make(name, channels=CHANNELS, seed=0, **options):
    """A block in float64 with random parameters."""
    options = {"inner": INNER} | OWN.get(name, {}) | options
    return randomize(gnn.create(name, channels, **options).double(), seed)


def formula(name, params, x, training=False, **options):
    """The dense formula with the options of :func:`make`."""
    options = OWN.get(name, {}) | options
    known = COMMON.keys() | {"kernel", "normalization"}
    return dense(
        name, params, x, training=training, **{k: v for k, v in options.items() if k in known}
    )


def allowed(kernel, normalization):
    """Whether the pair is valid: an exponential without row sums has no scale."""
    exponential = kernel in ("gaussian", "embedded_gaussian", "rbf")
    return not (exponential and normalization in ("mean", "none"))


def settings(kernel, normalization):
    """Options and an input for which the normalisation exists."""
    options = {"kernel": kernel, "normalization": normalization}
    x = 0.7 * signal(seed=1)
    if kernel == "concatenation" and normalization == "bistochastic":
        options["bias"] = True  # see positive(): all a_i + b_j > 0, so the scales exist
    if kernel == "dot" and normalization == "bistochastic":
        options["feature_map"] = "softplus"
    return x, options


def state(block):
    """Copies of parameters and buffers; floating ones require a gradient."""
    return {
        key: value.detach().clone().requires_grad_(value.is_floating_point())
        for key, value in block.state_dict().items()
    }


def close(actual, expected, floor=0.0, what=""):
    assert actual.shape == expected.shape, what
    error = (actual - expected).abs().max().item()
    scale = expected.abs().max().item()
    assert error <= RELATIVE * scale + floor, f"{what}: off by {error:.3g}, size {scale:.3g}"


def compare(name, x, training=False, seed=0, block=None, **options):
    """Compare output, input gradient and all parameter gradients with the dense formula."""
    block = (make(name, seed=seed, **options) if block is None else block).train(training)
    params, u, v = state(block), x.clone().requires_grad_(), x.clone().requires_grad_()
    actual, expected = block(v), formula(name, params, u, training, **options)
    close((actual - v).detach(), (expected - u).detach(), ROUNDING * x.abs().max(), f"{name}: F")
    weight = noise(*x.shape, seed=seed + 100)
    block.zero_grad(set_to_none=True)
    actual.backward(weight)
    expected.backward(weight)
    largest = max(p.grad.abs().max() for p in params.values() if p.grad is not None)
    floor = ROUNDING * max(largest, u.grad.abs().max())
    close(v.grad - weight, u.grad - weight, floor, f"{name}: gradient of x")
    for key, parameter in block.named_parameters():
        expected = params[key].grad
        if expected is None:
            assert parameter.grad is None, f"{name}: the formula does not use {key}"
            continue
        assert parameter.grad is not None, f"{name}: {key} has no gradient"
        close(parameter.grad, expected, floor, f"{name}: gradient of {key}")
    return block


def step(block, x, weight, run=None):
    """Output, gradient of x, and of every parameter, of a block or of its traced form ``run``."""
    x = x.detach().clone().requires_grad_()
    y = (block if run is None else run)(x)
    block.zero_grad(set_to_none=True)
    y.backward(weight)
    grads = {k: p.grad for k, p in block.named_parameters() if p.grad is not None}
    return {"y": y.detach(), "x": x.grad, **grads}
