"""What each opcode does to the machine; those that can do harm are not in the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gspnl.train.data.pickles.arrays import build, reduce
from gspnl.train.data.pickles.machine import Blank, Machine, Name

Action = Callable[[Machine], None]

NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): Name.RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): Name.RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): Name.BUFFER,
    ("numpy._core.numeric", "_frombuffer"): Name.BUFFER,
    ("numpy", "ndarray"): Name.ARRAY,
    ("numpy", "dtype"): Name.DTYPE,
    ("_codecs", "encode"): Name.ENCODE,  # how Python 3 writes bytes at protocol 2
}


def _string(layout: str) -> Action:
    return lambda machine: machine.push(machine.bytes(machine.number(layout)))


def _text(layout: str) -> Action:
    def act(machine: Machine) -> None:
        content = machine.bytes(machine.number(layout))
        try:
            machine.push(content.decode())
        except UnicodeDecodeError:
            machine.refuse("has a string that is not UTF-8")

    return act


def _number(layout: str) -> Action:
    return lambda machine: machine.push(machine.number(layout))


def _constant(make: Callable[[], Any]) -> Action:
    return lambda machine: machine.push(make())


def _tuple(count: int) -> Action:
    return lambda machine: machine.push(tuple([machine.pop() for _ in range(count)][::-1]))


def _get(layout: str) -> Action:
    def act(machine: Machine) -> None:
        key = machine.number(layout)
        if key not in machine.memo:
            machine.refuse("asks for what is not in its memo")
        value = machine.memo[key]
        if type(value) in (list, dict, tuple):  # one in two places could be in itself
            machine.refuse("asks for a list, dict or tuple again")
        if isinstance(value, Blank) and value.array is not None:
            value = value.array
        machine.repeat(value)
        machine.push(value)

    return act


def _put(key: Callable[[Machine], int]) -> Action:
    def act(machine: Machine) -> None:
        if not machine.stack:
            machine.refuse("keeps the top of an empty stack")
        machine.memo[key(machine)] = machine.stack[-1]

    return act


def _version(machine: Machine) -> None:
    version = machine.number("B")
    if not 2 <= version <= 5:
        machine.refuse(f"is a pickle of protocol {version}, not 2 to 5")


def _frame(machine: Machine) -> None:
    machine.bytes(8)  # a size, which helps those who read a stream


def _mark(machine: Machine) -> None:
    machine.below.append(machine.stack)
    machine.stack = []


def _append(machine: Machine, items: list[Any]) -> None:
    machine.top(list).extend(items)


def _set(machine: Machine, items: list[Any]) -> None:
    table = machine.top(dict)
    if len(items) % 2 or any(type(key) not in (str, bytes, int) for key in items[::2]):
        machine.refuse("has a dict with a key that is none")
    table.update(zip(items[::2], items[1::2], strict=True))


def _global(machine: Machine, module: Any, name: Any) -> None:
    if not (type(module) is type(name) is str):
        machine.refuse("names a thing without a name")
    if (module, name) not in NAMES:
        machine.refuse(
            f"names {module[:80]}.{name[:80]}, which no array needs; nothing was executed"
        )
    machine.push(NAMES[module, name])


def _stack_global(machine: Machine) -> None:
    name, module = machine.pop(), machine.pop()
    _global(machine, module, name)


ACTIONS: dict[bytes, Action] = {
    b"\x80": _version,
    b"\x95": _frame,
    b"N": _constant(lambda: None),
    b"\x88": _constant(lambda: True),
    b"\x89": _constant(lambda: False),
    b"K": _number("B"),
    b"M": _number("<H"),
    b"J": _number("<i"),
    b"U": _string("B"),
    b"C": _string("B"),
    b"T": _string("<i"),
    b"B": _string("<I"),
    b"\x8e": _string("<Q"),
    b"\x96": _string("<Q"),
    b"\x8c": _text("B"),
    b"X": _text("<I"),
    b"\x8d": _text("<Q"),
    b"]": _constant(list),
    b"}": _constant(dict),
    b")": _constant(tuple),
    b"\x85": _tuple(1),
    b"\x86": _tuple(2),
    b"\x87": _tuple(3),
    b"(": _mark,
    b"t": lambda machine: machine.push(tuple(machine.pop_mark())),
    b"a": lambda machine: _append(machine, [machine.pop()]),
    b"e": lambda machine: _append(machine, machine.pop_mark()),
    b"s": lambda machine: _set(machine, [machine.pop(), machine.pop()][::-1]),
    b"u": lambda machine: _set(machine, machine.pop_mark()),
    b"q": _put(lambda machine: machine.number("B")),
    b"r": _put(lambda machine: machine.number("<I")),
    b"\x94": _put(lambda machine: len(machine.memo)),
    b"h": _get("B"),
    b"j": _get("<I"),
    b"c": lambda machine: _global(machine, machine.line(), machine.line()),
    b"\x93": _stack_global,
    b"R": reduce,
    b"b": build,
}
