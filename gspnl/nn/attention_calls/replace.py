"""Give the attention inside modules of any network a response."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
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
from gspnl.nn.attention_calls.sizes import channels_of, heads_of
from gspnl.nn.attention_responses import AttentionResponse, make_response
from gspnl.nn.multi_head import Attention
from gspnl.nn.surgery.shapes import Example, record_outputs
from gspnl.nn.surgery.targets import check_model, nearest, reset_compiled

ResponseSpec = str | tuple[str, Mapping[str, Any]]
CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


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
        check that each module computes attention and that its heads and channels fit.
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
    _check_names(modules, responses)
    new = {
        name: _make(name, modules[name], spec, heads, options) for name, spec in responses.items()
    }
    before = {name: _current(modules[name]) for name in new}
    try:
        for name, response in new.items():
            _attach(name, modules[name], response)
        if example is not None:
            _check_called(model, {name: modules[name] for name in new}, example)
    except BaseException:
        for name, response in before.items():
            _attach(name, modules[name], response)
        raise
    reset_compiled()
    return model


def _check_called(model: nn.Module, modules: Mapping[str, nn.Module], example: Example) -> None:
    """Run the network, and raise InputError if one of the modules is not called."""
    called: set[str] = set()
    with ExitStack() as stack:
        for name, module in modules.items():
            handle = module.register_forward_hook(lambda *_, name=name: called.add(name))
            stack.callback(handle.remove)
        record_outputs(model, {}, example)
    for name in modules:
        if name not in called:
            raise InputError(
                f"{name!r} is not called when the network runs (its weights may be used without "
                "it); name the module that holds it"
            )


def _check_names(modules: Mapping[str, nn.Module], names: Mapping[str, Any]) -> None:
    """Raise InputError for unknown, uncalled and nested modules, and for one under two names."""
    for name in names:
        if name not in modules:
            raise InputError(f"the network has no module {name!r}; {nearest(name, dict(modules))}")
        module = modules[name]
        if isinstance(module, (*CONTAINERS, AttentionResponse)):
            children = [path for path in modules if path.rpartition(".")[0] == name and path]
            raise InputError(
                f"{name!r} is a {type(module).__name__}, which computes no attention; name a "
                f"module of attention, inside of {', '.join(map(repr, children[:3])) or 'another'}"
            )
    filtered = {path for path, module in modules.items() if CHILD in module._modules}
    for name in names:
        for other in sorted({*names, *filtered}):
            same = modules[other] is modules[name]
            if other != name and same and other in names:
                raise InputError(f"{other!r} and {name!r} are one module; name it once")
            inside = f"{name}." if name else ""
            if other != name and not same and other.startswith(inside) and _stays(other, names):
                raise InputError(
                    f"{other!r} is inside of {name!r}, and its attention would be filtered twice; "
                    f"name one of them, or set {other!r} to 'nl' first"
                )
            around = f"{other}." if other else ""
            if other != name and not same and name.startswith(around) and other not in names:
                raise InputError(
                    f"{other!r} has a response, and {name!r} is inside of it; set {other!r} to "
                    "'nl' first"
                )


def _stays(name: str, names: Mapping[str, Any]) -> bool:
    """Return whether a module has a response after the call."""
    spec = names.get(name)
    return spec is None or (spec if isinstance(spec, str) else spec[0]) != "nl"


def _make(
    name: str,
    module: nn.Module,
    spec: ResponseSpec,
    heads: int | None,
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
    found = heads_of(module) if heads is None else heads
    channels = channels_of(module)
    trained = any(True for _ in probe.parameters())
    if trained and found is None and not probe.finishes:
        raise InputError(
            f"the number of heads of {name!r} ({type(module).__name__}) cannot be read from its "
            "attributes; pass heads="
        )
    if probe.finishes and channels is None:
        raise InputError(
            f"the channels of {name!r} ({type(module).__name__}) cannot be read from its modules; "
            "name the module of the attention itself"
        )
    like = next((each for each in module.parameters() if each.is_floating_point()), None)
    response = make_response(
        kind,
        found or 1,
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
