"""Observe one network, and compare outputs, heads, attention and projections with what is known."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from _attention_cases import Case
from support.nn_networks.network import Keeper, run, seeded
from support.nn_networks.plain import array, weights_of

from gspnl.nn.attention_calls import observe


def observed(case: Case) -> dict[str, str]:
    """One row of the table."""
    model, batch = seeded(case.build()), case.batch()
    keeper = Keeper(model)
    with torch.no_grad(), fast_path(case.fast):
        start = time.perf_counter()
        before = tensors(run(model, batch))
        plain = time.perf_counter() - start
        start = time.perf_counter()
        calls = observe(keeper, batch)
        seen = time.perf_counter() - start
        during, after = tensors(keeper.output), tensors(run(model, batch))
        same = all(
            len(before) == len(other) and all(map(torch.equal, before, other))
            for other in (during, after)
        )
    names = [(call.layer.removeprefix("model").removeprefix("."), call) for call in calls]
    expected = formulas(case, model, batch)
    error, maps = 0.0, 0
    for (name, call), layer in zip(names, case.layers, strict=False):
        if name != layer.name:
            continue
        a, b = weights_of(call), expected[name]
        taken = b.sum(axis=-1) > 0.5
        if case.name.endswith("padded"):  # rows of padding are not computed
            taken &= np.arange(b.shape[2]) < 40
        error = max(error, float(np.abs(a - b)[taken].max()))
        if layer.projections is not None and call.value_weight is not None:
            pairs = zip(
                (call.value_weight, call.output_weight),
                layer.projections(model, name),
                strict=True,
            )
            maps += all(x is not None and np.allclose(array(x), y, atol=1e-6) for x, y in pairs)
    wanted = sum(layer.projections is not None for layer in case.layers)
    right = sum(x[0] == y.name for x, y in zip(names, case.layers, strict=False))
    heads = sum((call.weights if call.q is None else call.q).shape[1] for _, call in names)
    return {
        "network": case.name,
        "settings": case.settings,
        "bits": "equal" if same else "**changed**",
        "layers": f"{right} of {len(case.layers)}",
        "heads": f"{heads} of {sum(layer.heads for layer in case.layers)}",
        "error": f"{error:.0e}",
        "maps": f"{maps} of {wanted}",
        "twin": twin(case, model),
        "seconds": f"{seen:.2f} / {plain:.2f} s",
    }


def formulas(case: Case, model: Any, batch: Any) -> dict[str, Any]:
    """A of every layer in float64 by its plain formula, from what its module is called with."""
    found: dict[str, Any] = {}
    handles = []
    for layer in case.layers:

        def see(module: Any, args: Any, kwargs: Any, layer: Any = layer) -> None:
            found[layer.name] = layer.attention(module, *args, **kwargs)

        module = model.get_submodule(layer.name)
        handles.append(module.register_forward_pre_hook(see, with_kwargs=True))
    with torch.no_grad(), fast_path(False):
        run(model, batch)
    for handle in handles:
        handle.remove()
    return found


def twin(case: Case, model: Any) -> str:
    """Compare the names of layers and of their parameters with those of the twin."""
    ours, real = {}, {}
    for names, network, out in (
        ([layer.name for layer in case.twin.layers], case.twin.build(), ours),
        ([layer.name for layer in case.layers], model, real),
    ):
        for name in names:
            inside = network.get_submodule(name).state_dict()
            out.setdefault(re.sub(r"\d+", "#", name), set()).update(inside)
    missing = {name: sorted(real[name] ^ ours.get(name, set())) for name in real}
    wrong = [f"{name}: {', '.join(parts)}" for name, parts in missing.items() if parts]
    return "same" if not wrong else "; ".join(wrong)


@contextlib.contextmanager
def fast_path(enabled: bool) -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def tensors(output: Any) -> list[Any]:
    """All tensors of an output, in order."""
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if hasattr(output, "self_attention_cache"):  # of an encoder and a decoder
        output = (output.self_attention_cache, output.cross_attention_cache)
    if hasattr(output, "layers"):  # a cache of keys and values
        output = [(layer.keys, layer.values) for layer in output.layers]
    if isinstance(output, (tuple, list)):
        return [each for part in output for each in tensors(part)]
    return [] if output is None else [output]
