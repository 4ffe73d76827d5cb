"""Turn what a user passes as an array into a plain one, or say what it is and how to convert it."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl.errors import InputError

EXAMPLE = "pass an array of shape (..., N, C)"


def plain(x: Any, name: str, *, numbers: bool = True) -> Any:
    """Return a NumPy array of numbers in native byte order, or an array of another library.

    Text, dates and objects pass without ``numbers``, for callers that name the dtype themselves.

    Raises
    ------
    InputError
        For masked, structured, sparse, quantised and empty-of-memory arrays, for text, dates and
        Python objects, and for what is no array.
    """
    if isinstance(x, np.ma.MaskedArray):
        raise InputError(f"{name} is a masked array; fill or leave out what is masked first")
    _refuse_layouts(x, name)
    if not isinstance(x, (np.ndarray, np.generic)):
        if hasattr(x, "__array_namespace__") or type(x).__module__.partition(".")[0] == "torch":
            return x
        x = _converted(x, name)
    x = np.asarray(x)  # a matrix or a memmap is an array
    kind = x.dtype.kind
    if numbers and kind not in "biufc":
        raise InputError(f"{name} is not an array of numbers{_because(x, name)}")
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def _converted(x: Any, name: str) -> np.ndarray:
    """Return lists, tables and other array-likes as NumPy arrays."""
    if isinstance(x, (str, bytes, dict, set)) or x is None or hasattr(x, "__next__"):
        raise InputError(f"{name} is not an array of numbers but {_a(x)}; {EXAMPLE}")
    try:
        out = np.asarray(x)
    except Exception as error:  # ragged, or an __array__ that fails
        raise InputError(
            f"{name} is not an array of numbers: {type(error).__name__}, {str(error)[:120]}; "
            f"{EXAMPLE}"
        ) from None
    columns = getattr(x, "dtypes", None)  # of a pandas table
    if out.dtype.kind == "O" and columns is not None and hasattr(columns, "items"):
        kinds = ", ".join(f"{column!r}: {dtype}" for column, dtype in list(columns.items())[:8])
        raise InputError(
            f"{name} is not an array of numbers: a table of columns {kinds}; choose the numeric "
            f"ones and pass {name}.to_numpy(dtype=float)"
        )
    return out


def _because(x: np.ndarray, name: str) -> str:
    """Explain a dtype that is no number's, with a remedy."""
    kind, dtype = x.dtype.kind, x.dtype
    if dtype.names is not None:
        return (
            f": it is structured, with fields {', '.join(map(repr, dtype.names))}; pass "
            f"np.stack([{name}[{dtype.names[0]!r}], ...], axis=-1)"
        )
    if kind == "O":
        odd = next((item for item in x.flat if not isinstance(item, (int, float))), None)
        found = f", such as {_a(odd)}" if x.ndim and odd is not None else f", {_a(x.flat[0])}"
        found = found if x.size else ""
        return f": it holds Python objects{found}; convert it, np.asarray(..., dtype=float)"
    if kind in "SU":
        return f": it holds text ({dtype}); convert it, np.asarray(..., dtype=float)"
    if kind in "Mm":
        return f": it holds dates or durations ({dtype}); divide by a unit of time first"
    return f" but of {dtype}; {EXAMPLE}"


def _refuse_layouts(x: Any, name: str) -> None:
    """Raise for sparse, quantised, nested and meta arrays."""
    module = type(x).__module__.partition(".")[0]
    if module == "scipy" and hasattr(x, "toarray"):
        raise InputError(
            f"{name} is not an array of numbers but a sparse {type(x).__name__}; pass "
            f"{name}.toarray()"
        )
    if module != "torch" or not hasattr(x, "layout"):
        return
    if "strided" not in str(x.layout) or getattr(x, "is_nested", False):
        raise InputError(f"{name} is a torch tensor of layout {x.layout}; pass {name}.to_dense()")
    if getattr(x, "is_quantized", False):
        raise InputError(f"{name} is quantised ({x.dtype}); pass {name}.dequantize()")
    if x.device.type == "meta":
        raise InputError(f"{name} is a torch tensor on the meta device, without values; move it")


def _a(x: Any) -> str:
    """Describe a value by its type and its beginning."""
    text = repr(x)
    return f"{type(x).__name__} {text if len(text) < 40 else text[:36] + ' ...'}"
