"""Record of a network's run: the modules being called, origins of tensors, attention so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from gspnl.errors import InputError
from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.attention_calls.layouts import HEADS, Layout, layout
from gspnl.nn.attention_calls.origins import Origin, Projected, Scores
from gspnl.nn.block import Block

OnCall = Callable[[AttentionCall], Any]


@dataclass(frozen=True, eq=False)
class Frame:
    """A module that is being called."""

    module: nn.Module
    name: str | None  # None for modules that are made during the run
    args: tuple[Any, ...]


class Recorder:
    """What was seen of a network that runs.

    Parameters
    ----------
    model : Module
    given : collection of str
        Names of modules whose attention is not looked for, since the caller gives it.
    on_call : callable or None
        Takes each AttentionCall in the order of execution. Without it they are kept in ``calls``.
    """

    def __init__(
        self, model: nn.Module, given: Iterable[str] = (), on_call: OnCall | None = None
    ) -> None:
        self.names = {id(module): name for name, module in model.named_modules()}
        self.given = frozenset(given)
        self.on_call = on_call
        self.frames: list[Frame] = []
        self.origins: Any = WeakIdKeyDictionary()
        self.calls: list[AttentionCall] = []
        self.remarks: dict[str, str] = {}  # attention that was not understood, by layer
        self.layers: set[str] = set()
        self._numbers: Counter[str] = Counter()

    # Modules.

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Note that a module is called."""
        self.frames.append(Frame(module, self.names.get(id(module)), args))

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

    # Tensors.

    def origin(self, tensor: Any) -> Origin | None:
        """Return where a tensor comes from, or None."""
        return self.origins.get(tensor) if isinstance(tensor, Tensor) else None

    def mark(self, tensors: Any, origin: Origin | None) -> None:
        """Set where the tensors of a result come from; None forgets it."""
        for tensor in tensors if isinstance(tensors, (tuple, list)) else (tensors,):
            if not isinstance(tensor, Tensor):
                continue
            if origin is not None:
                self.origins[tensor] = origin
            else:
                self.origins.pop(tensor, None)

    def crossed(self, q: Tensor, k: Tensor) -> bool:
        """Return True if keys are projected from other features than queries."""
        ours, theirs = self.origin(q), self.origin(k)
        if isinstance(ours, Projected) and isinstance(theirs, Projected):
            return differ(ours.x, theirs.x)
        return False

    # Attention.

    def remark(self, text: str) -> None:
        """Note attention of the present layer that is not understood."""
        if not self.silent:
            self.remarks.setdefault(self.layer, text)

    def record(self, call: AttentionCall) -> int:
        """Take an attention into the record; return its number among all of them."""
        call = replace(call, layer=self.layer) if not call.layer else call
        check(call)
        call = replace(call, call=self._numbers[call.layer])
        self._numbers[call.layer] += 1
        self.layers.add(call.layer)
        self.calls.append(call)
        return len(self.calls) - 1


def differ(x: Tensor, y: Tensor) -> bool:
    """Return True if two tensors of features differ in shape or values."""
    return x is not y and (x.shape != y.shape or not torch.equal(x, y))


def crossed(scores: Scores | None) -> bool:
    """Return True if scores compare projections of different features."""
    return scores is not None and differ(scores.queries, scores.keys)


def keep(tensor: Tensor) -> Tensor:
    """Return a detached copy; axes along which a tensor is expanded stay so."""
    tensor = tensor.detach()
    shape = tensor.shape
    for axis, (size, stride) in enumerate(zip(shape, tensor.stride(), strict=True)):
        if stride == 0 and size > 1:
            tensor = tensor.narrow(axis, 0, 1)
    return tensor.clone().expand(shape)


def check(call: AttentionCall) -> None:
    """Raise InputError where an attention has values that are not finite."""
    for name, tensor in (("queries", call.q), ("keys", call.k), ("weights", call.weights)):
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            raise InputError(
                f"the {name} of the attention in {call.layer or 'the model'!r} are not finite (NaN "
                "or infinite); see what the layers before it make of this batch"
            )


def _heads(module: nn.Module) -> int | None:
    declared: Mapping[str, Any] = vars(module)
    for name in HEADS:
        heads = declared.get(name)
        if isinstance(heads, int) and not isinstance(heads, bool) and heads > 0:
            return heads
    return None
