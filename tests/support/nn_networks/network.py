"""Describe a network: how it is built, a batch, and its layers of attention with plain formulas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

Projections = tuple[np.ndarray, np.ndarray]  # W_V (H, C, c) and W_O (H, c, C)


@dataclass(frozen=True)
class Layer:
    """Attention of one module on the network's batch.

    ``name`` is its qualified name, ``items`` the entries of the batch with windows counted,
    ``keys`` differs from ``nodes`` in cross-attention alone. ``attention(module, *args, **kwargs)``
    gives A of shape (items, heads, nodes, keys) in float64 from the arguments of the module's call;
    ``projections(model)`` gives W_V and W_O, None where A does not mix tokens. ``masked`` is "",
    "causal", "padded" or "masked"; ``call`` counts the calls of one module in a pass.
    """

    name: str
    heads: int
    nodes: int
    items: int
    attention: Callable[..., np.ndarray]
    projections: Callable[[nn.Module], Projections] | None = None
    keys: int | None = None
    masked: str = ""
    cross: bool = False
    call: int = 0

    @property
    def key(self):
        """Name, or (name, call) of later calls."""
        return (self.name, self.call) if self.call else self.name

    def __post_init__(self):
        if self.keys is None:
            object.__setattr__(self, "keys", self.nodes)


@dataclass(frozen=True)
class Network:
    """A network in evaluation mode, and a batch: a tensor, a tuple or keyword arguments."""

    name: str
    build: Callable[[], nn.Module]
    batch: Callable[[], Any]
    layers: tuple[Layer, ...]

    @property
    def heads(self) -> int:
        return sum(layer.heads for layer in self.layers)


class Keeper(nn.Module):
    """Keeps the output of a network without a hook, which would turn off its fast path."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.output = self.model(*args, **kwargs)
        return self.output


def seeded(model: nn.Module, gain: float = 1.5) -> nn.Module:
    """Fill every parameter with seeded Gaussian noise of size gain/√fan-in, in evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            fan = parameter[0].numel() if parameter.dim() > 1 else parameter.numel()
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(gain * noise / fan**0.5)
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                module.weight.add_(1.0)
    return model.eval()


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


def run(model: nn.Module, batch: Any) -> Any:
    """Call the model with a batch, as a user does."""
    if isinstance(batch, dict):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple) else model(batch)


def attention_of(network: Network) -> dict[Any, np.ndarray]:
    """A of every layer's ``key`` by its plain formula, from its module's inputs, fast path off."""
    model, found, hooks = network.build(), {}, []
    for layer in network.layers:
        if layer.call:
            continue

        def see(module, args, kwargs, layer=layer):
            call = sum(layer.name in (key, key[0] if key else key) for key in found)
            key = (layer.name, call) if call else layer.name
            found[key] = layer.attention(module, *args, **kwargs)

        module = model.get_submodule(layer.name)
        hooks.append(module.register_forward_pre_hook(see, with_kwargs=True))
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            run(model, network.batch())
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
        for hook in hooks:
            hook.remove()
    return found
