"""What keys and shapes a source's checkpoint must have, and which key breaks that.

A layout maps each key to the sizes of its axes as terms: ``("S", "C")`` is a 1×1 convolution from C
to S channels, ``("C",)`` a vector, ``("1", "2S")`` has sizes 1 and 2 S. What a letter stands for is
voted for by all keys, so that one wrong array is named itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from torch import Tensor

from gspnl.errors import InputError
from gspnl.nn.peers.values import COUNTER

Layout = dict[str, tuple[str, ...]]

#: Its convolution is 2-D whatever the dimension of the block.
PROJECTION = "concat_project"


def batch_norm(name: str) -> Layout:
    """Keys of a batch norm over C channels, without its counter, which old checkpoints lack."""
    entries = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{entry}": ("C",) for entry in entries}


def key_mismatch(layout: Layout, keys: Iterable[str]) -> str:
    """Say which keys are missing and which unexpected; "" where none is."""
    present = set(keys)
    counters = {f"{key.rpartition('.')[0]}.{COUNTER}" for key in layout if "running_var" in key}
    missing = [key for key in layout if key not in present]
    unexpected = sorted(present - set(layout) - counters)
    told = [
        f"{what} {_listed(names)}"
        for what, names in (("missing", missing), ("unexpected", unexpected))
        if names
    ]
    return "; ".join(told)


def _listed(names: list[str], most: int = 8) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def read_sizes(layout: Layout, values: Mapping[str, Tensor]) -> dict[str, int]:
    """Sizes the letters stand for, and under "dim" the number of spatial dimensions."""
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
    sizes = _elected(layout, values) | {"dim": Counter(dims.values()).most_common(1)[0][0]}
    for key, dim in dims.items():
        if dim != sizes["dim"]:
            raise InputError(
                f"{key!r} is a {dim}-D convolution among {sizes['dim']}-D ones; the checkpoint "
                "mixes blocks"
            )
    for key, terms in layout.items():
        _check_shape(key, values[key], terms, sizes)
    return sizes


def _elected(layout: Layout, values: Mapping[str, Tensor]) -> dict[str, int]:
    votes: dict[str, Counter[int]] = {}
    for key, terms in layout.items():
        for term, size in zip(terms, values[key].shape, strict=False):
            if term.isalpha():
                votes.setdefault(term, Counter())[size] += 1
    return {term: count.most_common(1)[0][0] for term, count in votes.items()}


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
