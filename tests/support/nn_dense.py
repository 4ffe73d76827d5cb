"""Dense formulas of all blocks of gspnl.nn, in plain torch (docs/mathematics.md).

``dense(name, params, x, **options)`` takes the parameters by their state-dict names and the options
of ``gnn.create``; units and widths follow from the names and shapes of the parameters. Autograd
through these formulas is the oracle of every gradient.
"""

from __future__ import annotations

import math

import torch

MAPS = {
    None: lambda x: x,
    "identity": lambda x: x,
    "relu": lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
    "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "elu1": lambda x: torch.where(x > 0, x + 1, torch.exp(torch.clamp(x, max=0))),
    "square": lambda x: x**2,
    "exp": torch.exp,
}
COMMON = {
    "feature_map": "relu",
    "temperature": 1.0,
    "sigma": 1.0,
    "groups": 1,
    "order": None,
    "sub_sample": None,
    "isolated": "self",
    "norm": "batch",
    "activation": None,
}
ATTENTION = {"kernel": "embedded_gaussian", "normalization": "softmax"}
LOW_RANK = {"kernel": "dot", "normalization": "random_walk"}
DEFAULTS = {
    "linear": {},
    "nl": ATTENTION,
    "ns": ATTENTION,
    "snl": LOW_RANK,
    "gsnl": LOW_RANK,
    "chebyshev": LOW_RANK,
    "spectral": LOW_RANK,
    "cgnl": {"kernel": "dot", "order": 3},
    "a2": {},
    "cc": {},
}
EPS = 1e-5  # of every norm layer, torch's default


def dense(name, params, x, *, training=False, **options):
    """The output of block ``name`` for x (B, C, *spatial)."""
    config = COMMON | DEFAULTS[name] | options
    if name == "cgnl":
        config["norm_groups"] = config["groups"]  # its group norm has the groups of the block
    A = matrix(name, params, x, config)
    y = x
    for i in range(units(params)):
        stage = under(params, f"stages.{i}.")
        Z = linear(stage, "g", nodes(y))
        if config["sub_sample"] is not None:
            Z = pool_nodes(Z, x, config["sub_sample"])
        F = fields(RESPONSES[name](A, Z, stage, config), x)
        F = NORMS[config["norm"]](F, stage, training, config.get("norm_groups"))
        if config["activation"] == "relu":
            F = MAPS["relu"](F)
        if "gate" in stage:
            F = F * per_channel(stage["gate"], F)
        y = y + F
    return y


def units(params):
    return 1 + max(int(key.split(".")[1]) for key in params if key.startswith("stages."))


def under(params, prefix):
    return {key[len(prefix) :]: value for key, value in params.items() if key.startswith(prefix)}


def nodes(x):
    """(B, C, *spatial) → (B, N, C), row-major over the positions."""
    return x.reshape(*x.shape[:2], -1).transpose(1, 2)


def fields(X, like):
    """(B, N, C) → (B, C, *spatial)."""
    return X.transpose(1, 2).reshape(len(X), -1, *like.shape[2:])


def per_channel(v, like):
    return v.reshape(1, -1, *[1] * (like.ndim - 2))


def linear(params, name, X):
    Y = X @ params[f"{name}.weight"].T
    return Y + params[f"{name}.bias"] if f"{name}.bias" in params else Y


# The affinity of each block.


def matrix(name, params, x, config):
    """A: (B, N, N); (B, N·Cs, N·Cs) of cgnl; (B, N, keys) under sub_sample; None of linear."""
    affinity = under(params, "affinity.")
    return AFFINITIES.get(name, graph)(affinity, x, config)


def graph(params, x, config):
    """A of a kernel graph: kernel, weights, normalisation."""
    X = nodes(x)
    if "phi.weight" in params:
        phi, psi = linear(params, "phi", X), linear(params, "psi", X)
    else:
        phi = psi = X
    if config["sub_sample"] is not None:
        psi = pool_nodes(psi, x, config["sub_sample"])
    if "project.weight" in params:  # of concatenation: w_bᵀ max-pool(W_ψ x)
        psi = psi @ params["project.weight"].T
    M = KERNELS[config["kernel"]](phi, psi, config)
    A = NORMALIZATIONS[config["normalization"]](M)
    if config["isolated"] == "zero":
        W = M if config["normalization"] == "softmax" else weights(M)
        A = torch.where((W.sum(-1) > 0)[:, :, None], A, 0.0)
    return A


def pool_nodes(X, like, size):
    """The maximum of each cell of ``size`` positions a side; a remainder is dropped."""
    x = fields(X, like)
    sizes = size if isinstance(size, (tuple, list)) else [size] * (x.ndim - 2)
    for axis, n in enumerate(sizes, start=2):
        x = x.unfold(axis, n, n).amax(-1)
    return nodes(x)


def dot(phi, psi, config):
    h = MAPS[config["feature_map"]]
    return torch.einsum("bir,bjr->bij", h(phi), h(psi))


def cosine(phi, psi, config):
    scale = phi.norm(dim=-1)[:, :, None] * psi.norm(dim=-1)[:, None, :]
    live = scale > 0
    inner = torch.einsum("bir,bjr->bij", phi, psi)
    return (1 + torch.where(live, inner / torch.where(live, scale, 1.0), 0.0)) / 2


def squared_distance(phi, psi):
    return ((phi[:, :, None, :] - psi[:, None, :, :]) ** 2).sum(-1)


KERNELS = {
    "dot": dot,
    "cosine": cosine,
    "gaussian": lambda phi, psi, c: torch.exp(torch.einsum("bir,bjr->bij", phi, psi)),
    "embedded_gaussian": lambda phi, psi, c: torch.exp(
        torch.einsum("bir,bjr->bij", phi, psi) / c["temperature"]
    ),
    "rbf": lambda phi, psi, c: torch.exp(-squared_distance(phi, psi) / (2 * c["sigma"] ** 2)),
    "concatenation": lambda phi, psi, c: MAPS["relu"](phi + psi.transpose(1, 2)),
}


def weights(M):
    return (M + M.transpose(1, 2)) / 2


def scaled(left, W, right, live):
    """diag(l) W diag(r), and 1 on the diagonal of nodes without an edge."""
    A = left[:, :, None] * W * right[:, None, :]
    if W.shape[1] != W.shape[2]:
        return A
    return A + torch.diag_embed((~live).to(W.dtype))


def random_walk(M, symmetrize=True):
    W = weights(M) if symmetrize else M
    d = W.sum(-1)
    live = d > 0
    left = torch.where(live, 1 / torch.where(live, d, 1.0), 0.0)
    return scaled(left, W, torch.ones_like(W[:, 0]), live)


def symmetric(M):
    W = weights(M)
    d = W.sum(-1)
    live = d > 0
    s = torch.where(live, torch.where(live, d, 1.0) ** -0.5, 0.0)
    return scaled(s, W, s, live)


def bistochastic(M):
    """s∘(W s) = 1 by Newton's method; a last, differentiated step has the implicit gradient."""
    W = weights(M)
    live = W.sum(-1) > 0
    one = live.to(W.dtype)

    def jacobian(W, s):
        return torch.diag_embed(torch.where(live, (W @ s[..., None])[..., 0], 1.0)) + (
            s[:, :, None] * W
        )

    def gap(W, s):
        return s * (W @ s[..., None])[..., 0] - one

    with torch.no_grad():
        s = torch.where(live, W.sum(-1).clamp_min(1e-300) ** -0.5, 0.0)
        for _ in range(20_000):  # the damped fixed point of tests/support/formulas.py, to the basin
            if gap(W, s).abs().max() < 1e-6:
                break
            s = s * (1 - gap(W, s) / 2)
        for _ in range(4):
            s = s - torch.linalg.solve(jacobian(W, s), gap(W, s))
        assert gap(W, s).abs().max() < 1e-13, "the oracle's Sinkhorn did not converge"
        J = jacobian(W, s)
    s = s - torch.linalg.solve(J, gap(W, s))
    return scaled(s, W, s, live)


NORMALIZATIONS = {
    "random_walk": random_walk,
    "symmetric": symmetric,
    "bistochastic": bistochastic,
    "softmax": lambda M: random_walk(M, symmetrize=False),
    "mean": lambda M: M / M.shape[-1],
    "none": lambda M: M,
}


def double_attention(params, x, config):
    """A_ij = Σ_c V_ic B_jc: V softmax over channels, B softmax over positions."""
    X = nodes(x)
    V, B = linear(params, "phi", X).exp(), linear(params, "psi", X).exp()
    V = V / V.sum(2, keepdim=True)
    B = B / B.sum(1, keepdim=True)
    return torch.einsum("bic,bjc->bij", V, B)


def criss_cross(params, x, config):
    """Softmax of ⟨φ_i, ψ_j⟩ over the j that differ from i in at most one coordinate."""
    X = nodes(x)
    places = torch.cartesian_prod(*[torch.arange(n) for n in x.shape[2:]])
    places = places.reshape(X.shape[1], -1)
    differ = (places[:, None, :] != places[None, :, :]).sum(-1)
    scores = linear(params, "phi", X) @ linear(params, "psi", X).transpose(1, 2)
    M = torch.where(differ <= 1, scores.exp(), 0.0)
    return M / M.sum(-1, keepdim=True)


def channel_pairs(params, x, config):
    """A of the N·Cs nodes (position, channel): only pairs within a group of channels."""
    X = nodes(x)
    t, p = linear(params, "phi", X), linear(params, "psi", X)
    batch, n, width = t.shape
    group = torch.arange(width) // (width // config["groups"])
    group = group.repeat(n)
    t, p = t.reshape(batch, n * width), p.reshape(batch, n * width)
    if config["kernel"] == "rbf":
        gamma = 1e-4
        M = sum(
            (2 * gamma) ** k
            / math.factorial(k)
            * math.exp(-2 * gamma)
            * t[:, :, None] ** k
            * p[:, None, :] ** k
            for k in range(config["order"] + 1)
        )
    else:
        M = t[:, :, None] * p[:, None, :]
    return torch.where(group[:, None] == group[None, :], M, 0.0)


AFFINITIES = {
    "linear": lambda params, x, config: None,
    "a2": double_attention,
    "cc": criss_cross,
    "cgnl": channel_pairs,
}


# F of each block: matrix functions of A, by their definitions.


def chebyshev(A, K):
    """T_0 … T_K of −A by the matrix recurrence."""
    eye = torch.eye(A.shape[-1], dtype=A.dtype).expand_as(A)
    terms = [eye, -A]
    while len(terms) <= K:
        terms.append(-2 * A @ terms[-1] - terms[-2])
    return terms[: K + 1]


def maps(stage):
    """Number of maps w_0, w_1, … of the stage."""
    return sum(key.startswith("w_") and key.endswith(".weight") for key in stage)


def nl(A, Z, stage, config):
    return linear(stage, "w", A @ Z)


def snl(A, Z, stage, config):
    return linear(stage, "w_1", Z) + linear(stage, "w_2", A @ Z)


def gsnl(A, Z, stage, config):
    return snl(A, Z, stage, config) + linear(stage, "w_3", 2 * (A @ Z) - Z)


def polynomial(A, Z, stage, config):
    T = chebyshev(A, maps(stage) - 1)
    return sum(linear(stage, f"w_{k}", T[k] @ Z) for k in range(len(T)))


def spectral(A, Z, stage, config):
    L = torch.eye(A.shape[-1], dtype=A.dtype) - A
    times = 32 / (1 + torch.exp(-stage["times"]))
    return sum(
        linear(stage, f"w_{m}", torch.linalg.matrix_exp(-times[m] * L) @ Z)
        for m in range(len(times))
    )


def grouped(A, Z, stage, config):
    """A on the pairs, then w, a block-diagonal map of the channel groups."""
    Y = (A @ Z.reshape(len(Z), -1, 1)).reshape(Z.shape)
    groups = config["groups"]
    full = torch.block_diag(*stage["w.weight"].chunk(groups, 0))
    Y = Y @ full.T
    return Y + stage["w.bias"] if "w.bias" in stage else Y


RESPONSES = {
    "linear": lambda A, Z, stage, config: linear(stage, "w_1", Z),
    "nl": nl,
    "ns": lambda A, Z, stage, config: linear(stage, "w", A @ Z - Z),
    "snl": snl,
    "gsnl": gsnl,
    "chebyshev": polynomial,
    "spectral": spectral,
    "cgnl": grouped,
    "a2": nl,
    "cc": nl,
}


# Norms, training statistics and running ones.


def standardize(x, axes):
    mean = x.mean(axes, keepdim=True)
    variance = ((x - mean) ** 2).mean(axes, keepdim=True)
    return (x - mean) / torch.sqrt(variance + EPS)


def affine(x, stage):
    return x * per_channel(stage["norm.weight"], x) + per_channel(stage["norm.bias"], x)


def batch_norm(x, stage, training, groups=None):
    if training:
        return affine(standardize(x, [0, *range(2, x.ndim)]), stage)
    mean, variance = stage["norm.running_mean"], stage["norm.running_var"]
    return affine((x - per_channel(mean, x)) / torch.sqrt(per_channel(variance, x) + EPS), stage)


def group_norm(x, stage, training, groups=None):
    c = x.shape[1]
    groups = groups or max(n for n in range(1, 33) if c % n == 0 and (n == 1 or c // n >= 4))
    split = x.reshape(x.shape[0], groups, -1)
    return affine(standardize(split, [2]).reshape(x.shape), stage)


NORMS = {
    "batch": batch_norm,
    "group": group_norm,
    "layer": lambda x, stage, training, groups: affine(standardize(x, [1]), stage),
    "none": lambda x, stage, training, groups: x,
}
