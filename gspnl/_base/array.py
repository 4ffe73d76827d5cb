"""Helpers for arrays of any library: namespace, dtype, finiteness, memory."""

from __future__ import annotations

import math
from typing import Any

import array_api_compat as compat
import array_api_compat.numpy as compat_numpy
import numpy as np

from gspnl._base.blas import one_thread
from gspnl._base.memory import available_memory
from gspnl._base.plain import plain
from gspnl.errors import GspnlError, InputError, SizeError

Array = Any  # an array of any conforming library
NUMPY = (np.ndarray, float, int)


def namespace(*arrays: Array) -> Any:
    """Return the array API namespace that the arrays share."""
    # NumPy arrays and plain numbers are the common case: this check takes a tenth of the time.
    for a in arrays:
        if type(a) not in NUMPY:
            break
    else:
        return compat_numpy
    # torch.compile can trace this branch; it warns of the caches in array_api_compat's look-up.
    if all(type(a).__module__.partition(".")[0] == "torch" for a in arrays):
        return _torch()
    return compat.array_namespace(*arrays)


def _torch() -> Any:
    import array_api_compat.torch

    return array_api_compat.torch


def is_array(x: Any) -> bool:
    """Tell whether ``x`` is an array of some conforming library."""
    return bool(compat.is_array_api_obj(x))


def is_numpy(x: Array) -> bool:
    """Tell whether ``x`` is a NumPy array."""
    return isinstance(x, np.ndarray)


def as_floats(x: Any, name: str) -> Array:
    """Return ``x`` as a real floating array; float32 and float64 stay, integers become float64."""
    if type(x) is np.ndarray and x.dtype.char in "fd" and x.dtype.isnative:
        return x
    x = plain(x, name)
    xp = namespace(x)
    if x.dtype in (xp.float32, xp.float64):
        return x
    if xp.isdtype(x.dtype, ("integral", "bool")):
        return xp.astype(x, xp.float64)
    raise InputError(f"{name} has dtype {x.dtype}; pass real float32 or float64")


def like(values: Any, x: Array) -> Array:
    """Return ``values`` as an array of the library, dtype and device of ``x``."""
    if type(x) is np.ndarray:
        return np.asarray(values, dtype=x.dtype)
    xp = namespace(x)
    if compat.is_array_api_obj(values) and namespace(values) is xp:
        return xp.astype(values, x.dtype, copy=False)
    return xp.asarray(values, dtype=x.dtype, device=device(x))


def ones(shape: tuple[int, ...], x: Array) -> Array:
    """Return ones of the library, dtype and device of ``x``."""
    return namespace(x).ones(shape, dtype=x.dtype, device=device(x))


def device(x: Array) -> Any:
    """Return the device of ``x``."""
    return x.device if hasattr(x, "device") else compat.device(x)


def float64(x: Array) -> Array:
    """Return ``x`` in float64, the precision of all small matrices."""
    if type(x) is np.ndarray:
        return x.astype(np.float64, copy=False)
    xp = namespace(x)
    return xp.astype(x, xp.float64, copy=False)


def has_float64(x: Array) -> bool:
    """Tell whether the device of ``x`` computes in float64; Apple's GPUs do not."""
    return not str(device(x)).startswith("mps")


def times_power(x: Array, power: Any) -> Array:
    """Compute 2^power x by two factors, each within the range."""
    half = np.floor(np.asarray(power) / 2)
    with np.errstate(over="ignore"):
        return x * like(np.exp2(half), x) * like(np.exp2(power - half), x)


def to_numpy(x: Array) -> np.ndarray:
    """Return ``x`` in NumPy; raise rather than drop a gradient silently."""
    if is_numpy(x):
        return x  # type: ignore[no-any-return]
    if carries_gradient(x):
        raise GspnlError(
            "this step runs in NumPy and carries no gradient; detach the features, or filter by a "
            "smooth response, exactly or with order="
        )
    if compat.is_torch_array(x):
        x = x.float() if "bfloat16" in str(x.dtype) else x  # NumPy has none
        return np.asarray(x.cpu().resolve_conj().resolve_neg().numpy())
    return np.asarray(np.from_dlpack(x))


def values_of(x: Any, name: str) -> np.ndarray:
    """Return masks, labels or node numbers, given as an array of any library, in NumPy."""
    return constant(plain(x, name, numbers=False))


def carries_gradient(x: Array) -> bool:
    """Tell whether ``x`` requires a gradient."""
    return bool(getattr(x, "requires_grad", False))


def detached(x: Array) -> Array:
    """Return ``x`` without its gradient."""
    return x.detach() if compat.is_torch_array(x) else x


def constant(x: Array) -> np.ndarray:
    """Return the values of ``x`` in NumPy, for decisions that need no gradient."""
    return x if type(x) is np.ndarray else to_numpy(detached(x))


def constant64(x: Array) -> np.ndarray:
    """Return the values of ``x`` as a NumPy array of float64, without a copy where possible."""
    return np.asarray(constant(x), dtype=np.float64)


def eps(x: Array) -> float:
    """Return the spacing of 1.0 in the dtype of ``x``."""
    if type(x) is np.ndarray:
        return float(np.finfo(x.dtype).eps)
    return float(namespace(x).finfo(x.dtype).eps)


def check_finite(x: Array, name: str) -> None:
    """Raise if ``x`` has a NaN or an infinity, with the index of the first."""
    # A finite sum of squares proves it in half the time of isfinite.
    if math.isfinite(_squares(x)):
        return
    xp = namespace(x)
    if bool(xp.all(xp.isfinite(x))):
        return
    values = constant(x)
    bad = np.argwhere(~np.isfinite(values))
    first = tuple(int(i) for i in bad[0])
    raise InputError(
        f"{name} has {len(bad)} value(s) that are not finite, the first one "
        f"{values[first]} at index {first}; remove or impute them"
    )


def largest_entry(x: Array, name: str) -> tuple[float, float]:
    r"""Return a lower and an upper bound of the largest \|x\|; raise if an entry is not finite.

    They come from the pass that proves ``x`` finite: the root of a sum of squares where that is in
    the range, else the largest entry itself.
    """
    size = math.prod(x.shape)
    if not size:
        return 0.0, 0.0
    squares = _squares(x)
    if 0 < squares < math.inf:
        root = math.sqrt(squares)
        return root / math.sqrt(size), root
    xp = namespace(x)
    x = detached(x)
    peak = max(float(xp.max(x)), -float(xp.min(x)))  # without a copy of x
    if not math.isfinite(peak):
        check_finite(x, name)
    return peak, peak


def _squares(x: Array, step: int = 1 << 18) -> float:
    """Sum the squares of a NumPy array, in blocks; NaN for other arrays."""
    if not (isinstance(x, np.ndarray) and x.flags.c_contiguous):
        return math.nan
    flat, total = x.reshape(-1), 0.0
    with one_thread, np.errstate(over="ignore", invalid="ignore"):
        for i in range(0, flat.size, step):
            total += float(np.dot(flat[i : i + step], flat[i : i + step]))
            if not math.isfinite(total):
                return math.nan
    return total


def check_fits(shape: tuple[int, ...], x: Array, what: str, instead: str, copies: int = 1) -> None:
    """Raise SizeError, before allocating, if ``copies`` arrays of ``shape`` do not fit."""
    size, free = _bytes(shape, x, copies), available_memory()
    if free is not None and size > 0.9 * free:
        raise SizeError(
            f"{what} of shape {shape} would take {size / 2**30:.1f} GiB and {free / 2**30:.1f} GiB "
            f"are free; {instead}"
        )


def fits(shape: tuple[int, ...], x: Array, copies: int = 1) -> bool:
    """Tell whether ``copies`` arrays of ``shape`` fit in memory."""
    free = available_memory()
    return free is None or _bytes(shape, x, copies) <= 0.9 * free


def _bytes(shape: tuple[int, ...], x: Array, copies: int) -> int:
    size = copies * (8 if x.dtype == namespace(x).float64 else 4)
    for n in shape:
        size *= n
    return size
