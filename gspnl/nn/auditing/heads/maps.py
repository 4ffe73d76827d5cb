"""Measure the map W_V W_O by which a head changes channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl.filters.directed.krylov import by_modulus
from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.auditing.heads.case import as_float64

UNKNOWN = "the projections W_V and W_O of this layer are not known"


def value_output(call: AttentionCall, head: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Return singular values and eigenvalues of W_V W_O (C, C'), with reasons.

    Of C values all but c, the width of the head, are 0: they come from matrices of that width.
    """
    if call.value_weight is None or call.output_weight is None:
        return {}, dict.fromkeys(("value_output", "value_output_eigenvalues"), UNKNOWN)
    V, W = as_float64(call.value_weight[head]), as_float64(call.output_weight[head])
    R, S = (np.asarray(np.linalg.qr(tall, mode="r")) for tall in (V, W.T))
    sigma = np.zeros(min(V.shape[0], W.shape[1]))
    found = np.linalg.svd(R @ S.T, compute_uv=False)
    sigma[: len(found)] = found
    if V.shape[0] != W.shape[1]:
        why = f"W_V W_O is not square: {V.shape[0]} channels in and {W.shape[1]} out"
        return {"value_output": sigma}, {"value_output_eigenvalues": why}
    mu = np.linalg.eigvals(W @ V if V.shape[1] < V.shape[0] else V @ W).astype(complex)
    mu = np.concatenate([mu, np.zeros(V.shape[0] - len(mu))])
    return {"value_output": sigma, "value_output_eigenvalues": mu[by_modulus(mu)]}, {}
