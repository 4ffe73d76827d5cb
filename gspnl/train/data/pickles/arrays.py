"""The four calls and two states that an array of bytes is pickled as, and no other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gspnl.train.data.pickles.machine import Blank, Machine, Name

DIMENSIONS = 8
ANY = object()


def _fits(given: Any, *pattern: Any) -> bool:
    """Whether a tuple has these items, each one of several; of equal type, so == is harmless."""
    return (
        type(given) is tuple
        and len(given) == len(pattern)
        and all(
            allowed is ANY or any(type(item) is type(one) and item == one for one in allowed)
            for item, allowed in zip(given, pattern, strict=True)
        )
    )


def _array(machine: Machine, shape: Any, kind: Any, content: Any) -> np.ndarray:
    if not (type(shape) is tuple and 0 < len(shape) <= DIMENSIONS) or any(
        type(size) is not int or size < 1 for size in shape
    ):
        machine.refuse("has an array whose shape is none")
    if kind is not Name.UINT8 or type(content) is not bytes:
        machine.refuse("has an array of something else than uint8")
    if math.prod(shape) != len(content):
        machine.refuse(f"has {len(content):,} bytes for an array of shape {shape}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _encode(machine: Machine, text: Any) -> bytes:
    if type(text) is not str:
        machine.refuse("has bytes that are none")
    machine.encoded += len(text)
    if machine.encoded > len(machine.content):  # one string asked for again and again
        machine.refuse("makes more bytes than it has")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        machine.refuse("has bytes that are none")


def reduce(machine: Machine) -> None:
    """What a function call is in a genuine file: a blank array, a dtype, an array, or bytes."""
    given, name = machine.pop(), machine.pop()
    if name is Name.RECONSTRUCT and _fits(given, [Name.ARRAY], ANY, ["b", b"b"]):
        if not _fits(given[1], [0]):
            machine.refuse("begins an array that is not empty")
        machine.push(Blank())
    elif name is Name.DTYPE and _fits(given, ["u1", b"u1"], [0, False], [1, True]):
        machine.push(Name.UINT8)
    elif name is Name.BUFFER and _fits(given, ANY, ANY, ANY, ["C"]):
        content, kind, shape, _ = given
        machine.push(_array(machine, shape, kind, content))
    elif name is Name.ENCODE and _fits(given, ANY, ["latin1", "latin-1"]):
        machine.push(_encode(machine, given[0]))
    else:
        machine.refuse("makes something else than an array of uint8")


def build(machine: Machine) -> None:
    """What a state is in a genuine file: that of a dtype, or an array's shape and content."""
    state, built = machine.pop(), machine.pop()
    if (
        isinstance(built, Blank)
        and built.array is None
        and _fits(state, [1], *[ANY] * 2, [False, 0], ANY)
    ):
        _, shape, kind, _, content = state
        built.array = _array(machine, shape, kind, content)
        machine.push(built.array)
    elif built is Name.UINT8 and _fits(
        state, [3], ["|", b"|"], [None], [None], [None], [-1], [-1], [0]
    ):
        machine.push(built)
    else:
        machine.refuse("sets the state of something else than an array of uint8")
