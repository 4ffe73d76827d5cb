"""A response from its text, as the command line has it."""

from __future__ import annotations

import ast
from dataclasses import fields
from typing import Any

from gspnl.errors import InputError
from gspnl.responses.base import RESPONSES, Response


def parse(text: str) -> Response:
    """Return the response that a text such as ``heat(3)`` or ``band_pass(0.2, high=0.8)`` names.

    Responses may hold responses: ``shifted(heat(3), by=0.5)``. The ``repr`` of a registered
    response is such a text.

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
        return _made(ast.parse(text, mode="eval").body, text)
    except InputError:
        raise
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # what ast makes of any text
        raise InputError(
            f"response {text!r} is not of the form name(number, ...), as heat(3)"
        ) from None


def _made(node: ast.expr, text: str) -> Response:
    """The response that a name, or a call of one, stands for."""
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    if not isinstance(call.func, ast.Name):
        raise ValueError
    cls = RESPONSES[call.func.id]
    values = [_argument(a, text) for a in call.args]
    named = {str(k.arg): _argument(k.value, text) for k in call.keywords}
    try:
        made: Response = cls(*values, **named)
    except TypeError:
        takes = ", ".join(f.name for f in fields(cls))
        raise InputError(f"response {text!r} does not fit {call.func.id}({takes})") from None
    return made


def _argument(node: ast.expr, text: str) -> Any:
    """A response, a tuple of arguments, or a literal."""
    if isinstance(node, (ast.Call, ast.Name)):
        return _made(node, text)
    if isinstance(node, (ast.Tuple, ast.List)):
        return tuple(_argument(item, text) for item in node.elts)
    return ast.literal_eval(node)
