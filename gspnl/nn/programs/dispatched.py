"""Observe the attention of TorchScript and exported programs, whose operators skip Python."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gspnl.errors import InputError
from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.programs.fast_path import OPERATORS, fast_path_call
from gspnl.nn.programs.names import attention_names
from gspnl.nn.surgery.batches import run

FUSED = "scaled_dot_product"  # in the names of all fused kernels that take q, k and v
# What TorchScript puts before the reason of an error.
TRACEBACK = re.compile(r"The following operation failed in the TorchScript.*Error: ", re.DOTALL)
SOFTMAX = ("aten::_softmax", "aten::_safe_softmax")
PRODUCTS = ("aten::bmm", "aten::matmul", "aten::mm")
SAME = {
    f"aten::{name}"
    for name in (
        "view", "_unsafe_view", "reshape", "expand", "clone", "_to_copy", "alias", "detach",
        "unsqueeze", "squeeze", "native_dropout", "contiguous", "nan_to_num",
    )
}  # fmt: skip


def is_compiled(model: nn.Module) -> bool:
    """Return whether a module is TorchScript or a graph of operators."""
    return isinstance(model, (torch.jit.ScriptModule, torch.fx.GraphModule))


def observe_program(
    model: nn.Module, batch: Any, outputs: list[Any] | None = None
) -> list[AttentionCall]:
    """Run a program once on a batch; return its attention in the order of execution.

    Fused kernels give q, k and v; a softmax over the last axis that is multiplied into values
    gives its weights. Nothing that the program computes is changed.

    Parameters
    ----------
    model : Module
        In evaluation mode, under ``torch.no_grad``; see :func:`is_compiled`.
    batch : tensor, tuple or mapping
    outputs : list, optional
        The output of the program is appended to it.

    Raises
    ------
    InputError
        Where attention is inside an operator that shows neither.
    """
    seen = _Seen()
    try:
        with seen:
            output = run(model, batch)
    except InputError:
        _explain(model, batch)
        raise
    if outputs is not None:
        outputs.append(output)
    if seen.closed and not seen.found:
        raise InputError(
            f"attention of this program is inside {', '.join(sorted(seen.closed))}, which shows no "
            "weights; write the program again after "
            "torch.backends.mha.set_fastpath_enabled(False)"
        )
    names = attention_names(model)
    if len(names) != seen.events:  # branches or loops
        names = [f"attention {i}" for i in range(seen.events)]
    return numbered([_named(call, names[event]) for event, call in seen.found])


def _explain(model: nn.Module, batch: Any) -> None:
    """Raise the error of a program again with its reason, which is lost under a dispatch mode."""
    try:
        run(model, batch)
    except InputError as error:
        told = " ".join(TRACEBACK.sub("", str(error)).split())
        raise InputError(told.replace(" ; ", "; ")) from None


@dataclass(eq=False)
class _Weights:
    """One softmax: its number among softmaxes and fused kernels, and its output."""

    event: int
    value: Tensor
    used: bool = False
    held: list[Tensor] = field(default_factory=list)  # so that no id is given twice


class _Seen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Record fused attention, and softmax outputs that are multiplied into values."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.events = 0
        self.found: list[tuple[int, AttentionCall]] = []
        self.closed: set[str] = set()
        self.followed: dict[int, _Weights] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._schema.name
        if FUSED in name and "backward" not in name:
            given = _by_name(func, args, kwargs or {})
            if isinstance(given.get("query"), Tensor):
                self.found.append((self.events, _fused(given)))
                self.events += 1
        elif name in SOFTMAX:
            x, dim = args[0], args[1]
            self.events += 1
            if x.ndim >= 3 and dim in (-1, x.ndim - 1):
                self._follow(out, _Weights(self.events - 1, out))
        elif (operator := name.removeprefix("aten::")) in OPERATORS:
            call = fast_path_call(_by_name(func, args, kwargs or {}))
            if call is None:
                self.closed.add(operator)
            else:
                self.found.append((self.events, call))
            self.events += 1
        elif args and isinstance(args[0], Tensor) and id(args[0]) in self.followed:
            weights = self.followed[id(args[0])]
            if name in SAME:
                same = out[0] if isinstance(out, tuple) else out
                self._follow(same, weights)
                self._heads(weights, same)
            elif name in PRODUCTS and not weights.used:
                self._product(weights, args[1])
        return out

    def _follow(self, value: Tensor, weights: _Weights) -> None:
        weights.held.append(value)
        self.followed[id(value)] = weights

    def _heads(self, weights: _Weights, same: Tensor) -> None:
        """Take the heads from a later view (B, H, N, M) of weights used as (B H, N, M)."""
        if weights.used and same.ndim == 4 and weights.value.ndim == 3:
            index = next(i for i, (event, _) in enumerate(self.found) if event == weights.event)
            call = self.found[index][1]
            if call.v is not None and same.shape[-2:] == weights.value.shape[-2:]:
                values = call.v.reshape(*same.shape[:2], *call.v.shape[-2:])
                call = replace(call, v=values, weights=same.detach().clone(), notes=())
                self.found[index] = (weights.event, call)

    def _product(self, weights: _Weights, v: Tensor) -> None:
        """Record weights (…, N, M) that are multiplied into values (…, M, c)."""
        A = weights.value.detach()
        lead = A.shape[:-2]
        if v.shape[-2] != A.shape[-1] or math.prod(v.shape[:-2]) != math.prod(lead):
            return
        heads = lead[-1] if len(lead) > 1 else 1
        notes = () if len(lead) > 1 else ("heads are counted as items of the batch",)
        call = AttentionCall(
            "", "softmax", None, None, v.detach().reshape(-1, heads, *v.shape[-2:]).clone(),
            A.reshape(-1, heads, *A.shape[-2:]).clone(), cross=A.shape[-2] != A.shape[-1],
            notes=notes,
        )  # fmt: skip
        weights.used = True
        self.found.append((weights.event, call))


def _by_name(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an operator by their names."""
    names = [argument.name for argument in func._schema.arguments]
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _fused(given: Mapping[str, Any]) -> AttentionCall:
    q, k, v = (given[name].detach().clone() for name in ("query", "key", "value"))
    mask = given.get("attn_mask", given.get("attn_bias"))
    scale = given.get("scale")
    return AttentionCall(
        "", "scaled_dot_product_attention", q, k, v,
        mask=None if mask is None else mask.detach().clone(),
        causal=bool(given.get("is_causal", False)),
        scale=float(scale) if scale is not None else 1 / math.sqrt(q.shape[-1]),
        cross=q.shape[-2] != k.shape[-2],
    )  # fmt: skip


def _named(call: AttentionCall, layer: str) -> AttentionCall:
    return replace(call, layer=layer)


def numbered(calls: Sequence[AttentionCall]) -> list[AttentionCall]:
    """Number the calls of each layer from 0, in their order."""
    counts: dict[str, int] = {}
    out = []
    for call in calls:
        counts[call.layer] = counts.get(call.layer, -1) + 1
        out.append(replace(call, call=counts[call.layer]))
    return out
