"""Read pickles of uint8 arrays, strings, integers, lists and dicts; execute nothing in them."""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from typing import Any

import numpy as np

from gspnl.train.data.registry import DataError

STEPS = 4_000_000  # opcodes; CIFAR-100 has 300,000, and each makes at most some 100 bytes
TUPLES = 1_000  # the hash of a deeply nested tuple would overflow the stack
DEPTH = 8  # of lists in lists; CIFAR has 2
REPEATED = 2**20  # bytes of strings in several places, besides the size of the file
STORES, LOADS = {"BINPUT", "LONG_BINPUT", "MEMOIZE"}, {"BINGET", "LONG_BINGET"}
TUPLE = {"EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
MUTABLE = {"BYTEARRAY8", "EMPTY_LIST", "EMPTY_DICT", "APPEND", "APPENDS", "SETITEM", "SETITEMS"}
OTHERS = """PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 BINSTRING
    SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BINUNICODE SHORT_BINUNICODE BINUNICODE8
    GLOBAL STACK_GLOBAL REDUCE BUILD"""
OPCODES = STORES | LOADS | TUPLE | MUTABLE | set(OTHERS.split())


def unpickle(content: bytes, name: str) -> Any:
    r"""Read a pickle of protocol 2 to 5 by :class:`pickle.Unpickler`; ``name`` is for errors.

    Opcodes are checked before they are run: those that make objects, import by number or load
    from outside the file are refused. NumPy's names for arrays have stand-ins; no other name is
    known. Memory is in proportion to the file. Arrays are read-only, strings of Python 2 bytes.
    """
    try:
        reader = _Reader(io.BytesIO(_check_opcodes(content)), encoding="bytes")
        reader.encoded, reader.limit = len(content), REPEATED + 2 * len(content)
        return reader.plain(reader.load(), DEPTH)
    except Exception as error:  # a damaged file can make the reader raise anything
        problem = str(error).partition("\n")[0][:200]
        verb = "" if isinstance(error, _Refused) else "cannot be read: "
        raise DataError(
            f"{name!r} {verb}{problem}; it is cut off or damaged, or no file of the published set; "
            "download it again, or use the binary form"
        ) from None


class _Refused(Exception):
    """Raised for what no image set holds."""


def _check_opcodes(content: bytes) -> bytes:
    """A pickle of allowed opcodes, without its frames: a false one would hide opcodes."""
    maker: dict[int, str] = {}  # the opcode that made each value of the memo
    last, tuples, start, end, pieces = "", 0, 0, 0, []
    argument: Any
    for step, (opcode, argument, at) in enumerate(pickletools.genops(content)):
        name, end = opcode.name, (at or 0) + 1
        tuples += name in TUPLE
        if name not in OPCODES:
            raise _Refused(f"has the opcode {name}, which no image set needs")
        if step >= STEPS or tuples > TUPLES:
            raise _Refused(f"takes more than {STEPS:,} steps to read, or {TUPLES:,} tuples")
        if name in STORES:
            number = len(maker) if argument is None else argument
            if number > step + 255:  # the reader takes memory for all numbers below
                raise _Refused(f"has the number {number:,} in its memo")
            maker[number] = last
        elif name in LOADS and maker.get(argument, "") in TUPLE | MUTABLE:  # perhaps in itself
            raise _Refused("has a list, dict or tuple in two places")
        elif name == "FRAME":
            pieces.append(content[start : end - 1])
            start = end + 8
        elif name != "PROTO":
            last = name
    if end != len(content):
        raise _Refused("has more bytes after its end")
    return b"".join([*pieces, content[start:]])


class _UInt8:
    """The stand-in for the dtype, whose byte order and alignment do not matter."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None: ...


class _Array:
    """The stand-in for an array that NumPy makes empty and fills once."""

    __slots__ = ("pixels",)

    def __init__(self, pixels: np.ndarray | None = None) -> None:
        self.pixels = pixels

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, content = state
        if self.pixels is not None or fortran:
            raise _Refused("fills an array twice, or column by column")
        self.pixels = _pixels(content, kind, shape)


def _pixels(content: Any, kind: Any, shape: Any, order: Any = "C") -> np.ndarray:
    if type(kind) is not _UInt8 or type(content) not in (bytes, bytearray) or order != "C":
        raise _Refused("has an array of something else than uint8")
    sizes = shape if type(shape) is tuple and len(shape) <= 8 else ()
    if not sizes or any(type(size) is not int or size < 1 for size in sizes):
        raise _Refused("has an array whose shape is none")
    if math.prod(sizes) != len(content):
        raise _Refused(f"has {len(content):,} bytes for an array of shape {shape}")
    return np.frombuffer(bytes(content), np.uint8).reshape(sizes)


class _Reader(pickle.Unpickler):
    encoded = strings = limit = 0  # bytes left to encode, of strings, and at most of strings

    def find_class(self, module: str, name: str, /) -> Any:
        """The stand-in of a name, new each time, as a pickle could set its attributes."""
        match module, name:
            case "numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct":
                return lambda *_: _Array()
            case "numpy.core.numeric" | "numpy._core.numeric", "_frombuffer":  # at protocol 5
                return lambda *arguments: _Array(_pixels(*arguments))
            case "numpy", "dtype":
                return lambda kind, *_: _UInt8() if kind in ("u1", b"u1") else None
            case "numpy", "ndarray":
                return object()
            case "_codecs", "encode":  # how Python 3 writes bytes at protocol 2
                return lambda *arguments: self.encode(*arguments)
        named = f"{module[:80]}.{name[:80]}"
        raise _Refused(f"names {named}, which no array needs; nothing was executed")

    def encode(self, text: str, encoding: str) -> bytes:
        """Bytes that are written as text, at most as many as the file has."""
        self.encoded -= len(text)
        if self.encoded < 0 or encoding not in ("latin1", "latin-1"):
            raise _Refused("makes more bytes than it has, or not of Latin-1")
        return text.encode(encoding)

    def plain(self, value: Any, depth: int) -> Any:
        """The value with arrays for their stand-ins, if nothing else is in it."""
        kind = type(value)
        if kind in (list, dict) and depth == 0:
            raise _Refused(f"has lists nested more than {DEPTH} deep")
        if kind is list:
            return [self.plain(item, depth - 1) for item in value]
        if kind is dict and all(type(key) in (str, bytes, int) for key in value):
            return {self.plain(key, 1): self.plain(value[key], depth - 1) for key in value}
        if kind is _Array and value.pixels is not None:
            return value.pixels
        if kind in (str, bytes):
            self.strings += len(value)
            if self.strings > self.limit:
                raise _Refused(f"has strings of more than {self.limit:,} bytes, repeats included")
        elif kind is not int:
            raise _Refused(f"has a {kind.__name__} where data belong")
        return value
