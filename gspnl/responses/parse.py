"""Parse responses from text such as ``heat(3)``, for the command line."""

from __future__ import annotations

import ast
from dataclasses import fields
from typing import Any

from gspnl.errors import InputError
from gspnl.responses.base import RESPONSES, Response


def parse(text: str) -> Response:
    """Return the response that a text such as ``heat(3)`` or ``band_pass(0.2, high=0.8)`` names.

    Arguments may be responses: ``shifted(heat(3), by=0.5)``. The ``repr`` of a registered response
    is such a text.

    Raises
    ------
    InputError
        For an unknown name, or arguments that are neither numbers nor responses.

    Examples
    --------
    >>> parse("tikhonov(50)")
    tikhonov(tau=50)
    >>> parse("nl")
    nl(w=1.0)
    >>> parse("shifted(heat(3), 0.5)")
    shifted(response=heat(t=3), by=0.5)
    """
    try:
        return _build(ast.parse(text, mode="eval").body, text)
    except InputError:
        raise
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # raised by ast for other text
        raise InputError(
            f"response {text!r} is not of the form name(number, ...), as heat(3)"
        ) from None


def _build(node: ast.expr, text: str) -> Response:
    """Build the response that a name, or a call of one, stands for."""
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    if not isinstance(call.func, ast.Name):
        raise ValueError
    cls = RESPONSES[call.func.id]
    values = [_argument(a, text) for a in call.args]
    named = {str(k.arg): _argument(k.value, text) for k in call.keywords}
    try:
        built: Response = cls(*values, **named)
    except TypeError:
        takes = ", ".join(f.name for f in fields(cls))
        raise InputError(f"response {text!r} does not fit {call.func.id}({takes})") from None
    return built


def _argument(node: ast.expr, text: str) -> Any:
    """Evaluate an argument: a response, a tuple of arguments, or a literal."""
    if isinstance(node, (ast.Call, ast.Name)):
        return _build(node, text)
    if isinstance(node, (ast.Tuple, ast.List)):
        return tuple(_argument(item, text) for item in node.elts)
    return ast.literal_eval(node)
