"""Parse JSON and TOML from files that anyone may have written: numbers and nesting within limits.

A fault is a ValueError of one line, also for what makes the parsers fail or hang.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from typing import Any

DEPTH = 32  # levels of nesting, and parts of a dotted key
INTEGERS = 2**63
OPAQUE = re.compile(  # strings and comments
    r'"""(?:[^\\]|\\.)*?"""|'
    r"'''.*?'''|"
    r'"(?:[^"\\\n]|\\.)*"|'
    r"'[^'\n]*'|#[^\n]*",
    re.DOTALL,
)


def parse_json(content: bytes | str, *, finite: bool | None = True) -> Any:
    """Parse JSON of finite numbers; NaN and infinities become None if False, or stay if None.

    Raises
    ------
    ValueError
        For text that is no UTF-8 or no JSON, a repeated key, an integer of more than 64 bits, and
        nesting deeper than :data:`DEPTH`.

    Examples
    --------
    >>> parse_json('{"a": 1e999}')
    Traceback (most recent call last):
    ...
    ValueError: the number 1e999 is infinite
    """

    def constant(text: str) -> float | None:
        if finite:
            raise ValueError(f"{text} is no number of JSON")
        return float(text) if finite is None else None

    def real(text: str) -> float | None:
        value = float(text)
        if math.isfinite(value) or finite is None:
            return value
        if finite:
            raise ValueError(f"the number {_short(text)} is infinite")
        return None

    try:
        found = json.loads(
            _text(content), parse_constant=constant, parse_float=real, parse_int=_integer,
            object_pairs_hook=_mapping,
        )  # fmt: skip
    except RecursionError:
        raise ValueError(f"it is nested more than {DEPTH} levels deep") from None
    _check_depth(found)
    return found


def parse_toml(content: bytes | str) -> dict[str, Any]:
    """Parse TOML; a fault is a ValueError, also a tomllib.TOMLDecodeError.

    Examples
    --------
    >>> parse_toml("a = [1, 2]")
    {'a': [1, 2]}
    >>> parse_toml("a = 1" + 400 * "0")
    Traceback (most recent call last):
    ...
    ValueError: a number has about 401 digits; whole numbers have at most 64 bits
    """
    text = _text(content)
    _check_toml_nesting(text)
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError(f"it is nested more than {DEPTH} levels deep") from None
    except ValueError:  # Python refuses to read integers of thousands of digits
        raise ValueError("a number has too many digits; whole numbers have 64 bits") from None
    _check_depth(found)
    return found


def _text(content: bytes | str) -> str:
    """Decode UTF-8, without the byte order mark that some editors write."""
    if isinstance(content, str):
        return content.removeprefix("\ufeff")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no text in UTF-8, from byte {error.start} on") from None


def _integer(text: str) -> int:
    if len(text) > 20 or not -INTEGERS <= int(text) < INTEGERS:
        raise ValueError(
            f"the number {_short(text)} has {len(text.lstrip('-'))} digits; whole numbers have at "
            "most 64 bits"
        )
    return int(text)


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {_short(twice)!r} is given twice")
    return found


def _check_toml_nesting(text: str) -> None:
    """Raise for brackets and dotted keys on which the parser would take minutes or fail."""
    depth = 0
    bare = OPAQUE.sub('""', text)
    for line in bare.splitlines():
        for piece in re.split(r"[=,{}\[\]]", line):
            if piece.count(".") >= DEPTH:
                raise ValueError(f"a key has {piece.count('.') + 1} parts, and at most {DEPTH} fit")
        for sign in line:
            depth += (sign in "[{") - (sign in "]}")
            if depth > DEPTH:
                raise ValueError(f"it is nested more than {DEPTH} levels deep")


def _check_depth(found: Any) -> None:
    """Raise for nesting, integers and TOML's own infinities beyond the limits."""
    level = [found]
    for _ in range(DEPTH + 1):
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                deeper += item.values()
            elif isinstance(item, list):
                deeper += item
            elif type(item) is int and not -INTEGERS <= item < INTEGERS:
                size = round(item.bit_length() * math.log10(2)) + 1
                raise ValueError(
                    f"a number has about {size} digits; whole numbers have at most 64 bits"
                )
        if not deeper:
            return
        level = deeper
    raise ValueError(f"it is nested more than {DEPTH} levels deep")


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:10]}..."
