"""Reference modules of the spectral nonlocal and CGNL codes, with their state-dict keys.

Written again from zh460045050/spectral-nonlocal-block (2019) and SNL_ICCV2021, and from
KaiyuYue/cgnl-network.pytorch (2018), as dense formulas in plain torch without gspnl: they are what
``from_peer`` is tested against. ``dim`` is the number of spatial dimensions.
"""

from __future__ import annotations

import math

import torch
from torch import nn

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOL = {1: nn.MaxPool1d(2), 2: nn.MaxPool2d(2), 3: nn.MaxPool3d((1, 2, 2))}


def rows(x):
    """(B, C, *spatial) → (B, N, C)."""
    return x.flatten(2).transpose(1, 2)


def image(nodes, like):
    """(B, N, c) → (B, c, *spatial)."""
    return nodes.transpose(1, 2).reshape(len(like), -1, *like.shape[2:])


class Unit(nn.Module):
    """A stage of the spectral nonlocal codes: maps, batch norm, optional ReLU, residual."""

    def __init__(self, channels, inner, dim, maps, relu):
        super().__init__()
        self.g = CONV[dim](channels, inner, 1, bias=False)
        for name in maps:
            setattr(self, name, CONV[dim](inner, channels, 1, bias=False))
        self.bn = NORM[dim](channels)
        self.relu = relu

    def combine(self, z, az):
        raise NotImplementedError

    def forward(self, x, affinity):
        z = self.g(x)
        out = self.bn(self.combine(z, image(affinity @ rows(z), z)))
        return (torch.relu(out) if self.relu else out) + x


class SNLUnit(Unit):
    def combine(self, z, az):
        return self.w_1(z) + self.w_2(az)


class GSNLUnit(Unit):
    def combine(self, z, az):
        return self.w_1(z) + self.w_2(az) + self.w_3(2 * az - z)


class NSUnit(Unit):
    def combine(self, z, az):
        return self.w_2(z) - self.w_2(az)


class NLUnit(Unit):
    def combine(self, z, az):
        return self.w_2(az)


UNITS = {
    "snl": (SNLUnit, ("w_1", "w_2")),
    "gsnl": (GSNLUnit, ("w_1", "w_2", "w_3")),
    "ns": (NSUnit, ("w_2",)),
    "nl": (NLUnit, ("w_2",)),
}


class Stages(nn.Module):
    """Units that share one affinity: softmax rows, or (2021) relu features, D^-½ W D^-½."""

    def __init__(self, kind, channels, inner, *, units=1, dim=2, relu=False, symmetric=False):
        super().__init__()
        self.t = CONV[dim](channels, inner, 1, bias=False)
        self.p = CONV[dim](channels, inner, 1, bias=False)
        unit, maps = UNITS[kind]
        self.stages = nn.Sequential(*(unit(channels, inner, dim, maps, relu) for _ in range(units)))
        self.symmetric = symmetric

    def affinity(self, x):
        t, p = rows(self.t(x)), rows(self.p(x))
        if not self.symmetric:
            return (t @ p.mT).softmax(-1)
        weights = torch.relu(t) @ torch.relu(p).mT
        weights = (weights + weights.mT) / 2
        degrees = weights.sum(2)
        some = degrees != 0
        scales = torch.zeros_like(degrees).masked_scatter(some, degrees[some].rsqrt())
        return weights * scales[:, None, :] * scales[:, :, None]

    def forward(self, x):
        affinity = self.affinity(x)
        for stage in self.stages:
            x = stage(x, affinity)
        return x


def snl_2019(kind, channels, inner, *, units=1, dim=2, relu=False):
    """SNLStage, gSNLStage and their spatio-temporal twins."""
    return Stages(kind, channels, inner, units=units, dim=dim, relu=relu)


def snl_2021(kind, channels, inner, *, units=1, dim=2):
    """Stage: nl and ns with softmax rows, snl symmetric; always batch norm and ReLU."""
    return Stages(kind, channels, inner, units=units, dim=dim, relu=True, symmetric=kind == "snl")


class CGNL(nn.Module):
    """SpatialCGNL; with an order, SpatialCGNLx."""

    def __init__(self, channels, inner, *, groups=1, order=None, dim=2):
        super().__init__()
        for name in "tpg":
            setattr(self, name, CONV[dim](channels, inner, 1, bias=False))
        self.z = CONV[dim](inner, channels, 1, groups=groups, bias=False)
        self.gn = nn.GroupNorm(groups, channels)
        self.groups, self.order = groups, order

    def powers(self, values):
        """(B, n) → (B, order + 1, n), the Taylor features of the rbf kernel."""
        if self.order is None:
            return values[:, None]
        gamma = 1e-4
        alphas = [(2 * gamma) ** k / math.factorial(k) for k in range(self.order + 1)]
        return torch.stack(
            [values**k * math.sqrt(a * math.exp(-2 * gamma)) for k, a in enumerate(alphas)], 1
        )

    def forward(self, x):
        parts = []
        chunks = (conv(x).chunk(self.groups, 1) for conv in (self.t, self.p, self.g))
        for t, p, g in zip(*chunks, strict=True):
            attention = self.powers(p.flatten(1)) @ g.flatten(1)[:, :, None]
            parts.append((attention.mT @ self.powers(t.flatten(1))).reshape(t.shape))
        return self.gn(self.z(torch.cat(parts, 1))) + x


class CGNLsNL(nn.Module):
    """SpatialNL, the baseline in the CGNL release."""

    def __init__(self, channels, inner, *, scale=False, dim=2):
        super().__init__()
        for name in "tpg":
            setattr(self, name, CONV[dim](channels, inner, 1, bias=False))
        self.z = CONV[dim](inner, channels, 1, bias=False)
        self.bn = NORM[dim](channels)
        self.scale = scale

    def forward(self, x):
        t, p, g = (conv(x) for conv in (self.t, self.p, self.g))
        scores = rows(t) @ rows(p).mT
        if self.scale:
            scores = scores / t.shape[1] ** 0.5
        return self.bn(self.z(image(scores.softmax(-1) @ rows(g), x))) + x
