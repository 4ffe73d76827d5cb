"""Modules of a network that are being called: their names, heads and inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from gspnl.nn.attention_calls.layouts import HEADS, Layout, layout
from gspnl.nn.block import Block


@dataclass(frozen=True, eq=False)
class Frame:
    """A module that is being called."""

    module: nn.Module
    name: str | None  # None for modules that are made during the run
    args: tuple[Any, ...]


class Modules:
    """Stack of the modules that are being called.

    Parameters
    ----------
    model : Module
    given : iterable of str
        Names of modules whose attention is not looked for, since the caller gives it.

    Attributes
    ----------
    names : dict of int to str
        Names of the modules of the network, by id.
    given : frozenset of str
    entered : set of str
        Names of modules that were called.
    suspects : dict of str to str
        Modules that were called and have "attention" or "attn" in the name of their class: classes.
    """

    def __init__(self, model: nn.Module, given: Iterable[str] = ()) -> None:
        self.names = {id(module): name for name, module in model.named_modules()}
        self.given = frozenset(given)
        self.entered: set[str] = set()
        self.suspects: dict[str, str] = {}
        self.frames: list[Frame] = []

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Note that a module is called."""
        name = self.names.get(id(module))
        self.frames.append(Frame(module, name, args))
        if name is not None:
            self.entered.add(name)
            if is_attention(type(module).__name__) and not self.silent:
                self.suspects[name] = type(module).__name__

    def leave(self, module: nn.Module) -> None:
        """Note that a module's call ended."""
        while self.frames and self.frames.pop().module is not module:
            pass

    @property
    def layer(self) -> str:
        """Name of the innermost module that is being called."""
        return next((f.name for f in reversed(self.frames) if f.name is not None), "")

    @property
    def silent(self) -> bool:
        """True inside of gspnl's blocks, and of modules whose attention is given."""
        return any(isinstance(f.module, Block) or f.name in self.given for f in self.frames)

    def inside(self, kind: type[nn.Module]) -> nn.Module | None:
        """Return the innermost module, if it is of a kind."""
        found = self.frames[-1].module if self.frames else None
        return found if isinstance(found, kind) else None

    def layout(self, lead: Iterable[int]) -> Layout:
        """Choose the axis of the heads by what the modules around declare."""
        heads = next(filter(None, (_heads(f.module) for f in reversed(self.frames))), None)
        sizes = {1}
        for frame in self.frames:
            first = next((each for each in frame.args if isinstance(each, Tensor)), None)
            if first is not None and not first.is_nested:
                sizes.update(first.shape[:2])
        return layout(tuple(lead), heads, tuple(sizes))


def is_attention(name: str) -> bool:
    """Return True if the name of a class or of an operation speaks of attention."""
    return "attention" in name.lower() or "attn" in name.lower()


def _heads(module: nn.Module) -> int | None:
    declared: Mapping[str, Any] = vars(module)
    for name in HEADS:
        heads = declared.get(name)
        if isinstance(heads, int) and not isinstance(heads, bool) and heads > 0:
            return heads
    return None
