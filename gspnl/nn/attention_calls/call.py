"""Record of one attention that a network computed."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, eq=False)
class AttentionCall:
    r"""One attention of a network on a batch: queries, keys and values, or its weights.

    :math:`A = \mathrm{softmax}(s\,q k^T + \mathrm{mask})`, or ``weights`` where the network
    computed them itself. Tensors are detached, in the dtype and on the device of the network.

    Attributes
    ----------
    layer : str
        Qualified name of the module that computed it; "" for the network itself.
    source : str
        What was seen: "scaled_dot_product_attention", "multi_head_attention_forward",
        "encoder fast path", "softmax", "given", …
    q : Tensor of shape (B, H, N, r), or None
        B counts windows too, where the network folds them into the batch.
    k, v : Tensor of shape (B, G, M, r) and (B, G, M, c), or None
        G divides H: query heads h·G/H … share a key head (grouped-query attention).
    weights : Tensor of shape (B, H, N, M), or None
        Given where q and k are None.
    mask : Tensor, or None
        Broadcasts to (B, H, N, M): bool, True where a key takes part, or floating, added to scores.
    causal : bool
        Whether query i sees keys j ≤ i only, in addition to the mask.
    scale : float
        s.
    call : int
        Number of this attention among those of the same layer in one forward pass.
    cross : bool
        Whether keys come from other nodes than queries.
    inputs : Tensor of shape (B, N, C), or None
        Features that reached the layer, where they are tokens.
    value_weight, output_weight : Tensor of shape (H, C, c) and (H, c, C), or None
        The head's W_V and W_O, so that it writes A X W_V W_O; where they could be found.
    notes : tuple of str
        Remarks for the user.
    """

    layer: str
    source: str
    q: Tensor | None
    k: Tensor | None
    v: Tensor | None
    weights: Tensor | None = None
    mask: Tensor | None = None
    causal: bool = False
    scale: float = 1.0
    call: int = 0
    cross: bool = False
    inputs: Tensor | None = None
    value_weight: Tensor | None = None
    output_weight: Tensor | None = None
    notes: tuple[str, ...] = field(default=())
