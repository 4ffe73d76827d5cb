"""Watch the operations of a network below autograd, and its modules, while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode

from gspnl.nn.attention_calls import eager, fused, native, projections
from gspnl.nn.attention_calls.origins import CHANGING, REARRANGING, Projected, changed
from gspnl.nn.attention_calls.recorder import Recorder

Handler = Callable[[Recorder, dict[str, Any], Any], None]
HANDLERS: dict[str, Handler] = {
    **fused.HANDLERS,
    **native.HANDLERS,
    **eager.HANDLERS,
    **projections.HANDLERS,
}


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # of torch
    """Show each operation of torch to a recorder, after it was computed.

    The operation is computed as it would be without: by the same kernel, on the same tensors.
    """

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # so that torch does not load its compiler

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recorder = recorder
        self.failure: Exception | None = None
        self.paused = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Compute an operation, and show it."""
        out = func(*args, **(kwargs or {}))
        if not self.paused and self.failure is None:
            try:
                self._show(func, args, kwargs or {}, out)
            except Exception as error:
                self.failure = error  # kept, since the network may catch exceptions
                raise
        return out

    def _show(self, func: Any, args: tuple[Any, ...], kwargs: Any, out: Any) -> None:
        seen = self.recorder
        name = getattr(getattr(func, "overloadpacket", None), "__name__", "")
        if name in REARRANGING or name in CHANGING:
            tensors = [
                each for each in _flat((*args, *kwargs.values())) if isinstance(each, Tensor)
            ]
            origins = [seen.origin(each) for each in tensors]
            origin = next((each for each in origins if each is not None), None)
            if name in CHANGING and origin is not None:
                known = [each.x for each in origins if isinstance(each, Projected)]
                apart = name.startswith(("add", "sub")) and len(known) != len(tensors)
                if isinstance(origin, Projected) and (
                    apart or any(x is not origin.x for x in known)
                ):
                    origin = None
                else:
                    origin = changed(origin)
            if origin is not None or name.endswith("_"):
                seen.mark(out, origin)
        elif name in HANDLERS:
            HANDLERS[name](seen, bound(func, args, kwargs), out)


@contextmanager
def watching(recorder: Recorder, below_autograd: bool = True) -> Iterator[Watch]:
    """Show the operations and the modules that run in this thread to a recorder.

    Parameters
    ----------
    recorder : Recorder
    below_autograd : bool
        Leave autograd out, so that composite operations (scaled_dot_product_attention, matmul)
        are seen whole. A network that takes gradients in its forward does not run then.
    """
    watch, thread = Watch(recorder), threading.get_ident()

    def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
        if threading.get_ident() == thread:
            recorder.enter(module, args)

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        if threading.get_ident() == thread:
            recorder.leave(module)

    with ExitStack() as stack:
        # Global hooks: a module with hooks of its own leaves torch's fast paths.
        for handle in (
            register_module_forward_pre_hook(enter),
            register_module_forward_hook(leave, always_call=True),
        ):
            stack.callback(handle.remove)
        if below_autograd:
            stack.enter_context(torch._C._AutoDispatchBelowAutograd())
        stack.enter_context(watch)
        yield watch


def bound(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of an operation by name, with the defaults of its schema."""
    arguments = func._schema.arguments
    given = {each.name: each.default_value for each in arguments if each.has_default_value()}
    given.update(zip((each.name for each in arguments), args, strict=False))
    return given | kwargs


def _flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from _flat(value)
        else:
            yield value
