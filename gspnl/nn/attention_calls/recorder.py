"""Record of a network's run: the modules being called, origins of tensors, attention so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from gspnl.errors import InputError
from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.attention_calls.modules import Modules
from gspnl.nn.attention_calls.origins import Origin, Projected, Written, source
from gspnl.nn.attention_calls.projections import (
    Sums,
    output_part,
    over_channels,
    sums_of_heads,
    value_part,
)

OnCall = Callable[[AttentionCall], Any]
CHANNELS = "its nodes are the channels of the head, and its channels the positions"
WAITING = 4  # calls whose output weights are looked for at a time


class Recorder:
    """What was seen of a network that runs.

    Parameters
    ----------
    model : Module
    given : iterable of str
        Names of modules whose attention is not looked for, since the caller gives it.
    on_call : callable
        Takes each AttentionCall, in the order of execution.
    """

    def __init__(self, model: nn.Module, given: Iterable[str], on_call: OnCall) -> None:
        self.modules = Modules(model, given)
        self.on_call = on_call
        self.origins: Any = WeakIdKeyDictionary()
        self.open: dict[int, tuple[AttentionCall, Sums | None]] = {}  # W_O is not known yet
        self.parameters = {each.untyped_storage().data_ptr() for each in model.parameters()}
        self.remarks: dict[str, str] = {}  # attention that was not understood, by layer
        self.stopped: Exception | None = None  # an error of on_call
        self._numbers: Counter[str] = Counter()

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

    def is_parameter(self, tensor: Tensor) -> bool:
        """Return True for parameters of the network, and views of them."""
        return tensor.untyped_storage().data_ptr() in self.parameters

    def crossed(self, q: Tensor, k: Tensor) -> bool:
        """Return True if keys are known to be projected from other features than queries."""
        x, y = source(self.origin(q)), source(self.origin(k))
        if x is None or y is None or x is y:
            return False
        return x.shape != y.shape or not torch.equal(x, y)

    # Attention.

    def remark(self, text: str) -> None:
        """Note attention of the present layer that is not understood."""
        if not self.modules.silent:
            self.remarks.setdefault(self.modules.layer, text)

    def record(
        self, call: AttentionCall, values: Origin | None = None, result: Tensor | None = None
    ) -> Written:
        """Take an attention into the record.

        Parameters
        ----------
        call : AttentionCall
            Its layer is the present one, unless it has one.
        values : Origin or None
            Of its values.
        result : Tensor of shape (B, H, N, c), or None
            What the heads wrote; None if it is not looked for.

        Returns
        -------
        Written
            Origin of what the heads wrote.
        """
        call = replace(call, layer=call.layer or self.modules.layer)
        check(call)
        call = replace(self._described(call, values), call=self._numbers[call.layer])
        self._numbers[call.layer] += 1
        number = self._numbers.total()
        self.open[number] = call, None if result is None else sums_of_heads(result)
        if result is None or len(self.open) > WAITING:
            self._hand_over()
        return Written(number)

    def wrote(self, origin: Written, x: Tensor, weight: Tensor) -> None:
        """Note a linear layer after an attention: its weight is W_O, if x is what heads wrote."""
        call, heads = self.open.get(origin.number, (None, None))
        if call is not None and heads is not None:
            found = output_part(x, weight, heads)
            self.open[origin.number] = replace(call, output_weight=found), None
            self._hand_over()

    def finish(self) -> None:
        """Hand over the calls whose output weights were not found."""
        self.open = {number: (call, None) for number, (call, _) in self.open.items()}
        self._hand_over()

    def _hand_over(self) -> None:
        """Hand calls over in the order of execution, up to one whose W_O may still come."""
        for number in sorted(self.open):
            call, heads = self.open[number]
            if heads is not None and len(self.open) <= WAITING:
                break
            del self.open[number]
            try:
                self.on_call(call)
            except Exception as error:
                self.stopped = error
                raise

    def _described(self, call: AttentionCall, values: Origin | None) -> AttentionCall:
        """Add the value weight and the features that reached the layer, where they are known."""
        if isinstance(values, Projected) and call.v is not None:
            weight, inputs = value_part(call.v, values)
            if weight is not None:
                H = (call.weights if call.q is None else call.q).shape[1]  # type: ignore[union-attr]
                weight = weight.repeat_interleave(H // len(weight), dim=0)
                return replace(call, value_weight=weight, inputs=None if call.cross else inputs)
            if values.current and over_channels(call.v, values):
                return replace(call, notes=(*call.notes, CHANNELS))
        return call


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
