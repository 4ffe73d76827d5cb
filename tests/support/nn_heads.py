"""Attention of small seeded networks, and its numbers by plain NumPy formulas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from gspnl.nn.attention_calls.call import AttentionCall


def given(A, **more):
    """Return a call of one head with weights A (N, M), or of weights (B, H, N, M)."""
    weights = A if isinstance(A, torch.Tensor) else torch.as_tensor(np.asarray(A))
    weights = weights[None, None] if weights.ndim == 2 else weights
    return AttentionCall("net", "given", None, None, None, weights=weights, **more)


def scored(q, k, v=None, **more):
    """Return a call of queries and keys (B, H, N, r)."""
    q, k = (torch.as_tensor(x) for x in (q, k))
    v = k if v is None else torch.as_tensor(v)
    return AttentionCall("net", "scaled_dot_product_attention", q, k, v, **more)


@dataclass(frozen=True, eq=False)
class Captured:
    """A head on an item, with its A, what it writes and the input of its layer, in NumPy."""

    name: str
    call: AttentionCall
    item: int
    head: int
    kept: np.ndarray  # nodes that take part
    A: np.ndarray
    Y: np.ndarray
    x: np.ndarray
    log_A: np.ndarray


def captured(name, call):
    """Return all heads of a call, computed head by head as the definition says."""
    B, H, N, _ = call.q.shape
    M, G = call.k.shape[2], call.k.shape[1]
    found = []
    for b in range(B):
        for h in range(H):
            q, k, v = (
                x[b, i].double().numpy()
                for x, i in ((call.q, h), (call.k, h // (H // G)), (call.v, h // (H // G)))
            )
            s = q @ k.T * call.scale
            if call.causal:
                s[np.triu_indices(N, 1)] = -np.inf
            if call.mask is not None:
                mask = call.mask.expand(B, H, N, M)[b, h].numpy()
                s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
            kept = np.flatnonzero(np.isfinite(s).any(0)) if N == M else np.arange(N)
            if N == M:
                s = s[np.ix_(kept, kept)]
            log_A = s - np.log(np.exp(s - s.max(1, keepdims=True)).sum(1, keepdims=True))
            log_A -= s.max(1, keepdims=True)
            A = np.exp(log_A)
            V = v[kept] if N == M else v
            Y = A @ V
            if call.output_weight is not None:
                Y = Y @ call.output_weight[h].double().numpy()
            x = v if call.inputs is None else call.inputs[b].double().numpy()
            x = x[kept] if N == M else x
            found.append(Captured(name, call, b, h, kept, A, Y, x, log_A))
    return found


def encoder(sharp=6.0, layers=2, dtype=torch.float64, seed=0):
    """Return a seeded nn.TransformerEncoder whose queries are scaled up, in evaluation mode."""
    torch.manual_seed(seed)
    layer = nn.TransformerEncoderLayer(32, 4, 48, dropout=0.0, batch_first=True, norm_first=True)
    net = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
    for each in net.layers:
        torch.nn.init.normal_(each.self_attn.in_proj_weight, std=0.18)
        torch.nn.init.normal_(each.self_attn.in_proj_bias, std=0.1)
        with torch.no_grad():
            each.self_attn.in_proj_weight[:32] *= sharp
    return net.to(dtype).eval()


def calls_of(net, x, mask=None, padding=None, causal=False):
    """Return a call per layer of an encoder, with torch's own weights of each: (B, H, N, N)."""
    inputs = {}
    hooks = [
        layer.norm1.register_forward_hook(lambda m, a, out, i=i: inputs.setdefault(i, out))
        for i, layer in enumerate(net.layers)
    ]
    with torch.no_grad():
        net(x, mask=mask, src_key_padding_mask=padding)
    for hook in hooks:
        hook.remove()
    calls = []
    for i, layer in enumerate(net.layers):
        attention, z = layer.self_attn, inputs[i].detach()
        with torch.no_grad():
            _, weights = attention(
                z, z, z, key_padding_mask=padding, attn_mask=mask, average_attn_weights=False
            )
            W, H = attention.in_proj_weight, attention.num_heads
            qkv = z @ W.T + attention.in_proj_bias
            q, k, v = (
                t.unflatten(-1, (H, -1)).transpose(1, 2).contiguous() for t in qkv.chunk(3, -1)
            )
            heads_v = W[64:].unflatten(0, (H, -1)).transpose(1, 2)
            heads_o = attention.out_proj.weight.T.unflatten(0, (H, -1))
        seen = None
        if mask is not None and not causal:
            seen = mask if mask.is_floating_point() else ~mask
        if padding is not None:
            seen = ~padding[:, None, None]
        call = AttentionCall(
            f"layers.{i}.self_attn",
            "multi_head_attention_forward",
            q,
            k,
            v,
            mask=seen,
            causal=causal,
            scale=q.shape[-1] ** -0.5,
            inputs=z,
            value_weight=heads_v.detach(),
            output_weight=heads_o.detach(),
        )
        calls.append((call, weights))
    return calls


def network_calls():
    """Return named calls of networks with their weights, None where torch does not give them."""
    generator = torch.Generator().manual_seed(3)

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    found = []
    for i, (call, A) in enumerate(calls_of(encoder(), randn(2, 24, 32))):
        found.append((f"encoder {i}", call, A))
    causal = nn.Transformer.generate_square_subsequent_mask(20, dtype=torch.float64)
    (call, A), _ = calls_of(encoder(seed=1), randn(1, 20, 32), mask=causal)
    found.append(("causal mask", call, A))
    (call, A), _ = calls_of(encoder(seed=1), randn(1, 20, 32), mask=causal, causal=True)
    found.append(("causal", call, A))
    padding = torch.zeros(2, 22, dtype=torch.bool)
    padding[0, 17:], padding[1, :4] = True, True
    (call, A), _ = calls_of(encoder(seed=2), randn(2, 22, 32), padding=padding)
    found.append(("padded", call, A))
    bias = 2 * randn(22, 22)
    (call, A), _ = calls_of(encoder(seed=4), randn(1, 22, 32), mask=bias)
    found.append(("biased", call, A))
    q, k, v = randn(1, 8, 30, 16) * 3, randn(1, 2, 30, 16), randn(1, 2, 30, 12)
    found.append(("grouped", scored(q, k, v, scale=0.25), None))
    return found


def every_head():
    """Return all heads of :func:`network_calls`."""
    return [head for name, call, _ in network_calls() for head in captured(name, call)]


def stationary(A):
    """Return π by LAPACK, and its small entries by sums of terms ≥ 0."""
    mu, left = np.linalg.eig(A.T)
    pi = np.abs(left[:, np.argmin(np.abs(mu - 1))].real)
    for _ in range(3):
        pi = pi / pi.sum() @ A
    return pi / pi.sum()


def numbers(head):
    """Return the numbers of a head as the definitions say, by dense NumPy."""
    A, Y, n = head.A, head.Y, len(head.A)
    pi, sigma = stationary(A), np.linalg.svd(A, compute_uv=False)
    mu = np.linalg.eigvals(A)
    mu = mu[np.argsort(-np.abs(mu))]
    share = sigma / sigma.sum()
    total = sum(
        A[i, j] * abs(int(head.kept[i]) - int(head.kept[j])) for i in range(n) for j in range(n)
    )
    means = np.ones((n, 1)) @ Y.mean(0, keepdims=True)
    found = {
        "eigenvalues": mu,
        "gap": 1 - abs(mu[1]),
        "stationary": pi,
        "sink_mass": pi.max(),
        "sink": head.kept[pi.argmax()],
        "spectral_norm": sigma[0],
        "entropy": -np.mean([(row[row > 0] * np.log(row[row > 0])).sum() for row in A]),
        "effective_rank": np.exp(-(share[share > 0] * np.log(share[share > 0])).sum()),
        "distance": total / n,
        "defect": [
            np.linalg.norm(np.linalg.matrix_power(A, p) - A) / np.linalg.norm(A) for p in (2, 3, 4)
        ],
        "dobrushin": max(np.abs(A[i] - A[j]).sum() / 2 for i in range(n) for j in range(n)),
        "low_frequency_share": np.linalg.norm(means) ** 2 / np.linalg.norm(Y) ** 2,
        "reversible": sum(
            abs(pi[i] * A[i, j] - pi[j] * A[j, i]) for i in range(n) for j in range(i)
        ),
    }
    if pi.min() > 1e-13 * pi.max():
        B = np.diag(pi**0.5) @ A @ np.diag(pi**-0.5)
        chung = (A + np.diag(1 / pi) @ A.T @ np.diag(pi)) / 2
        found["sigma"] = np.linalg.svd(B, compute_uv=False)
        found["chung_gap"] = 1 - np.sort(np.linalg.eigvals(chung).real)[-2]
        P, x = np.diag(pi), head.x - pi @ head.x
        found["dirichlet"] = np.trace(x.T @ P @ (x - A @ x)) / np.trace(x.T @ P @ x)
    if np.isfinite(head.log_A).all():
        K = head.log_A - head.log_A.T
        incidence = np.kron(np.eye(n), np.ones((n, 1))) - np.kron(np.ones((n, 1)), np.eye(n))
        h = np.linalg.lstsq(incidence, K.ravel(), rcond=None)[0]
        found["curl"] = np.linalg.norm(K.ravel() - incidence @ h) ** 2 / np.linalg.norm(K) ** 2
    return found
