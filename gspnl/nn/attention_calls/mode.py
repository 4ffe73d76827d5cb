"""Watch the operations of a network below autograd, and its modules, while it runs."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode

from gspnl.errors import GspnlError
from gspnl.nn.attention_calls import eager, fused, linear, native
from gspnl.nn.attention_calls.given import ask
from gspnl.nn.attention_calls.modules import is_attention
from gspnl.nn.attention_calls.origins import CHANGING, REARRANGING, carried
from gspnl.nn.attention_calls.recorder import Recorder

Handler = Callable[[Recorder, dict[str, Any], Any], None]
HANDLERS: dict[str, Handler] = {
    **fused.HANDLERS,
    **native.HANDLERS,
    **eager.HANDLERS,
    **linear.HANDLERS,
}


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # of torch
    """Show each operation of torch to a recorder, after it was computed.

    The operation is computed as it would be without: by the same kernel, on the same tensors.
    """

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # so that torch does not load its compiler

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Let torch compile what it must, as flex_attention."""
        return True

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recorder = recorder
        self.failure: Exception | None = None
        self.paused = False
        self._compute = _uncompiled(self._computed)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Compute an operation, and show it."""
        return self._compute(func, args, kwargs or {})

    def _computed(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Views inside of composite operations know of a parameter's gradient, as they do outside:
        # matmul chooses its kernel by it.
        hidden = not _composite(func)
        with torch._C._SetExcludeDispatchKeyGuard(torch._C.DispatchKey.ADInplaceOrView, hidden):
            out = func(*args, **kwargs)
        # Nothing is looked for where the engine of autograd computes gradients.
        forward = torch._C._current_graph_task_id() == -1
        if forward and not self.paused and self.failure is None:
            with self.pause():
                try:
                    self._show(func, args, kwargs, out)
                except GspnlError:
                    raise
                except Exception as error:
                    if error is self.recorder.stopped:
                        raise
                    # A kind of tensor that is not known here; the network runs on.
                    reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
                    self.recorder.remark(f"{func} could not be read ({reason:.200})")
        return out

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Do not look at operations of our own; keep errors, since the network may catch them."""
        self.paused = True
        try:
            yield
        except Exception as error:
            self.failure = error
            raise
        finally:
            self.paused = False

    def _show(self, func: Any, args: tuple[Any, ...], kwargs: Any, out: Any) -> None:
        seen = self.recorder
        name = getattr(getattr(func, "overloadpacket", func), "__name__", "")
        if name in REARRANGING or name in CHANGING:
            tensors = [
                each
                for each in _flat((*args, *kwargs.values()))
                if isinstance(each, Tensor) and (each.is_nested or each.numel())
            ]
            origins = [seen.origin(each) for each in tensors]
            origin = carried(name, origins)
            if origin is not None or name.endswith("_"):
                seen.mark(out, origin)
        whole = name in fused.HANDLERS or name in native.HANDLERS
        if name in HANDLERS and not (whole and seen.modules.silent):
            HANDLERS[name](seen, bound(func, args, kwargs), out)
        elif is_attention(name) and "backward" not in name:
            seen.remark(f"attention by {func}, which is not read")


@contextmanager
def watching(recorder: Recorder, functions: Mapping[str, Callable[..., Any]]) -> Iterator[Watch]:
    """Show the operations and the modules that run in this thread to a recorder.

    Parameters
    ----------
    recorder : Recorder
    functions : mapping of str to callable
        Give the attention of modules, from (module, args, kwargs, output).
    """
    watch, thread = Watch(recorder), threading.get_ident()

    def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
        if threading.get_ident() == thread:
            recorder.modules.enter(module, args)

    def give(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        frames = recorder.modules.frames
        name = frames[-1].name if frames else None
        if threading.get_ident() == thread and name is not None and name in functions:
            with watch.pause():
                recorder.record(ask(name, functions[name], module, args, kwargs, output))

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        if threading.get_ident() == thread:
            recorder.modules.leave(module)

    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())  # compiled networks run uncompiled here
        warnings.filterwarnings("ignore", message="Using `torch.compile")
        # Global hooks: a module with hooks of its own leaves torch's fast paths.
        for handle in (
            register_module_forward_pre_hook(enter),
            register_module_forward_hook(give, with_kwargs=True),
            register_module_forward_hook(leave, always_call=True),
        ):
            stack.callback(handle.remove)
            # torch 2.13 leaves the id of a removed hook here, and torch.compile warns of it.
            left: Any = nn.modules.module._global_forward_hooks_with_kwargs
            stack.callback(left.pop, handle.id, None)
        stack.enter_context(watch)
        yield watch


def _uncompiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keep torch's compiler, where it is loaded, from compiling a function of our own."""
    if {"torch._dynamo", "torch.nn.attention.flex_attention"} & sys.modules.keys():
        from torch._dynamo.eval_frame import skip_code

        skip_code(Watch.__torch_dispatch__.__code__)
        return torch.compiler.disable(function)  # type: ignore[no-any-return, no-untyped-call]
    return function


def bound(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of an operation by name, with the defaults of its schema."""
    arguments = func._schema.arguments
    given = {each.name: each.default_value for each in arguments if each.has_default_value()}
    given.update(zip((each.name for each in arguments), args, strict=False))
    return given | kwargs


@cache
def _composite(func: Any) -> bool:
    """Return True for operations made of others whose results are no views of their arguments."""
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    if not isinstance(func, torch._ops.OpOverload) or not func.has_kernel_for_dispatch_key(key):
        return False
    return all(each.alias_info is None for each in func._schema.returns)


def _flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from _flat(value)
        else:
            yield value
