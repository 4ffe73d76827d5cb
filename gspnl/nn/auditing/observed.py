"""Run a network once on a batch, and keep the features of its blocks, its attention and output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gspnl.errors import InputError
from gspnl.nn.attention_calls import AttentionCall, observe
from gspnl.nn.block import Block
from gspnl.nn.programs.dispatched import is_compiled, numbered, observe_program
from gspnl.nn.surgery.batches import run
from gspnl.nn.surgery.shapes import evaluation

Features = tuple[Tensor, tuple[int, ...]]  # X (B, N, C), and the spatial dimensions
Functions = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True, eq=False)
class Observed:
    """One forward pass.

    Attributes
    ----------
    features : dict
        Of blocks, by name: those at the first call of each block that the batch reaches.
    calls : tuple of AttentionCall
        In the order of execution.
    output : any
        Of the network.
    unseen : tuple of str
        A sentence for each module that may have attention that was not seen.
    last : mapping of (int, int) to (str, Tensor)
        By (N, C), the last module that gave features (B, N, C), with its name.
    """

    features: dict[str, Features]
    calls: tuple[AttentionCall, ...]
    output: Any
    unseen: tuple[str, ...] = ()
    last: Mapping[tuple[int, int], tuple[str, Tensor]] = field(default_factory=dict)


def observed(
    model: nn.Module,
    batch: Any,
    blocks: Mapping[str, Block],
    attention: Functions | None = None,
) -> Observed:
    """Run a network once in evaluation mode, and keep what the audit needs.

    Raises
    ------
    InputError
        For a batch that the network cannot run, and for features of a block that are not finite.
    """
    outputs: list[Any] = []
    unseen: tuple[str, ...] = ()
    last: dict[tuple[int, int], tuple[str, Tensor]] = {}
    with ExitStack() as stack:
        features = stack.enter_context(_kept(blocks))
        if is_compiled(model):
            if attention:
                raise InputError(
                    "attention= names modules of a network, and a compiled program has none; it "
                    "is for the network that it was made from"
                )
            stack.enter_context(_evaluation(model))
            calls = observe_program(model, batch, outputs)
        else:
            stack.enter_context(_outputs(model, outputs, last))
            found = observe(model, batch, attention)
            calls, unseen = list(found), found.unseen
    _check_finite(features)
    # The softmax inside of a block is the block's.
    calls = [call for call in calls if not any(_inside(call.layer, name) for name in blocks)]
    calls, repeated = distinct(calls)
    unseen = (*unseen, *repeated)
    return Observed(features, tuple(calls), outputs[-1] if outputs else None, unseen, last)


def distinct(calls: Sequence[AttentionCall]) -> tuple[list[AttentionCall], list[str]]:
    """Keep one call of each A that a layer applies repeatedly, as responses of degree 2 do.

    Returns
    -------
    calls : list of AttentionCall
        Numbered anew.
    notes : list of str
        The layers, and how often each applies its A.
    """
    kept: list[AttentionCall] = []
    times: dict[int, int] = {}
    for call in calls:
        same = kept and _equal(kept[-1], call)
        times[len(kept) - 1 if same else len(kept)] = 1 + (times[len(kept) - 1] if same else 0)
        if not same:
            kept.append(call)
    notes = [
        f"{kept[i].layer or 'the network'} applies the same A {count} times in a pass: its record "
        "is that of A, and what it writes that of the first time"
        for i, count in times.items()
        if count > 1
    ]
    return numbered(kept), notes


def _equal(first: AttentionCall, second: AttentionCall) -> bool:
    """Return whether two calls have the same A: the same layer, queries, keys and mask."""
    if first.layer != second.layer or (first.scale, first.causal) != (second.scale, second.causal):
        return False
    pairs = [(getattr(first, n), getattr(second, n)) for n in ("q", "k", "weights", "mask")]
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in pairs)


def capture(model: nn.Module, blocks: Mapping[str, Block], batch: Any) -> dict[str, Features]:
    """Return the features at the first call of each block that the batch reaches."""
    with _kept(blocks) as features, evaluation(model):
        run(model, batch)
    if not features:
        raise InputError(
            f"this batch reaches none of the blocks {', '.join(map(repr, blocks))}; pass what the "
            "model is called with"
        )
    _check_finite(features)
    return features


def _inside(layer: str, block: str) -> bool:
    return not block or layer == block or layer.startswith(f"{block}.")


@contextmanager
def _kept(blocks: Mapping[str, Block]) -> Iterator[dict[str, Features]]:
    """Keep the features that reach blocks in the dict that is yielded."""
    features: dict[str, Features] = {}
    with ExitStack() as stack:
        for name, block in blocks.items():

            def keep(module: nn.Module, args: tuple[Any, ...], name: str = name) -> None:
                X, spatial = args
                # Copied, since later layers may change it in place.
                features.setdefault(name, (X.detach().clone(), tuple(int(n) for n in spatial)))

            handle = block.affinity.register_forward_pre_hook(keep)
            stack.callback(handle.remove)
        yield features


@contextmanager
def _outputs(
    model: nn.Module, outputs: list[Any], last: dict[tuple[int, int], tuple[str, Tensor]]
) -> Iterator[None]:
    """Keep the output of the network, and the last features of each shape (N, C).

    The hook is a global one: hooks on modules would turn off fast paths.
    """
    names = {id(module): name for name, module in model.named_modules()}

    def keep(module: nn.Module, args: Any, output: Any) -> None:
        if module is model:
            outputs.append(output)
        known = id(module) in names and isinstance(output, Tensor) and not output.is_nested
        if known and output.ndim == 3 and output.is_floating_point():
            last[output.shape[1], output.shape[2]] = (names[id(module)], output.detach())

    handle = nn.modules.module.register_module_forward_hook(keep)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode of a program; that of an exported graph is fixed."""
    if isinstance(model, torch.fx.GraphModule):
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            yield
    else:
        with evaluation(model):
            yield


def _check_finite(features: Mapping[str, Features]) -> None:
    for name, (X, _) in features.items():
        if not bool(torch.isfinite(X).all()):
            raise InputError(
                f"the features that reach block {name!r} are not finite; see what the layers "
                "before it make of this batch"
            )
