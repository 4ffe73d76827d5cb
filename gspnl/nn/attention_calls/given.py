"""Attention that the caller gives: functions on the modules that compute it."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from gspnl.errors import GspnlError, InputError
from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.attention_calls.described import RETURNS, as_call

Function = Callable[..., Any]


def checked(model: nn.Module, attention: Any) -> dict[str, Function]:
    """Return the functions by name of module, each taking (module, args, kwargs, output)."""
    if attention is None:
        return {}
    if not isinstance(attention, Mapping):
        raise InputError(
            f"attention must map names of modules to functions, not {type(attention).__name__}"
        )
    names = dict(model.named_modules(remove_duplicate=False))
    first = {id(module): name for name, module in model.named_modules()}
    found = {}
    for name, function in attention.items():
        if name not in names:
            near = difflib.get_close_matches(str(name), names, 3, 0.4)
            hint = f"; near names: {', '.join(map(repr, near))}" if near else ""
            raise InputError(
                f"attention has {name!r}, and the model has no module of that name{hint}; "
                "model.named_modules() lists them"
            )
        if not callable(function):
            raise InputError(
                f"attention[{name!r}] must be a function of (module, args, output), not "
                f"{type(function).__name__}"
            )
        found[first[id(names[name])]] = _of_four(name, function)
    return found


def _of_four(name: str, function: Function) -> Function:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # builtins without a signature
        return lambda module, args, kwargs, output: function(module, args, output)
    if _takes(signature, 3):
        return lambda module, args, kwargs, output: function(module, args, output)
    if _takes(signature, 4):
        return function
    raise InputError(
        f"attention[{name!r}] must take (module, args, output) or (module, args, kwargs, output), "
        f"and it takes {signature}"
    )


def _takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def ask(name: str, function: Function, *given: Any) -> AttentionCall:
    """Call a function with (module, args, kwargs, output); return the attention it describes."""
    try:
        result = function(*given)
    except GspnlError:
        raise
    except Exception as error:
        raise InputError(
            f"attention[{name!r}] raised {type(error).__name__}: {error}; {RETURNS}"
        ) from error
    return as_call(name, result)
