"""Find the attention of an ONNX graph: softmax nodes that reach a product, Attention operators."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Operators between a softmax and the product that leave each weight as it is.
SAME = {
    "Cast", "Dropout", "Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Where",
}  # fmt: skip
PRODUCTS = {"MatMul", "Gemm", "FusedMatMul"}
SCOPES = "pkg.torch.onnx.name_scopes"  # "['', 'blocks.0', 'softmax']"
DEPTH = 6  # nodes between them


@dataclass(frozen=True)
class Found:
    """One attention of a graph, by the names of its values.

    Attributes
    ----------
    layer : str
        Path of the node, as ``/encoder/layer.0/attention/self``.
    weights : str
        Softmax output; "" for an Attention operator.
    values : str
        The other factor of the product; "" where there is none.
    q, k : str
        Inputs of an Attention operator; "" for a softmax.
    node : int
        Index of the softmax or operator.
    """

    layer: str
    weights: str
    values: str
    node: int
    q: str = ""
    k: str = ""


def find_attention(graph: Any) -> list[Found]:
    """Return the attention of an onnx GraphProto, in the order of its nodes.

    A softmax counts if its output reaches the first factor of a matrix product, through casts and
    reshapes. Subgraphs of If and Loop are not searched.
    """
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = []
    for index, node in enumerate(graph.node):
        if node.op_type == "Attention" and node.domain in ("", "ai.onnx"):
            q, k, v = list(node.input)[:3]
            found.append(Found(layer_of(node, index), "", v, index, q, k))
        elif node.op_type == "Softmax":
            values = _values(node.output[0], readers)
            if values is not None:
                found.append(Found(layer_of(node, index), node.output[0], values, index))
    return found


def _values(name: str, readers: dict[str, list[Any]]) -> str | None:
    """Return the values that a softmax output is multiplied into; None where it is not."""
    reached = [name]
    for _ in range(DEPTH):
        following = []
        for each in reached:
            for node in readers.get(each, ()):
                if node.op_type in PRODUCTS and node.input[0] == each:
                    return str(node.input[1])
                if node.op_type == "Einsum" and node.input[0] == each:
                    return ""
                if node.op_type in SAME:
                    following.append(node.output[0])
        reached = following
    return None


def layer_of(node: Any, index: int) -> str:
    """Return the module of a node by the scopes that torch writes, or by its path."""
    scopes = {each.key: each.value for each in node.metadata_props}.get(SCOPES, "")
    if modules := re.findall(r"'([^']*)'", scopes)[1:-1]:
        return str(modules[-1])
    path = node.name.strip("/")
    head = path.rpartition("/")[0]
    return head.replace("/", ".") or path or f"node {index}"


def attribute(node: Any, name: str, default: Any) -> Any:
    """Return a number among the attributes of a node."""
    for each in node.attribute:
        if each.name == name:
            return each.f if each.type == 1 else each.i  # FLOAT, INT
    return default


def names_of(values: Sequence[Any]) -> list[str]:
    """Return the names of inputs or outputs."""
    return [value.name for value in values]
