"""Import a function that makes a network, and load weights into it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gspnl.errors import FileError, GspnlError, InputError
from gspnl.nn.checkpoints.contents import check_state
from gspnl.nn.checkpoints.finder import choose, fitting
from gspnl.nn.checkpoints.reading import read_weights


def call_function(target: str) -> tuple[nn.Module, Any]:
    """Call package.module:function; return its module and its batch, None where it has none.

    Modules of the working folder can be imported, as with ``python -m``. A Module class or an
    instance in the place of a function will do.

    Raises
    ------
    InputError
        If it cannot be imported or called, or returns something else.
    """
    module, _, name = target.partition(":")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{module!r} cannot be imported ({error}); write package.module:function as Python "
            "imports it from this folder"
        ) from error
    except GspnlError:
        raise
    except Exception as error:  # code of the user
        raise InputError(
            f"{module!r} raises {type(error).__name__} when imported: {error}; see that "
            f"python -c 'import {module}' runs"
        ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise InputError(f"{module!r} has no {name!r}; {_offered(found)}")
        found = getattr(found, part)
    made = found if isinstance(found, nn.Module) else _called(found, target)
    if isinstance(made, tuple) and len(made) == 2:
        model, batch = made
    else:
        model, batch = made, None
    if not isinstance(model, nn.Module):
        raise InputError(
            f"{target!r} returns {type(made).__name__}; it must return a torch.nn.Module, or "
            "(module, batch)"
        )
    return model, batch


def _called(function: Any, target: str) -> Any:
    if not callable(function):
        raise InputError(f"{target!r} is a {type(function).__name__}, and not a function")
    try:
        return function()
    except GspnlError:
        raise
    except Exception as error:  # code of the user
        raise InputError(
            f"{target!r} raises {type(error).__name__} when called without arguments: {error}; "
            "name a function that makes the network by itself"
        ) from error


def _offered(module: Any) -> str:
    names = [
        name
        for name, each in vars(module).items()
        if callable(each) and getattr(each, "__module__", None) == module.__name__
    ]
    return f"it has {', '.join(map(repr, names[:8]))}" if names else "it has no functions"


def load_state(model: nn.Module, path: Path) -> None:
    """Load a state dict from safetensors, or from a file of torch.save read without unpickling.

    Raises
    ------
    FileError
        If the file cannot be read or its weights are not those of the model.
    """
    content = read_weights(path)
    expected = model.state_dict()

    def fit(entries: dict[str, Any]) -> list[str]:
        """Return the prefixes under which all weights of the model are."""
        first = next(iter(expected), "")
        ends = [name[: -len(first)] for name in entries if name.endswith(first)]
        return [start for start in ends if all(start + name in entries for name in expected)]

    try:
        found = fitting(content, fit)
        weights = choose(found).entries if found else _nearest(content)
        check_state(expected, weights)
    except InputError as error:
        raise FileError(
            f"{str(path)!r} does not hold the weights of this {type(model).__name__}: {error}"
        ) from error
    with torch.no_grad():
        model.load_state_dict(weights)


def _nearest(content: object) -> dict[str, Any]:
    """Return the largest set of weights, for an error that says what it lacks."""
    found = fitting(content, lambda _: [""])
    if not found:
        raise InputError("its content is not names of tensors; save model.state_dict()")
    return max(found, key=lambda each: len(each.entries)).entries
