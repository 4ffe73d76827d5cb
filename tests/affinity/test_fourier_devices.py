"""Fourier sums on a GPU: the path through cufinufft, with a stand-in on the CPU and on a GPU."""

from __future__ import annotations

import importlib.machinery
import sys
import types

import finufft
import numpy as np
import pytest

import gspnl
from gspnl.affinity.approximation.fourier import device as devices
from gspnl.affinity.approximation.fourier import weights as fourier_weights

torch = pytest.importorskip("torch")


class Plan:
    """cufinufft.Plan's interface on tensors of the CPU, by finufft."""

    made = 0

    def __init__(self, kind, modes, n_trans, eps, isign, dtype, gpu_device_id):
        assert dtype == "complex128"
        assert gpu_device_id == 0
        type(self).made += 1
        self.plan = finufft.Plan(kind, modes, n_trans=n_trans, eps=eps, isign=isign)

    def setpts(self, *points):
        self.points = [x.numpy().copy() for x in points]  # kept, as finufft keeps no copy
        self.plan.setpts(*self.points)

    def execute(self, data):
        assert isinstance(data, torch.Tensor)
        assert data.is_contiguous()
        values = data.numpy()
        out = self.plan.execute(values if len(values) > 1 else values[0])
        return torch.from_numpy(out if len(values) > 1 else out[None])


@pytest.fixture
def elsewhere(monkeypatch):
    """Take the path of a GPU for tensors of the CPU."""
    module = types.ModuleType("cufinufft")
    module.Plan = Plan
    module.__spec__ = importlib.machinery.ModuleSpec("cufinufft", None)
    monkeypatch.setitem(sys.modules, "cufinufft", module)
    for where in (devices, fourier_weights):
        monkeypatch.setattr(where, "on_device", lambda x: isinstance(x, torch.Tensor))
    Plan.made = 0


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("columns", [1, 3, 10])
def test_signals_stay_on_the_device(elsewhere, d, columns):
    rng = np.random.default_rng(0)
    X, Z = rng.random((60, d)), rng.standard_normal((60, columns))
    graph = gspnl.feature_graph(
        torch.tensor(X), "rbf", sigma=0.3, approximation="fourier", tol=1e-9
    )
    Plan.made = 0
    found = graph.apply(torch.tensor(Z))
    W = np.exp(-(((X[:, None] - X) / 0.3) ** 2).sum(-1) / 2)
    np.testing.assert_allclose(found.numpy(), W @ Z / W.sum(1, keepdims=True), atol=1e-9)
    made = Plan.made
    assert made == 2 * (2 if columns == 10 else 1)
    graph.apply(torch.tensor(Z))
    assert Plan.made == made  # plans are kept


def test_features_on_a_device_without_cufinufft_are_refused(elsewhere, monkeypatch):
    monkeypatch.setitem(sys.modules, "cufinufft", None)
    with pytest.raises(gspnl.errors.MissingExtraError, match="pip install cufinufft"):
        gspnl.feature_graph(torch.rand(30, 2), "rbf", approximation="fourier", tol=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_sums_on_a_gpu_equal_those_on_the_cpu():
    pytest.importorskip("cufinufft")
    rng = np.random.default_rng(0)
    X, Z = torch.tensor(rng.random((5000, 2))), torch.tensor(rng.standard_normal((5000, 5)))
    options = {"sigma": 0.05, "approximation": "fourier", "tol": 1e-9}
    here = gspnl.feature_graph(X, "rbf", **options).apply(Z)
    there = gspnl.feature_graph(X.to("cuda"), "rbf", **options).apply(Z.to("cuda"))
    assert there.device.type == "cuda"
    assert torch.allclose(here, there.cpu(), atol=1e-9)
