"""Check the content of a file of weights against its header, before anything is built from it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from gspnl._base.validate import whole_number
from gspnl.errors import InputError

COUNTED = ("units", "order")  # options for which a block has tensors, one each at least
WIDTHS = ("channels", "inner", "embedding", "groups")  # no wider than all its numbers together
SHOWN = 3


def checksum(text: str, tensors: Mapping[str, Tensor]) -> int:
    """Return the CRC-32 of a header and of tensors: names, dtypes, shapes and values."""
    total = zlib.crc32(text.encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        total = zlib.crc32(f"{name} {value.dtype} {tuple(value.shape)}".encode(), total)
        # As bytes: numpy has no bfloat16.
        total = zlib.crc32(value.reshape(-1).view(torch.uint8).numpy().tobytes(), total)
    return total


def check_sizes(options: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Raise InputError for options that ask for more than a file with these tensors can hold."""
    if options.get("block") == "cgnl":  # its order is that of a Taylor series, without tensors
        options = {**options, "order": None}
    numbers = sum(value.numel() for value in tensors.values())
    if "match" in options:
        raise InputError("match= chooses a width, which a file states as inner")
    for name in (*COUNTED, *WIDTHS):
        if options.get(name) is not None:
            most, what = (len(tensors), "tensors") if name in COUNTED else (numbers, "numbers")
            whole_number(name, options[name], 0, most, f", as the file holds {most} {what}")
    if (options.get("units") or 1) * (options.get("order") or 1) > len(tensors):
        raise InputError(
            f"units={options['units']} of order={options['order']} have more maps than the file "
            f"holds tensors, {len(tensors)}"
        )


def check_state(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raise InputError unless tensors have the names, shapes and kinds of a state dict."""
    missing = [name for name in expected if name not in found]
    if missing:
        raise InputError(f"Missing key(s) {_listed(missing)}")
    extra = [name for name in found if name not in expected]
    if extra:
        raise InputError(f"Unexpected key(s) {_listed(extra)}")
    for name, value in expected.items():
        own = found[name]
        if own.shape != value.shape:
            raise InputError(
                f"size mismatch for {name!r}: {tuple(own.shape)} in the file and "
                f"{tuple(value.shape)} by its header"
            )
        if own.is_floating_point() != value.is_floating_point() or own.is_complex():
            kind = "floating-point numbers" if value.is_floating_point() else "whole numbers"
            raise InputError(f"{name!r} must hold {kind}, not {own.dtype}")


def _listed(names: Iterable[str]) -> str:
    shown = [repr(name) for name in names]
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more
