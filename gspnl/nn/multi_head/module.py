"""Multi-head attention with a response, for torch's MultiheadAttention and timm's Attention."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gspnl._base.validate import number
from gspnl.errors import InputError
from gspnl.nn.attention_responses import Mask, make_response
from gspnl.nn.multi_head.attend import multi_head
from gspnl.nn.multi_head.foreign import arguments_of, check_same
from gspnl.nn.multi_head.layouts import batched, check_tokens, dense, swapped
from gspnl.nn.multi_head.masks import check_mask
from gspnl.nn.multi_head.weights import Weights


class Attention(Weights):
    r"""Multi-head attention with a response: :math:`g(A)\,V` in place of :math:`A\,V` in each head.

    It takes the place of :class:`torch.nn.MultiheadAttention` and of ``timm.layers.Attention``: it
    loads the state dicts of both, and with ``response="nl"`` gives their outputs. What it returns
    depends on the call, as it does in these two:

    - ``attention(query, key, value, …)``, torch's: a tuple of the output and the weights (None
      with ``need_weights=False``); tokens are (N, B, C) unless ``batch_first=True``; in a mask of
      bools True hides a key.
    - ``attention(x, attn_mask=None, is_causal=False)``, timm's: the output alone; tokens are always
      (B, N, C); ``attn_mask`` is that of
      :func:`torch.nn.functional.scaled_dot_product_attention`, in which True takes part.

    Parameters
    ----------
    dim : int
        C.
    heads : int
        H, a divisor of ``dim``; ``num_heads`` is the same. 8 by default, as in timm.
    response : str
        "nl" (A), "ns" (A − I), "snl", "gsnl", "chebyshev" (``order``), "gfsa" (``order``),
        "attnscale", "featscale" or "contranorm" (``s``, ``cosine``); see
        :func:`gspnl.nn.attention_table`. Where the table says so, a new response gives "nl".
    dropout : float
        Of the entries of A in training, in each product independently; ``attn_drop`` is the same.
    bias : bool
        Biases of all maps; ``qkv_bias`` and ``proj_bias`` set those of one.
    kdim, vdim, add_bias_kv, add_zero_attn, batch_first
        As in :class:`torch.nn.MultiheadAttention`. Added keys are no tokens: responses that use I
        or powers of A refuse them.
    qk_norm : bool
        Apply ``norm_layer(C/H)`` to queries and keys, as timm does.
    proj_drop : float
        Dropout of the output in training.
    norm_layer : callable
        :class:`torch.nn.LayerNorm` by default.
    device, dtype
        Of the parameters.
    **options
        Options of the response.

    Raises
    ------
    InputError
        For sizes that do not fit, unknown responses and options.

    Notes
    -----
    Fused attention computes each product, so memory is O(N), with masks, causal or not. Only
    ``need_weights=True``, the default of torch's call, stores A: it returns A itself, before the
    response. With a mask, means over tokens (attnscale, featscale) and the softmax of contranorm
    take the keys that a query sees.

    A state dict without biases loads as zeros, and one without a response leaves the response as it
    is: both with ``strict=True``.

    Examples
    --------
    >>> import torch
    >>> from gspnl import nn as gnn
    >>> attention = gnn.Attention(32, 4, response="gfsa", batch_first=True)
    >>> trained = torch.nn.MultiheadAttention(32, 4, batch_first=True)
    >>> attention.load_state_dict(trained.state_dict())
    <All keys matched successfully>
    >>> x = torch.randn(2, 10, 32)
    >>> torch.allclose(attention(x), trained(x, x, x)[0], atol=1e-6)  # gfsa starts as "nl"
    True
    >>> attention.response.core(0)  # g(λ) of the first head
    gfsa(w0=0.0, w1=1.0, wK=0.0, order=3)
    """

    # Read by torch's encoder layers, whose fast path would compute plain attention.
    _qkv_same_embed_dim = False

    def __init__(
        self,
        dim: int,
        heads: int | None = None,
        response: str = "nl",
        *,
        dropout: float = 0.0,
        bias: bool = True,
        kdim: int | None = None,
        vdim: int | None = None,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        batch_first: bool = False,
        qk_norm: bool = False,
        proj_drop: float = 0.0,
        norm_layer: Callable[..., nn.Module] | None = None,
        scale_norm: bool = False,
        num_heads: int | None = None,
        qkv_bias: bool | None = None,
        proj_bias: bool | None = None,
        attn_drop: float | None = None,
        device: Any = None,
        dtype: Any = None,
        **options: Any,
    ) -> None:
        factory = {"device": device, "dtype": dtype}
        heads = _one("heads", heads, "num_heads", num_heads, 8)
        super().__init__(
            dim,
            heads,
            kdim,
            vdim,
            bias=bias if qkv_bias is None else qkv_bias,
            out_bias=bias if proj_bias is None else proj_bias,
            bias_kv=add_bias_kv,
            zero_key=add_zero_attn,
            factory=factory,
        )
        dropout = _one("dropout", dropout or None, "attn_drop", attn_drop, 0.0)
        self.dropout = number("dropout", dropout, least=0, most=1)
        self.batch_first = batch_first
        norm_layer = nn.LayerNorm if norm_layer is None else norm_layer
        self.q_norm = norm_layer(self.head_dim, **factory) if qk_norm else nn.Identity()
        self.k_norm = norm_layer(self.head_dim, **factory) if qk_norm else nn.Identity()
        self.proj_drop = nn.Dropout(number("proj_drop", proj_drop, least=0, most=1))
        if scale_norm:
            raise InputError(
                "scale_norm=True of timm's Attention is not computed here; leave it out"
            )
        self.response = make_response(
            response, self.num_heads, self.embed_dim, **factory, **options
        )
        if self.response.square and (add_bias_kv or add_zero_attn):
            raise InputError(
                f"add_bias_kv and add_zero_attn add keys that are no tokens, and response="
                f"{response!r} uses I and powers of A; leave them out"
            )

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> Any:
        """Attend; see the class for the two forms of the call.

        Raises
        ------
        InputError
            For tokens and masks that do not fit, and for cross-attention with a response that uses
            I or powers of A.
        """
        settings: dict[str, Any] = {
            "dropout": self.dropout if self.training else 0.0,
            "norms": (self.q_norm, self.k_norm),
        }
        if key is None and value is None:
            check_tokens("x", query, self.embed_dim, self.out_proj.weight, batched_only=True)
            if key_padding_mask is not None or (is_causal and attn_mask is not None):
                raise InputError(
                    "the call with one tensor takes attn_mask or is_causal=True; join masks into "
                    "an attn_mask that is True where a key takes part"
                )
            check_mask(attn_mask, (query.shape[0], self.num_heads, *query.shape[1:2] * 2))
            settings["mask"] = Mask(attn_mask, is_causal)
            signals = (query,) * 3
            out, _, seen = multi_head(
                self.response, self.maps(), self.num_heads, *signals, **settings
            )
            return self.proj_drop(self.response.finished(out, seen))
        if not isinstance(key, Tensor) or not isinstance(value, Tensor):
            raise InputError(
                "call attention(x) with one tensor or attention(query, key, value) with three; "
                "masks are keyword arguments"
            )
        signals, keep, key_padding_mask = dense((query, key, value), key_padding_mask)
        widths = (self.embed_dim, self.kdim, self.vdim)
        for name, x, width in zip(("query", "key", "value"), signals, widths, strict=True):
            check_tokens(name, x, width, self.out_proj.weight)
        single = signals[0].ndim == 2
        signals, key_padding_mask = batched(signals, key_padding_mask)
        if not (self.batch_first or single):
            signals = swapped(signals)
        out, weights, seen = multi_head(
            self.response,
            self.maps(),
            self.num_heads,
            *signals,
            key_padding_mask=key_padding_mask,
            attn_mask=attn_mask,
            is_causal=is_causal,
            need_weights=need_weights,
            average=average_attn_weights,
            **settings,
        )
        out = self.proj_drop(self.response.finished(out, seen))
        if keep is not None:
            return torch._nested_tensor_from_mask(out, keep, mask_check=False), weights
        if single:
            return out[0], None if weights is None else weights[0]
        return out if self.batch_first else out.transpose(0, 1), weights

    @classmethod
    def from_module(cls, module: nn.Module, response: str = "nl", **options: Any) -> Attention:
        """Make an Attention with copies of the weights of torch's or timm's attention module.

        Parameters
        ----------
        module : torch.nn.MultiheadAttention, or of the form of timm.layers.Attention
        response : str
        **options
            Options of the response.

        Raises
        ------
        InputError
            For other modules, also where they have the same parts and give other outputs.

        Examples
        --------
        >>> import torch
        >>> from gspnl import nn as gnn
        >>> trained = torch.nn.MultiheadAttention(32, 4, batch_first=True)
        >>> gnn.Attention.from_module(trained, "attnscale").batch_first
        True
        """
        arguments = arguments_of(module)
        weight = next(module.parameters())
        made = cls(
            **arguments, response=response, device=weight.device, dtype=weight.dtype, **options
        )
        if arguments.get("qk_norm"):
            made.q_norm = copy.deepcopy(module.get_submodule("q_norm"))
            made.k_norm = copy.deepcopy(module.get_submodule("k_norm"))
        made.load_state_dict(module.state_dict())
        plain = made if response == "nl" else cls.from_module(module)
        check_same(module, plain)
        return made.train(module.training)

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, {self.num_heads}, batch_first={self.batch_first}"


def _one(name: str, value: Any, alias: str, other: Any, default: Any) -> Any:
    """Return the one of two names of an argument that is given."""
    if value is not None and other is not None and value != other:
        raise InputError(f"{name}={value!r} and {alias}={other!r} are the same; pass one of them")
    return next((each for each in (value, other) if each is not None), default)
