"""Residual networks as plain functions of a state dict, written from the papers."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def randomized(net, seed=0):
    """Bring a network to float64 and draw its norms, so that each of them matters."""
    generator = torch.Generator().manual_seed(seed)
    net = net.double()
    with torch.no_grad():
        for name, value in net.state_dict().items():
            drawn = torch.rand(value.shape, generator=generator, dtype=torch.float64)
            if name.endswith("running_mean") or (name.endswith("bias") and "fc" not in name):
                value.copy_(drawn - 0.5)
            elif name.endswith("running_var") or value.ndim == 1:
                value.copy_(0.5 + drawn)
    return net


class Layers:
    """The layers of a network by name, from its state dict."""

    def __init__(self, state, training=False, after=None):
        self.state, self.training, self.after = dict(state), training, after or {}

    def conv(self, name, x, stride=1):
        weight = self.state[f"{name}.weight"]
        convolve = {4: F.conv2d, 5: F.conv3d}[weight.ndim]
        return convolve(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def norm(self, name, x):
        dims = [0, *range(2, x.ndim)]
        if self.training:
            mean, var = x.mean(dims, keepdim=True), x.var(dims, correction=0, keepdim=True)
        else:
            mean, var = (self.column(f"{name}.running_{part}", x) for part in ("mean", "var"))
        scale, shift = (self.column(f"{name}.{part}", x) for part in ("weight", "bias"))
        return (x - mean) / (var + 1e-5).sqrt() * scale + shift

    def column(self, name, x):
        return self.state[name].reshape(1, -1, *[1] * (x.ndim - 2))

    def head(self, x):
        return x.flatten(2).mean(2) @ self.state["fc.weight"].mT + self.state["fc.bias"]

    def follow(self, name, x):
        """Apply the nonlocal block after a residual block, if there is one."""
        return self.after[name](x) if name in self.after else x


def preresnet(x, layers, blocks):
    """He et al. 2016b: norm and ReLU come first; a shortcut is a convolution of their output."""
    x = layers.conv("conv1", x)
    for stage in (1, 2, 3):
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            down = 2 if stage > 1 and block == 0 else 1
            convs = 3 if f"{at}.conv3.weight" in layers.state else 2
            y = layers.norm(f"{at}.bn1", x).relu()
            skip = x
            if f"{at}.shortcut.weight" in layers.state:
                skip = layers.conv(f"{at}.shortcut", y, down)
            for n in range(1, convs + 1):
                if n > 1:
                    y = layers.norm(f"{at}.bn{n}", y).relu()
                y = layers.conv(f"{at}.conv{n}", y, down if n == convs - 1 else 1)
            x = layers.follow(at, skip + y)
    return layers.head(layers.norm("bn", x).relu())


def resnet(x, layers, blocks=(3, 4, 6, 3), stride=2, pool=True):
    """He et al. 2016a with bottlenecks; the stride is in the 3×3 convolution."""
    x = layers.norm("bn1", layers.conv("conv1", x, stride)).relu()
    if pool:
        x = {4: F.max_pool2d, 5: F.max_pool3d}[x.ndim](x, 3, 2, 1)
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            at = f"layer{stage}.{block}"
            down = 2 if stage > 1 and block == 0 else 1
            y = layers.norm(f"{at}.bn1", layers.conv(f"{at}.conv1", x)).relu()
            y = layers.norm(f"{at}.bn2", layers.conv(f"{at}.conv2", y, down)).relu()
            y = layers.norm(f"{at}.bn3", layers.conv(f"{at}.conv3", y))
            if f"{at}.downsample.0.weight" in layers.state:
                x = layers.norm(f"{at}.downsample.1", layers.conv(f"{at}.downsample.0", x, down))
            x = layers.follow(at, (x + y).relu())
    return layers.head(x)


def published(classes=1000, kernels=(7, 7), width=64, dimensions=2, channels=3):
    """Names and shapes in torchvision's file of ResNet-50, in its order."""
    shapes = {}

    def conv(name, inputs, outputs, *kernel):
        shapes[f"{name}.weight"] = (outputs, inputs, *kernel)

    def norm(name, n):
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (n,)
        shapes[f"{name}.num_batches_tracked"] = ()

    one, three = (1,) * dimensions, (3,) * dimensions
    conv("conv1", channels, width, *kernels)
    norm("bn1", width)
    inputs = width
    for stage, blocks in enumerate((3, 4, 6, 3)):
        inner = width * 2**stage
        for block in range(blocks):
            at = f"layer{stage + 1}.{block}"
            for n, (a, b, kernel) in enumerate(
                [(inputs, inner, one), (inner, inner, three), (inner, 4 * inner, one)], 1
            ):
                conv(f"{at}.conv{n}", a, b, *kernel)
                norm(f"{at}.bn{n}", b)
            if block == 0:
                conv(f"{at}.downsample.0", inputs, 4 * inner, *one)
                norm(f"{at}.downsample.1", 4 * inner)
            inputs = 4 * inner
    shapes["fc.weight"], shapes["fc.bias"] = (classes, inputs), (classes,)
    return shapes


def drawn(shapes, seed=0):
    """Draw a state dict of given shapes, near He's scale."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            value = torch.tensor(7)
        elif name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            value = 0.5 + torch.rand(shape, generator=generator)
        elif len(shape) > 2:
            value = value * (2 / value[:, 0].numel()) ** 0.5
        state[name] = value
    return state
