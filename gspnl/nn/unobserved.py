"""Whether anything could tell a quicker way from the plain one: hooks, or another transform."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as modules

# Hooks on all modules, and methods that may be replaced on one.
EVERYWHERE = (
    modules._global_forward_hooks,
    modules._global_forward_pre_hooks,
    modules._global_backward_hooks,
    modules._global_backward_pre_hooks,
)
REPLACED = {"forward", "filtered", "series", "added", "total", "_operator", "_scales"}


def eager(x: Tensor) -> bool:
    """Whether plain autograd runs this, on a CPU, whose half precision saves no time here."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    if torch._C._get_tracing_state() is not None:  # torch.jit.trace
        return False
    if any(map(len, EVERYWHERE)) or (x.is_inference() and torch.is_grad_enabled()):
        return False
    if x.dtype in (torch.float16, torch.bfloat16) and not torch.is_autocast_enabled("cpu"):
        return False
    return not (torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0)


def plain(module: nn.Module | None, *kinds: type[nn.Module]) -> bool:
    """Whether a module is as it was made: nobody follows its calls or has replaced them."""
    if module is None or type(module) not in kinds or not REPLACED.isdisjoint(vars(module)):
        return False
    hooks = module._forward_hooks, module._forward_pre_hooks
    backward = module._backward_hooks, module._backward_pre_hooks
    return not any(map(len, (*hooks, *backward)))
