"""The arrays of a checkpoint: tensors of one dtype, finite, under the block's own key names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gspnl.errors import InputError

COUNTER = "num_batches_tracked"  # of batch norm: an integer, and missing in old checkpoints


def read_names(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Check that a state dict maps names to something; return it as a plain dictionary."""
    if not isinstance(state_dict, Mapping):
        raise InputError(
            f"state_dict must map names to arrays, not {type(state_dict).__name__}; pass "
            "module.state_dict() or what torch.load(path, weights_only=True) gave"
        )
    if not state_dict:
        raise InputError("state_dict is empty; pass the state dict of the peer's block")
    for key in state_dict:
        if not isinstance(key, str):
            raise InputError(f"the keys of state_dict must be strings, not {key!r}")
    return dict(state_dict)


def read_values(entries: Mapping[str, Any]) -> dict[str, Tensor]:
    """Check that all entries are finite, real arrays; return them as detached tensors."""
    return {key: _value(key, value) for key, value in entries.items()}


def _value(key: str, value: object) -> Tensor:
    if isinstance(value, np.ndarray | np.number):
        value = _from_numpy(key, np.asarray(value))
    if not isinstance(value, Tensor):
        raise InputError(f"{key!r} must be a NumPy array or a tensor, not {type(value).__name__}")
    if value.is_meta or value.is_quantized or value.layout is not torch.strided:
        raise InputError(f"{key!r} must be a plain dense tensor with values")
    value = value.detach()
    if key.endswith(COUNTER):
        if value.numel() != 1 or not bool(torch.isfinite(value).all()):
            raise InputError(f"{key!r} has shape {tuple(value.shape)}; it must hold one number")
        return value.reshape(()).long()
    if not value.is_floating_point():
        raise InputError(f"{key!r} must hold floating-point numbers, not {value.dtype}")
    if not bool(torch.isfinite(value).all()):
        raise InputError(f"{key!r} holds NaN or infinity; the checkpoint is damaged")
    if key.endswith("running_var") and bool((value < 0).any()):
        raise InputError(f"{key!r} holds negative variances; the checkpoint is damaged")
    return value


def _from_numpy(key: str, value: np.ndarray[Any, Any]) -> Tensor:
    try:
        return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("="), order="C"))
    except TypeError as error:
        raise InputError(f"{key!r} has dtype {value.dtype}, which torch does not know") from error


def common_dtype(values: Mapping[str, Tensor]) -> torch.dtype:
    """The dtype that holds every weight: float64 where one is float64."""
    dtypes = [value.dtype for key, value in values.items() if not key.endswith(COUNTER)]
    common = dtypes[0]
    for dtype in dtypes[1:]:
        common = torch.promote_types(common, dtype)
    return common


def below(entries: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The entries whose names begin with ``prefix``, under the rest of their names."""
    return {key[len(prefix) :]: value for key, value in entries.items() if key.startswith(prefix)}


def shared_prefix(keys: list[str]) -> str:
    """The longest dotted beginning that all keys share: "module.layer3.5." or ""."""
    shared = [at for at in prefixes(keys[:1]) if all(key.startswith(at) for key in keys)]
    return max(shared, key=len, default="")


def prefixes(keys: list[str]) -> list[str]:
    """All dotted beginnings of the keys, in order of appearance."""
    found: dict[str, None] = {}
    for key in keys:
        parts = key.split(".")
        found.update({".".join(parts[:n]) + ".": None for n in range(1, len(parts))})
    return list(found)
