"""A response from its text, as the command line has it."""

from __future__ import annotations

import ast
from dataclasses import fields

from gspnl.errors import InputError
from gspnl.responses.base import RESPONSES, Response


def parse(text: str) -> Response:
    """Return the response that a text such as ``heat(3)`` or ``band_pass(0.2, high=0.8)`` names.

    Raises
    ------
    InputError
        For an unknown name, or arguments that are not numbers.

    Examples
    --------
    >>> parse("tikhonov(50)")
    tikhonov(tau=50)
    >>> parse("nl")
    nl(w=1.0)
    """
    try:
        node = ast.parse(text, mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        if not isinstance(call.func, ast.Name):
            raise ValueError
        values = [ast.literal_eval(a) for a in call.args]
        named = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # what ast makes of any text
        raise InputError(
            f"response {text!r} is not of the form name(number, ...), as heat(3)"
        ) from None
    cls = RESPONSES[call.func.id]
    try:
        made: Response = cls(*values, **named)
    except TypeError:
        takes = ", ".join(f.name for f in fields(cls))
        raise InputError(f"response {text!r} does not fit {call.func.id}({takes})") from None
    return made
