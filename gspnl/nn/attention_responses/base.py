"""Base class and registry of the responses that an attention can have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gspnl._base.registry import Registry
from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.nn.attention_responses.mask import Mask
from gspnl.nn.attention_responses.products import Affinity
from gspnl.responses import Response

ATTENTION_RESPONSES: Registry[type[AttentionResponse]] = Registry("attention response")


@dataclass(frozen=True)
class AttentionRow:
    """A response in the table of attention responses.

    H heads, C channels, K the order; μ = 1 − λ is an eigenvalue of A.
    """

    response: str
    operator: str
    gain: str
    products: str
    parameters: str
    start: str
    source: str


class AttentionResponse(nn.Module):
    r"""Response of an attention, g(A) V in place of A V, with trainable parameters.

    A subclass registers itself in ``ATTENTION_RESPONSES``, and overrides :meth:`filtered`, which
    acts in each head, or :meth:`finished`, which acts on what the attention layer returns.

    Parameters
    ----------
    heads, channels : int
        H, and C of the layer's output.
    device, dtype
        Of the parameters.
    **options
        Those in ``defaults`` of the subclass; any other is an error.
    """

    row: ClassVar[AttentionRow]
    defaults: ClassVar[dict[str, Any]] = {}
    square: ClassVar[bool] = False  # whether queries and keys have to be the same nodes
    finishes: ClassVar[bool] = False  # whether it acts on the output of the layer
    masked: ClassVar[bool] = False  # whether it uses means over the keys in sight

    def __init__(
        self, heads: int, channels: int, *, device: Any = None, dtype: Any = None, **options: Any
    ) -> None:
        super().__init__()
        unknown = sorted(set(options) - set(self.defaults))
        if unknown:
            raise InputError(
                f"response {self.name!r} has no option {', '.join(map(repr, unknown))}; it takes "
                f"{', '.join(self.defaults) or 'none'}"
            )
        self.heads = whole_number("heads", heads, 1)
        self.channels = whole_number("channels", channels, 1)
        self.options = {**self.defaults, **options}
        self._factory = {"device": device, "dtype": dtype}
        self.make_parameters()
        del self._factory

    @property
    def name(self) -> str:
        """Its name in the registry."""
        return self.row.response

    @property
    def products(self) -> int:
        """Number of products with an N × N affinity."""
        return 1

    @property
    def trains_heads(self) -> bool:
        """True if it has parameters a head."""
        return not self.finishes and any(True for _ in self.parameters())

    def make_parameters(self) -> None:
        """Check the options, and make the parameters."""

    def parameter(self, *shape: int, value: float) -> nn.Parameter:
        """Return a new parameter, every entry ``value``."""
        return nn.Parameter(torch.full(shape, value, **self._factory))

    def forward(self, A: Affinity, V: Tensor) -> Tensor:
        """Return g(A) V of V (B, H, M, c)."""
        return self.attend(A, V)

    def attend(self, A: Affinity, V: Tensor) -> Tensor:
        """Return g(A) V of V (B, H, M, c), after checking that heads and nodes fit.

        Layers call it instead of the module, so that an audit finds their attention under their
        own names.
        """
        n, m = A.shape
        if self.square and n != m:
            raise InputError(
                f"response {self.name!r} uses I and powers of A, which exist for self-attention "
                f"only, and here {n} queries meet {m} keys; use 'nl', 'attnscale', 'featscale' or "
                "'contranorm' in cross-attention, and use_cache=False where keys are cached"
            )
        if self.trains_heads and V.shape[-3] != self.heads:
            raise InputError(
                f"response {self.name!r} was made for {self.heads} heads, and the attention has "
                f"{V.shape[-3]}; make it with heads={V.shape[-3]}"
            )
        return self.filtered(A, V)

    def filtered(self, A: Affinity, V: Tensor) -> Tensor:
        """Return g(A) V of V (B, H, M, c)."""
        return A.apply(V)

    def finished(self, Y: Tensor, mask: Mask) -> Tensor:
        """Return what the layer gives, of its output Y (B, N, C)."""
        return Y

    def core(self, index: int = 0) -> Response:
        """Return g(λ), λ = 1 − μ, of a head (or channel) with the present parameters."""
        raise NotImplementedError(f"response {self.name!r} does not say its g(λ): override core()")

    def extra_repr(self) -> str:
        shown = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"{self.name!r}, heads={self.heads}, channels={self.channels}{shown}"


def make_response(response: Any, heads: int, channels: int, **options: Any) -> AttentionResponse:
    """Make a registered response, or raise InputError for its name or an option."""
    return ATTENTION_RESPONSES[response](heads, channels, **options)
