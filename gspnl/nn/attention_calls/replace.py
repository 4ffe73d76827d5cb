"""Give the attention inside modules of any network a response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.nn.attention_calls.filtered_forward import (
    CHILD,
    HOOK,
    FilteredForward,
    keep_fast_paths_off,
)
from gspnl.nn.attention_calls.places import check_names
from gspnl.nn.attention_calls.probe import sizes_seen
from gspnl.nn.attention_calls.sizes import channels_of, heads_of
from gspnl.nn.attention_responses import AttentionResponse, make_response
from gspnl.nn.multi_head import Attention
from gspnl.nn.surgery.shapes import Example, record_outputs
from gspnl.nn.surgery.targets import check_model, reset_compiled

ResponseSpec = str | tuple[str, Mapping[str, Any]]


def set_response(
    model: nn.Module,
    responses: Mapping[str, ResponseSpec],
    *,
    example: Example | None = None,
    heads: int | None = None,
    **options: Any,
) -> nn.Module:
    r"""Give the attention inside named modules of any network a response, in place.

    In each of its heads, :math:`g(A)\,V` takes the place of :math:`A\,V`. The parameters of g are
    new parameters of the module, under ``<module>.response_``; the others keep their names. Set
    responses before the optimiser is created and before the network is wrapped for several
    processes.

    Parameters
    ----------
    model : Module
        Changed in place; unchanged if an error is raised.
    responses : mapping of str to str or (str, dict)
        The response for each module: a name, or a name with its options. Every attention that the
        module computes gets it. "nl" restores plain attention, and leaves nothing behind. A module
        that has this response with these options already stays as it is.
    example : tensor, tuple of arguments or mapping of keyword arguments, optional
        Input of the network, a small batch. The network is run on it, with nothing changed, to
        read sizes that the modules do not declare, and to check that each is called, computes
        attention and fits its response.
    heads : int, optional
        H, for modules without an attribute such as ``num_heads``.
    **options
        Options of the responses, see :class:`gspnl.nn.Attention`; a response's own override them.

    Returns
    -------
    Module
        ``model``.

    Raises
    ------
    InputError
        If a module is unknown, or inside of another one that has a response; if a response or an
        option is unknown; if the number of heads cannot be read. Without an example, at the first
        call: if the module computes no attention that can be seen, or cross-attention with a
        response that uses I or powers of A.

    Notes
    -----
    Seen are torch's ``scaled_dot_product_attention``, in O(N) memory,
    ``multi_head_attention_forward`` and the fast paths of torch's encoder, which are taken no more,
    and a softmax over the last axis that the network multiplies into values. The responses
    "featscale" and "contranorm" act on what the named module returns: name the attention itself.
    In the masks of eager attention, a score below the largest one by 1,000 hides its key.

    Activation checkpoints have to hold the whole named module: what is computed again outside of
    its forward is computed without the response.

    Deep copies, pickles and ``torch.compile`` include the response. Code that ``torch.compile`` has
    cached is dropped.

    Examples
    --------
    >>> import torch
    >>> from gspnl import nn as gnn
    >>> layer = torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval()
    >>> x = torch.randn(2, 10, 32)
    >>> before = layer(x)
    >>> layer = gnn.set_response(layer, {"self_attn": "gfsa"})
    >>> torch.allclose(layer(x), before, atol=1e-6)  # gfsa starts as plain attention
    True
    >>> layer.self_attn.response_.w_k  # and learns
    Parameter containing:
    tensor([0., 0., 0., 0.], requires_grad=True)
    >>> layer = gnn.set_response(layer, {"self_attn": "nl"})
    """
    check_model(model)
    if not isinstance(responses, Mapping) or not responses:
        raise InputError(
            f"responses={responses!r} must map names of modules to responses, as "
            "{'blocks.3.attn': 'gfsa'}"
        )
    if heads is not None:
        whole_number("heads", heads, 1)
    modules = dict(model.named_modules(remove_duplicate=False))
    check_names(modules, responses)
    targets = {name: modules[name] for name in responses}
    seen = {} if example is None else sizes_seen(model, targets, example)
    new = {
        name: _make(
            name, modules[name], spec, _sizes(modules[name], heads, seen.get(name)), options
        )
        for name, spec in responses.items()
    }
    before = {name: _current(module) for name, module in targets.items()}
    try:
        for name, response in new.items():
            _attach(name, modules[name], response)
        if example is not None:
            record_outputs(model, {}, example)
    except BaseException:
        for name, response in before.items():
            _attach(name, modules[name], response)
        raise
    reset_compiled()
    return model


def _sizes(
    module: nn.Module, heads: int | None, seen: tuple[int | None, int | None] | None
) -> tuple[int | None, int | None]:
    """Return heads and channels: those given, of a run, or of the module's attributes."""
    of_run = (None, None) if seen is None else seen
    return heads or heads_of(module) or of_run[0], of_run[1] or channels_of(module)


def _make(
    name: str,
    module: nn.Module,
    spec: ResponseSpec,
    sizes: tuple[int | None, int | None],
    options: Mapping[str, Any],
) -> AttentionResponse | None:
    """Return the response for a module; None for plain attention."""
    try:
        kind, own = (spec, {}) if isinstance(spec, str) else spec
        merged = {**options, **own}
    except (TypeError, ValueError):
        raise InputError(
            f"the response for {name!r} must be a name or a name with its options, as "
            f"('gfsa', {{'order': 4}}), not {spec!r}"
        ) from None
    current = _current(module)
    probe = make_response(kind, 1, 1, device="meta", **merged)
    if kind == "nl":
        return None
    if current is not None and (current.name, current.options) == (kind, probe.options):
        return current
    if CHILD in vars(module) or (hasattr(module, CHILD) and current is None):
        raise InputError(f"{name!r} has an attribute {CHILD!r} of its own; rename that")
    heads, channels = sizes
    if probe.trains_heads and heads is None:
        raise InputError(
            f"the number of heads of {name!r} ({type(module).__name__}) cannot be read from its "
            "attributes; pass heads=, or example=, a batch that the network takes"
        )
    if probe.finishes and channels is None:
        raise InputError(
            f"the channels of {name!r} ({type(module).__name__}) cannot be read from its modules; "
            "pass example=, a batch that the network takes"
        )
    like = next((each for each in module.parameters() if each.is_floating_point()), None)
    response = make_response(
        kind,
        heads or 1,
        channels or 1,
        device=None if like is None else like.device,
        dtype=None if like is None else like.dtype,
        **merged,
    )
    return response.train(module.training)


def _current(module: nn.Module) -> AttentionResponse | None:
    """Return the response that a module has; None for plain attention."""
    if isinstance(module, Attention):
        return None if module.response.name == "nl" else module.response
    found = module._modules.get(CHILD)
    return found if isinstance(found, AttentionResponse) else None


def _attach(name: str, module: nn.Module, response: AttentionResponse | None) -> None:
    """Give a module a response, in place of the one it has; None for plain attention."""
    if isinstance(module, Attention):
        module.response = response or make_response("nl", module.num_heads, module.embed_dim)
        return
    forward = vars(module).get("forward")
    if response is not None:
        module.add_module(CHILD, response)
        if not isinstance(forward, FilteredForward):
            handle = module.register_forward_pre_hook(keep_fast_paths_off)
            setattr(module, HOOK, handle)
            module.forward = FilteredForward(name, module)
    elif isinstance(forward, FilteredForward):
        vars(module).pop(HOOK).remove()
        delattr(module, CHILD)
        if forward.before is None:
            del module.forward
        else:
            module.forward = forward.before
