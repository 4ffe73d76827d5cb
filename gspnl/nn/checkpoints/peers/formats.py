"""Define the format of another code's checkpoints, and check a state dict against it.

A layout maps each key to the sizes of its axes as terms: ``("S", "C")`` is a 1×1 convolution from C
to S channels, ``("C",)`` a vector, ``("1", "2S")`` has sizes 1 and 2 S. The size of a letter is the
one that most keys have, so that an error names the one array that is wrong.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gspnl._base.registry import Registry
from gspnl._base.validate import one_of, whole_number
from gspnl.errors import InputError
from gspnl.nn.precision import common_dtype

Layout = dict[str, tuple[str, ...]]

COUNTER = "num_batches_tracked"  # of batch norm: an integer, and missing in old checkpoints
PROJECTION = "concat_project"  # a 2-D convolution in blocks of any dimension


@dataclass(frozen=True)
class Rebuilt:
    """A block as ``create(name, channels, **options)`` and the state to load into it."""

    name: str
    channels: int
    options: dict[str, Any]
    state: dict[str, Tensor]


class Source(ABC):
    """The checkpoints of one published code; subclass and register an instance to add one.

    Attributes
    ----------
    options : tuple of str
        Options of ``from_peer`` that this source takes.
    """

    options: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def looks(self, keys: Collection[str]) -> bool:
        """Return whether the keys resemble this source's: for hints, by a few typical keys."""

    @abstractmethod
    def layout(self, keys: Collection[str], options: Mapping[str, Any]) -> Layout:
        """Return the keys that a checkpoint of this source must have, with their shapes."""

    @abstractmethod
    def rebuild(
        self, values: Mapping[str, Tensor], sizes: Mapping[str, int], options: Mapping[str, Any]
    ) -> Rebuilt:
        """Map a checkpoint that fits the layout to a block; 1×1 convolutions come as matrices."""


SOURCES: Registry[Source] = Registry("source")


def check_names(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Check that a state dict maps names to something; return it as a plain dictionary."""
    if not isinstance(state_dict, Mapping):
        raise InputError(
            f"state_dict must map names to arrays, not {type(state_dict).__name__}; pass "
            "module.state_dict() or the result of torch.load(path, weights_only=True)"
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


def weights_dtype(values: Mapping[str, Tensor]) -> torch.dtype:
    """Return the widest dtype of the weights."""
    return common_dtype(*(value for key, value in values.items() if not key.endswith(COUNTER)))


def under_prefix(entries: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the entries whose names begin with ``prefix``, without the prefix."""
    return {key[len(prefix) :]: value for key, value in entries.items() if key.startswith(prefix)}


def shared_prefix(keys: list[str]) -> str:
    """Return the longest dotted prefix that all keys share: "module.layer3.5." or ""."""
    shared = [at for at in prefixes(keys[:1]) if all(key.startswith(at) for key in keys)]
    return max(shared, key=len, default="")


def prefixes(keys: list[str]) -> list[str]:
    """Return all dotted prefixes of the keys, in order of appearance."""
    found: dict[str, None] = {}
    for key in keys:
        parts = key.split(".")
        found.update({".".join(parts[:n]) + ".": None for n in range(1, len(parts))})
    return list(found)


def first_parts(keys: Iterable[str]) -> set[str]:
    """Return the first parts of dotted keys."""
    return {key.partition(".")[0] for key in keys}


def batch_norm(name: str) -> Layout:
    """Return the layout of a batch norm; its counter may be missing, as in old checkpoints."""
    entries = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{entry}": ("C",) for entry in entries}


def key_mismatch(layout: Layout, keys: Iterable[str]) -> str:
    """List the missing and the unexpected keys; "" where there are none."""
    present = set(keys)
    counters = {f"{key.rpartition('.')[0]}.{COUNTER}" for key in layout if "running_var" in key}
    missing = [key for key in layout if key not in present]
    unexpected = sorted(present - set(layout) - counters)
    parts = [
        f"{kind} {_listed(names)}"
        for kind, names in (("missing", missing), ("unexpected", unexpected))
        if names
    ]
    return "; ".join(parts)


def _listed(names: list[str], most: int = 8) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def read_sizes(layout: Layout, values: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the size of each letter, and under "dim" the number of spatial dimensions."""
    convolutions = {key: values[key] for key, terms in layout.items() if len(terms) == 2}
    for key, value in convolutions.items():
        if not 3 <= value.ndim <= 5:
            raise InputError(
                f"{key!r} has shape {tuple(value.shape)}; expected the weight of a convolution in "
                "1, 2 or 3 dimensions: (out, in, 1), (out, in, 1, 1) or (out, in, 1, 1, 1)"
            )
        if any(size != 1 for size in value.shape[2:]):
            raise InputError(
                f"{key!r} has shape {tuple(value.shape)}, a kernel of {tuple(value.shape[2:])}; "
                "nonlocal blocks have 1×1 convolutions"
            )
    dims = {key: value.ndim - 2 for key, value in convolutions.items() if PROJECTION not in key}
    dim = Counter(dims.values()).most_common(1)[0][0]
    for key, own in dims.items():
        if own != dim:
            raise InputError(
                f"{key!r} is a {own}-D convolution among {dim}-D ones; the checkpoint mixes blocks"
            )
    sizes = _most_common_sizes(layout, values) | {"dim": dim}
    for key, terms in layout.items():
        _check_shape(key, values[key], terms, sizes)
    return sizes


def _most_common_sizes(layout: Layout, values: Mapping[str, Tensor]) -> dict[str, int]:
    counts: dict[str, Counter[int]] = {}
    for key, terms in layout.items():
        for term, size in zip(terms, values[key].shape, strict=False):
            if term.isalpha():
                counts.setdefault(term, Counter())[size] += 1
    return {term: count.most_common(1)[0][0] for term, count in counts.items()}


def _check_shape(key: str, value: Tensor, terms: tuple[str, ...], sizes: dict[str, int]) -> None:
    expected = tuple(_size(term, sizes) for term in terms)
    ones = (1,) * (value.ndim - 2) if len(terms) == 2 else ()
    if tuple(value.shape) != expected + ones or 0 in expected:
        meaning = ", ".join(f"{term} = {size}" for term, size in sorted(sizes.items()))
        raise InputError(
            f"{key!r} has shape {tuple(value.shape)}; the other keys ({meaning}) ask for "
            f"{expected + ones}"
        )


def _size(term: str, sizes: dict[str, int]) -> int:
    factor = term.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    letter = term[len(factor) :]
    return (int(factor) if factor else 1) * (sizes[letter] if letter else 1)


def choice(options: Mapping[str, Any], name: str, allowed: tuple[str, ...]) -> str | None:
    """Return an option that must be one of ``allowed``, or None where it is not passed."""
    return one_of(name, options[name], allowed) if name in options else None


def flag(options: Mapping[str, Any], name: str, default: bool) -> bool:
    """Return a boolean option."""
    value = options.get(name, default)
    if not isinstance(value, bool):
        raise InputError(f"{name} must be True or False, not {value!r}")
    return value


def count(options: Mapping[str, Any], name: str) -> int | None:
    """Return an option that must be a whole number ≥ 1, or None where it is not passed."""
    return whole_number(name, options[name], 1) if name in options else None


def renamed_norm(values: Mapping[str, Tensor], name: str, to: str) -> dict[str, Tensor]:
    """Return the entries of a norm layer under a new name; torch adds a missing counter."""
    return {f"{to}.{entry}": value for entry, value in under_prefix(values, f"{name}.").items()}
