"""Graphs of sparse matrices that the package has made itself."""

from __future__ import annotations

import numpy as np
import scipy.sparse
from support.formulas import normalized, relative

from gspnl.affinity.kernels import KERNELS
from gspnl.graph.sparse_graph import sparse_graph


def ring(n=40, dtype=np.float64):
    values = np.random.default_rng(0).random(n).astype(dtype)
    half = scipy.sparse.csr_array((values, (np.arange(n), (np.arange(n) + 1) % n)), shape=(n, n))
    W = (half + half.T).tocsr()
    W.sort_indices()
    return W


def test_a_trusted_matrix_is_kept_as_it_is():
    W = ring()
    graph = sparse_graph(W, KERNELS["cosine"](), "symmetric", "nearest neighbours")
    assert graph.weights.matrix is W
    assert graph.storage_reason == "nearest neighbours"
    assert relative(graph.dense(), normalized(W.toarray(), "symmetric")[0]) < 1e-14


def test_weights_near_the_end_of_the_range_keep_their_digits():
    W = ring(dtype=np.float32)
    far = sparse_graph(W * np.float32(2.0**-115), KERNELS["cosine"]())
    assert relative(far.dense(), normalized(W.toarray().astype(float), "random_walk")[0]) < 1e-6
