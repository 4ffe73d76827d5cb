"""Name the module of each attention in the graph of a program, in the order of its nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from gspnl.nn.programs.fast_path import OPERATORS

# What an observer counts as an event: a softmax or a fused kernel.
EVENTS = ("softmax", "_softmax", "_safe_softmax", "scaled_dot_product_attention", *OPERATORS)


def attention_names(model: nn.Module) -> list[str]:
    """Return the qualified name of the module around each softmax or fused kernel of a program."""
    if isinstance(model, torch.fx.GraphModule):
        return list(_exported(model))
    try:
        return list(_scripted(model, model.graph, ""))
    except (AttributeError, KeyError, RuntimeError):  # no graph, or a call of what is no module
        return []


def _exported(model: torch.fx.GraphModule) -> Iterator[str]:
    for node in model.graph.nodes:
        if node.op == "call_function" and _operator(node.target) in EVENTS:
            stack = list((node.meta.get("nn_module_stack") or {}).values())
            yield stack[-1][0] if stack else node.name


def _operator(target: Any) -> str:
    schema = getattr(target, "_schema", None)
    return schema.name.partition("::")[2] if schema is not None else getattr(target, "__name__", "")


def _scripted(model: Any, graph: Any, path: str) -> Iterator[str]:
    """Walk through a graph of TorchScript and the methods that it calls."""
    inputs = list(graph.inputs())
    paths = {inputs[0].debugName(): path} if inputs else {}
    for node in graph.nodes():
        kind = node.kind()
        first: Any = next(node.inputs(), None)
        if kind == "prim::GetAttr" and first.debugName() in paths:
            inner = f"{paths[first.debugName()]}.{node.s('name')}".removeprefix(".")
            paths[node.output().debugName()] = inner
        elif kind == "prim::CallMethod" and first.debugName() in paths:
            inner = paths[first.debugName()]
            module = dict(model.named_modules())[inner]
            yield from _scripted(model, module._c._get_method(node.s("name")).graph, inner)
        elif kind.partition("::")[2] in EVENTS:
            yield path
