"""Maps whose weights a block reads without calling them: honour pruning, old norms and hooks.

Pruning, weight norm and spectral norm of torch.nn.utils recompute a weight in a hook before each
call, so :func:`recompute` runs these hooks before a weight is read. Maps with other hooks, and
other modules in the place of a map, are called: :func:`must_be_called`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from gspnl.errors import InputError
from gspnl.nn.pointwise import Pointwise, pointwise

RECOMPUTING = (prune.BasePruningMethod, WeightNorm, SpectralNorm)
EMBEDDINGS = ("phi", "psi", "project")
SAME = 1e-9  # relative, in float64
M = TypeVar("M", bound=nn.Module)


def recomputing(layer: nn.Module) -> list[Any]:
    """Return the hooks of a layer that recompute its weights."""
    return [hook for hook in layer._forward_pre_hooks.values() if isinstance(hook, RECOMPUTING)]


def recompute(layer: nn.Module) -> None:
    """Recompute pruned and normalised weights, as a call of the layer would."""
    for hook in recomputing(layer):
        hook(layer, ())


def must_be_called(layer: nn.Module) -> bool:
    """Return whether a map may compute more than the product with its weight."""
    return (
        type(layer).forward is not Pointwise.forward
        or "forward" in vars(layer)
        or bool(layer._forward_hooks or layer._backward_hooks or layer._backward_pre_hooks)
        or not all(isinstance(hook, RECOMPUTING) for hook in layer._forward_pre_hooks.values())
    )


def dtype_of(layer: nn.Module, default: torch.dtype) -> torch.dtype:
    """Return the dtype that a map computes in."""
    found = (each.dtype for each in layer.parameters() if each.is_floating_point())
    return next(found, default)


def recomputed(module: nn.Module) -> list[str]:
    """Return the names of weights in a module that hooks or parametrisations recompute."""
    found = []
    for name, each in module.named_modules():
        hooks = recomputing(each)
        parts = [getattr(h, "_tensor_name", getattr(h, "name", "weight")) for h in hooks]
        if parametrize.is_parametrized(each):
            parts += list(each.parametrizations)
        found += [f"{name}.{part}".removeprefix(".") for part in parts]
    return found


def own_memo(module: nn.Module) -> dict[int, Tensor]:
    """Return copies of tensors that hooks computed, for ``copy.deepcopy``, which refuses them."""
    hooked = (each for each in module.modules() if each._forward_pre_hooks)
    values = (value for each in hooked for value in vars(each).values())
    return {
        id(value): value.detach().clone()
        for value in values
        if isinstance(value, Tensor) and value.grad_fn is not None
    }


def plain(module: M, name: str = "") -> M:
    """Return a module whose maps have plain weights: itself, or a copy.

    Weights that torch.nn.utils recomputes are replaced by their values, and maps with other hooks
    by their product. A map that computes anything else is an InputError.

    Parameters
    ----------
    module : Module
        A block, or a part of one.
    name : str
        Of the module, for errors.
    """
    hooked = any(map(recomputing, module.modules()))
    if not hooked and not any(must_be_called(layer) for _, _, _, layer in maps_of(module)):
        return module
    out = copy.deepcopy(module, own_memo(module))
    make_plain(out, name)
    return out


@torch.no_grad()
def make_plain(module: nn.Module, name: str = "") -> None:
    """Make the weights of a module plain, in place; see :func:`plain`."""
    for each in module.modules():
        _remove_recomputing(each)
    for path, holder, attribute, layer in list(maps_of(module)):
        if must_be_called(layer):
            setattr(holder, attribute, _product(layer, f"{name}.{path}".strip(".")))


def maps_of(module: nn.Module) -> Iterator[tuple[str, nn.Module, str, nn.Module]]:
    """Yield (path, holder, attribute, map) of the embeddings and the maps of units."""
    for path, holder in module.named_modules():
        terms = getattr(holder, "terms", None)
        unit = ("g", *terms) if isinstance(terms, dict) else ()
        for attribute in (*EMBEDDINGS, *unit):
            layer = holder._modules.get(attribute)
            if layer is not None:
                yield f"{path}.{attribute}".removeprefix("."), holder, attribute, layer


def _remove_recomputing(layer: nn.Module) -> None:
    """Make the weights that hooks recompute plain parameters."""
    for hook in list(layer._forward_pre_hooks.values()):
        if isinstance(hook, prune.BasePruningMethod):
            prune.remove(layer, hook._tensor_name)  # type: ignore[no-untyped-call]  # of torch
        elif isinstance(hook, WeightNorm):
            remove_weight_norm(layer, hook.name)
        elif isinstance(hook, SpectralNorm):
            remove_spectral_norm(layer, hook.name)


def _product(layer: nn.Module, name: str) -> Pointwise:
    """Return a map without hooks, of the weight and bias of one that computes their product."""
    probe: Any = copy.deepcopy(layer, own_memo(layer)).double().eval()
    weight, groups = getattr(probe, "weight", None), getattr(probe, "groups", 1)
    if isinstance(weight, Tensor) and weight.ndim == 2:
        width, channels = weight.shape[0], weight.shape[1] * groups
        X = torch.linspace(-1e3, 1e3, 3 * channels, dtype=torch.float64, device=weight.device)
        X = torch.sin(X).reshape(1, 3, channels)
        found = probe(X)
        weight, bias = probe.weight, getattr(probe, "bias", None)  # a hook may have set them
        expected = pointwise(X, weight, bias, groups)
        if found.shape == expected.shape and torch.allclose(found, expected, SAME, SAME):
            product = Pointwise(channels, width, bias is not None, groups)
            product.weight = nn.Parameter(weight.detach())
            if bias is not None:
                product.bias = nn.Parameter(bias.detach())
            return product.to(dtype_of(layer, weight.dtype))
    raise InputError(
        f"{name!r} computes more than the product with its weight: it is a "
        f"{type(layer).__name__}{' with hooks' * bool(layer._forward_hooks)}; merge it into the "
        "weight of a plain map first"
    )
