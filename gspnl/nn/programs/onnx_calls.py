"""Run an ONNX file with the attention of its graph as further outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gspnl._base import files
from gspnl._base.extras import spec
from gspnl.errors import FileError, InputError, MissingExtraError
from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.programs.dispatched import numbered
from gspnl.nn.programs.onnx_graphs import Found, attribute, find_attention, names_of

LOOKED = (
    "a Softmax over the last axis whose output reaches a MatMul, or an Attention operator; "
    "attention in subgraphs, in an Einsum alone, or in custom operators is not found"
)


def onnx_calls(path: Path, batch: Any) -> tuple[AttentionCall, ...]:
    """Return the attention that an ONNX network computes on a batch, in the order of its nodes.

    Parameters
    ----------
    path : Path
    batch : Tensor, tuple of Tensor, mapping of str to Tensor, or None
        By the order or the names of the graph's inputs.

    Raises
    ------
    MissingExtraError
        Without onnx and onnxruntime.
    FileError, InputError
        For a damaged file, a graph without attention, or a batch that it does not take.
    """
    missing = [name for name in ("onnx", "onnxruntime") if spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"auditing an ONNX file needs {' and '.join(missing)}; pip install onnx onnxruntime"
        )
    import onnx

    files.refuse_endless(path)
    if not path.is_file():
        raise FileError(f"there is no file {str(path)!r}; check the path")
    try:
        model = onnx.load(str(path))
    except Exception as error:  # of protobuf: a damaged file can make it raise anything
        reason = " ".join(str(error).split())[:200]
        raise FileError(f"{str(path)!r} is damaged, or no ONNX file ({reason})") from error
    found = find_attention(model.graph)
    if not found:
        raise InputError(f"{str(path)!r} has no attention; looked for {LOOKED}")
    feeds = _feeds(model.graph, batch, path)
    values = _run(model, found, feeds, path)
    calls = []
    for each in found:
        node = model.graph.node[each.node]
        call = _fused(each, node, values) if each.q else _softmax(each, node, values)
        if call is not None:
            calls.append(call)
    if not calls:
        raise InputError(f"{str(path)!r} has no attention on this batch; looked for {LOOKED}")
    return tuple(numbered(calls))


def _feeds(graph: Any, batch: Any, path: Path) -> dict[str, np.ndarray]:
    """Return the batch by the names of the graph's inputs, in their dtypes."""
    import onnx

    constants = set(names_of(graph.initializer))
    inputs = [value for value in graph.input if value.name not in constants]
    wanted = ", ".join(f"{value.name} {_shape(value)}" for value in inputs)
    if batch is None:
        raise InputError(
            f"{str(path)!r} comes without a batch; pass --input FILE with its inputs ({wanted}), "
            ".npy for one, .npz with their names for several"
        )
    if isinstance(batch, Mapping):
        given = dict(batch)
    else:
        parts: Sequence[Any] = batch if isinstance(batch, tuple) else (batch,)
        given = dict(zip(names_of(inputs), parts, strict=False))
        if len(parts) != len(inputs):
            given = {}
    if set(given) != set(names_of(inputs)):
        raise InputError(
            f"{str(path)!r} takes {wanted}; --input must hold arrays of these names, in a .npz"
        )
    feeds = {}
    for value in inputs:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        feeds[value.name] = np.asarray(given[value.name]).astype(dtype)
    return feeds


def _shape(value: Any) -> str:
    sizes = [d.dim_param or str(d.dim_value) for d in value.type.tensor_type.shape.dim]
    return f"({', '.join(sizes)})"


def _run(
    model: Any, found: Sequence[Found], feeds: dict[str, np.ndarray], path: Path
) -> dict[str, np.ndarray]:
    """Run the graph; return the values of the found names, constants among them."""
    import onnx
    import onnxruntime  # type: ignore[import-untyped]

    names = {n for each in found for n in (each.weights, each.values, each.q, each.k) if n}
    for each in found:  # masks of Attention operators
        if each.q:
            names |= set(list(model.graph.node[each.node].input)[3:4]) - {""}
    constants = {t.name: t for t in model.graph.initializer if t.name in names}
    inputs = {name: feeds[name] for name in names if name in feeds}
    wanted = sorted(names - set(constants) - set(inputs))
    own = set(names_of(model.graph.output))
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in wanted if n not in own)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # No fusion: it would remove the softmax whose output is wanted.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        asked = wanted or sorted(own)  # no names would be all of them
        values = dict(zip(asked, session.run(asked, feeds), strict=True))
    except Exception as error:  # onnxruntime has its own classes
        shapes = ", ".join(f"{name} {each.shape}" for name, each in feeds.items())
        raise InputError(
            f"{str(path)!r} cannot run this batch ({shapes}): {' '.join(str(error).split())[:300]}"
        ) from error
    values |= {name: onnx.numpy_helper.to_array(t) for name, t in constants.items()}
    return values | inputs


def _softmax(found: Found, node: Any, values: Mapping[str, np.ndarray]) -> AttentionCall | None:
    """Return the weights (…, N, M) of a softmax over the last axis."""
    A = _tensor(values[found.weights])
    axis = int(attribute(node, "axis", -1))
    if A.ndim < 3 or axis not in (-1, A.ndim - 1):
        return None
    heads = A.shape[-3] if A.ndim > 3 else 1
    v = _tensor(values[found.values]) if found.values else None
    if v is not None and math.prod(v.shape[:-2]) == math.prod(A.shape[:-2]):
        v = v.reshape(-1, heads, *v.shape[-2:])
    else:
        v = None
    notes = () if A.ndim > 3 else ("heads are counted as items of the batch",)
    return AttentionCall(
        found.layer, "ONNX softmax", None, None, v, A.reshape(-1, heads, *A.shape[-2:]),
        cross=A.shape[-2] != A.shape[-1], notes=notes,
    )  # fmt: skip


def _fused(found: Found, node: Any, values: Mapping[str, np.ndarray]) -> AttentionCall | None:
    """Return q, k and v of an Attention operator (opset 23), (B, H, N, r) or (B, N, H r)."""
    q, k, v = (_tensor(values[name]) for name in (found.q, found.k, found.values))
    if q.ndim == 3:
        heads, groups = (int(attribute(node, f"{x}_num_heads", 1)) for x in ("q", "kv"))
        q = _split(q, heads)
        k, v = _split(k, groups), _split(v, groups)
    masks = list(node.input)[3:4]
    mask = _tensor(values[masks[0]]) if masks and masks[0] else None
    softcap, past = attribute(node, "softcap", 0.0), list(node.input)[4:5]
    if softcap or (past and past[0]):
        return None
    return AttentionCall(
        found.layer, "ONNX Attention", q, k, v, mask=mask,
        causal=bool(attribute(node, "is_causal", 0)),
        scale=float(attribute(node, "scale", 1 / math.sqrt(q.shape[-1]))),
        cross=q.shape[-2] != k.shape[-2],
    )  # fmt: skip


def _split(x: Tensor, heads: int) -> Tensor:
    """Split (B, N, H r) into heads (B, H, N, r)."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def _tensor(value: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(value))
