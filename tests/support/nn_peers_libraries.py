"""Reference modules of Non-local_pytorch, mmcv and CCNet, with their state-dict keys.

Written again from AlexHex7/Non-local_pytorch, open-mmlab/mmcv and speedinghzl/CCNet, as dense
formulas in plain torch without gspnl.
"""

from __future__ import annotations

import torch
from torch import nn

from support.nn_peers import CONV, NORM, POOL, image, rows

MODES = ("embedded_gaussian", "gaussian", "dot_product", "concatenation")


class Pairwise(nn.Module):
    """The computation of both libraries; subclasses name the modules."""

    mode = "embedded_gaussian"
    scale = False

    def attend(self, x, theta, phi, g, project):
        """Σ_j f(θ_i, φ_j) g_j, normalised over the keys j."""
        if self.mode == "concatenation":
            queries, keys = theta.flatten(2)[..., None], phi.flatten(2)[:, :, None, :]
            shape = (-1, -1, queries.shape[2], keys.shape[3])
            weights = project(torch.cat([queries.expand(shape), keys.expand(shape)], 1))[:, 0]
        else:
            weights = rows(theta) @ phi.flatten(2)
        if self.mode in ("dot_product", "concatenation"):
            weights = weights / weights.shape[-1]
        else:
            if self.scale and self.mode == "embedded_gaussian":
                weights = weights / theta.shape[1] ** 0.5
            weights = weights.softmax(-1)
        return image(weights @ rows(g), x)


class NONLocalBlock(Pairwise):
    """NONLocalBlock1D, 2D and 3D of Non-local_pytorch."""

    def __init__(
        self, channels, inner, *, mode="embedded_gaussian", sub_sample=False, norm=True, dim=2
    ):
        super().__init__()
        conv, pool = CONV[dim], POOL[dim]
        self.mode = mode
        self.g = conv(channels, inner, 1)
        self.W = conv(inner, channels, 1)
        if norm:
            self.W = nn.Sequential(self.W, NORM[dim](channels))
        if mode != "gaussian":
            self.theta, self.phi = conv(channels, inner, 1), conv(channels, inner, 1)
        if mode == "concatenation":
            self.concat_project = nn.Sequential(nn.Conv2d(2 * inner, 1, 1, bias=False), nn.ReLU())
        if sub_sample:
            self.g = nn.Sequential(self.g, pool)
            self.phi = pool if mode == "gaussian" else nn.Sequential(self.phi, pool)
        self.sub_sample = sub_sample

    def forward(self, x):
        theta = x if self.mode == "gaussian" else self.theta(x)
        phi = self.phi(x) if self.mode != "gaussian" or self.sub_sample else x
        project = getattr(self, "concat_project", None)
        return self.W(self.attend(x, theta, phi, self.g(x), project)) + x


class ConvModule(nn.Module):
    """mmcv's ConvModule: a 1×1 convolution, norm, ReLU; a bias where no norm follows."""

    def __init__(self, conv, c_in, c_out, *, norm=None, bias=True, relu=False):
        super().__init__()
        self.conv = conv(c_in, c_out, 1, bias=bias and norm is None)
        if norm is not None:
            self.bn = norm
        self.relu = relu

    def forward(self, x):
        x = self.conv(x)
        x = self.bn(x) if hasattr(self, "bn") else x
        return torch.relu(x) if self.relu else x


class NonLocalNd(Pairwise):
    """NonLocal1d, 2d and 3d of mmcv."""

    def __init__(
        self, channels, *, reduction=2, use_scale=True, norm=False, mode="embedded_gaussian",
        sub_sample=False, dim=2,
    ):  # fmt: skip
        super().__init__()
        conv, inner = CONV[dim], channels // reduction
        self.mode, self.scale, self.sub_sample = mode, use_scale, sub_sample
        self.g = ConvModule(conv, channels, inner)
        self.conv_out = ConvModule(
            conv, inner, channels, norm=NORM[dim](channels) if norm else None
        )
        if mode != "gaussian":
            self.theta = ConvModule(conv, channels, inner)
            self.phi = ConvModule(conv, channels, inner)
        if mode == "concatenation":
            self.concat_project = ConvModule(nn.Conv2d, 2 * inner, 1, bias=False, relu=True)
        if sub_sample:
            self.g = nn.Sequential(self.g, POOL[dim])
            self.phi = POOL[dim] if mode == "gaussian" else nn.Sequential(self.phi, POOL[dim])

    def forward(self, x):
        theta = x if self.mode == "gaussian" else self.theta(x)
        phi = self.phi(x) if self.mode != "gaussian" or self.sub_sample else x
        project = getattr(self, "concat_project", None)
        return x + self.conv_out(self.attend(x, theta, phi, self.g(x), project))


class CrissCrossAttention(nn.Module):
    """CCNet's module: a softmax over a position's column, without itself, and its row."""

    def __init__(self, channels, inner=None):
        super().__init__()
        inner = inner or channels // 8
        self.query_conv = nn.Conv2d(channels, inner, 1)
        self.key_conv = nn.Conv2d(channels, inner, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        query, key, value = self.query_conv(x), self.key_conv(x), self.value_conv(x)
        height = x.shape[2]
        own = torch.eye(height, dtype=torch.bool)[None, :, None, :]
        columns = torch.einsum("bchw,bcgw->bhwg", query, key).masked_fill(own, -torch.inf)
        along = torch.einsum("bchw,bchv->bhwv", query, key)
        weights = torch.cat([columns, along], 3).softmax(3)
        out = torch.einsum("bhwg,bcgw->bchw", weights[..., :height], value)
        out = out + torch.einsum("bhwv,bchv->bchw", weights[..., height:], value)
        return self.gamma * out + x
