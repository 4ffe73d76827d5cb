"""Read the heads and channels of an attention by running the network."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from gspnl.errors import InputError
from gspnl.nn.attention_calls.filtered_forward import keep_fast_paths_off, nested, run
from gspnl.nn.attention_calls.filtering import Filtering
from gspnl.nn.attention_responses import Affinity
from gspnl.nn.attention_responses.polynomials import NLResponse
from gspnl.nn.surgery.shapes import Example, record_outputs


def sizes_seen(
    model: nn.Module, modules: Mapping[str, nn.Module], example: Example
) -> dict[str, tuple[int | None, int | None]]:
    """Return the heads and the channels of each module on a batch.

    The run changes nothing. None where a module computes no attention, or gives no tensor.

    Raises
    ------
    InputError
        If the example does not pass through the network, or a module is not called.
    """
    found: dict[str, tuple[int | None, int | None]] = {}

    def watch(name: str, module: nn.Module) -> Any:
        heads: list[int] = []

        class Probe(NLResponse):
            def filtered(self, A: Affinity, V: Tensor) -> Tensor:
                heads.append(V.shape[-3])
                return super().filtered(A, V)

        mode = Filtering(Probe(1, 1), ())
        plain = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            out, keep = run(mode, module, plain, args, kwargs)
            first = out[0] if isinstance(out, tuple) and out else out
            width = first.shape[-1] if isinstance(first, Tensor) and first.ndim else None
            found[name] = (heads[-1] if heads else None, width)
            return nested(out, keep)

        return forward

    with ExitStack() as stack:
        for name, module in modules.items():
            before = vars(module).get("forward")
            hook = module.register_forward_pre_hook(keep_fast_paths_off)
            stack.callback(hook.remove)
            module.forward = watch(name, module)
            stack.callback(_restore, module, before)
        record_outputs(model, {}, example)
    for name in modules:
        if name not in found:
            raise InputError(
                f"{name!r} is not called when the network runs (its weights may be used without "
                "it); name the module that holds it"
            )
    return found


def _restore(module: nn.Module, forward: Any) -> None:
    del module.forward
    if forward is not None:
        module.forward = forward
