"""What is kept while a pickle is read: the stack, the marks in it, the memo."""

from __future__ import annotations

import enum
import struct
from typing import Any, NoReturn

import numpy as np

from gspnl.train.data.base import DataError

DEPTH = 8  # of lists in lists; CIFAR has 2
AGAIN = 2**20  # bytes of strings that a file may repeat by its memo, besides its own size
ADVICE = "it is damaged, or no file of the published set; download it again, or use the binary form"


class Name(enum.Enum):
    """What a pickle may name: a mark on the stack, which stands for no object of Python's."""

    RECONSTRUCT = enum.auto()
    BUFFER = enum.auto()
    ARRAY = enum.auto()
    DTYPE = enum.auto()
    UINT8 = enum.auto()  # what a DTYPE of "u1" makes
    ENCODE = enum.auto()


class Blank:
    """An array whose shape and content are still to come."""

    array: np.ndarray | None = None


class Machine:
    """A pickle that is being read; what it asks wrongly is refused."""

    def __init__(self, content: bytes, name: str) -> None:
        self.content, self.name, self.at = content, name, 0
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stack under each mark
        self.memo: dict[int, Any] = {}
        self.encoded = 0  # bytes made of strings so far
        self.again = 0  # bytes of strings that stand in several places, but for the first

    def refuse(self, problem: str) -> NoReturn:
        """Raise a DataError that says what is wrong, and where."""
        raise DataError(f"{self.name!r} {problem} (before byte {self.at:,}); {ADVICE}")

    def bytes(self, count: int) -> bytes:
        """The next bytes of the file; a size that it declares and has not is an error at once."""
        end = self.at + count
        if count < 0 or end > len(self.content):
            self.refuse(f"is cut off: {count:,} more bytes are declared")
        piece = self.content[self.at : end]
        self.at = end
        return piece

    def number(self, layout: str) -> int:
        """An integer, in the layout of struct."""
        value: int = struct.unpack(layout, self.bytes(struct.calcsize(layout)))[0]
        return value

    def line(self) -> str:
        """What is left of a line."""
        end = self.content.find(b"\n", self.at, self.at + 256)
        if end < 0:
            self.refuse("has a name without an end")
        return self.bytes(end + 1 - self.at)[:-1].decode("latin-1")

    def repeat(self, value: Any) -> None:
        """Count a string that the memo gives once more: whoever copies it has it twice."""
        if type(value) in (str, bytes):
            self.again += len(value)
        if self.again > AGAIN + len(self.content):
            self.refuse(f"asks again for more than {AGAIN + len(self.content):,} bytes of strings")

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self) -> Any:
        """Take the last value off the stack."""
        if not self.stack:
            self.refuse("takes from an empty stack")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        """Take all values since the last mark."""
        if not self.below:
            self.refuse("lacks a mark")
        items, self.stack = self.stack, self.below.pop()
        return items

    def top(self, kind: type) -> Any:
        """The last value of the stack, which is to be a list or a dict."""
        if not self.stack or type(self.stack[-1]) is not kind:
            self.refuse(f"adds to a {kind.__name__} that is none")
        return self.stack[-1]

    def result(self) -> Any:
        """What was read, when the file says that it is at its end."""
        value = self.pop()
        if self.stack or self.below or self.at < len(self.content):
            self.refuse("has more in it than one value")
        self._check(value, DEPTH)
        return value

    def _check(self, value: Any, depth: int) -> None:
        """No mark, tuple or unfinished array is in a value; there are no cycles (see opcodes)."""
        if type(value) in (list, dict):
            if depth == 0:
                self.refuse(f"has lists nested more than {DEPTH} deep")
            for item in value.values() if type(value) is dict else value:
                self._check(item, depth - 1)
        elif type(value) not in (str, bytes, int, np.ndarray):
            self.refuse(f"has a {type(value).__name__} where data belong")
