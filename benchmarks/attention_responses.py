"""Responses of attention against one fused product, forward and with the backward pass.

``python benchmarks/attention_responses.py [--tokens 1024 2048 4096] [--rounds 7] [--batch 4]
[--threads 2]``.
Each response runs in turn with torch's ``scaled_dot_product_attention`` on the same queries, keys
and values; the ratio of the medians comes first. A response of m products should take at most
m + 0.3. The softmax of contranorm has the width of all heads: its ratio is that of its second
product to one fused product of that shape.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from _measure import SEED, interleaved, report
from torch import Tensor

from gspnl.nn.attention_responses import ATTENTION_RESPONSES, Fused, Mask, make_response

ALLOWED = 0.3  # beyond the number of products


def timed(function: Callable[..., Tensor], leaves: tuple[Tensor, ...], backward: bool):
    """Return a run of a function of leaves, with their gradients where asked."""
    if not backward:

        def forward() -> None:
            with torch.no_grad():
                function(*leaves)

        return forward
    leaves = tuple(leaf.detach().requires_grad_() for leaf in leaves)
    grad = torch.ones_like(function(*leaves))

    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        function(*leaves).backward(grad)

    return run


def cases(name: str, batch: int, heads: int, tokens: int, width: int):
    """Yield (products, response, its leaves, fused product, its leaves)."""
    response = make_response(name, heads, heads * width)
    q, k, v = torch.randn(3, batch, heads, tokens, width)
    if name == "contranorm":
        Y = torch.randn(batch, tokens, heads * width)
        yield (
            1,
            lambda Y: response.finished(Y, Mask()),
            (Y,),
            lambda Y: F.scaled_dot_product_attention(*[Y[:, None]] * 3, scale=1.0),
            (Y,),
        )
        return

    def whole(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = response(Fused(q, k), v)
        if response.finishes:
            out = response.finished(out.transpose(1, 2).flatten(2), Mask())
        return out

    def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = F.scaled_dot_product_attention(q, k, v)
        return out.transpose(1, 2).flatten(2) if response.finishes else out

    yield response.products, whole, (q, k, v), plain, (q, k, v)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[1024, 2048, 4096])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(SEED)
    for tokens in given.tokens:
        rows = []
        for name in ATTENTION_RESPONSES:
            shape = (given.batch, given.heads, tokens, given.width)
            for products, run, leaves, reference, theirs in cases(name, *shape):
                for backward in (False, True):
                    runs = {
                        "response": timed(run, leaves, backward),
                        "fused": timed(reference, theirs, backward),
                    }
                    for each in runs.values():
                        each()
                    seconds, _ = interleaved(given.rounds, **runs)
                    ratio = seconds["response"] / seconds["fused"]
                    limit = products + ALLOWED
                    rows.append(
                        (
                            f"{name}, {'forward and backward' if backward else 'forward'}",
                            f"{ratio:.2f} of one product ({'≤' if ratio <= limit else 'ABOVE'} "
                            f"{limit:.1f}); {seconds['response'] * 1e3:.0f} ms against "
                            f"{seconds['fused'] * 1e3:.0f} ms",
                        )
                    )
        report(
            f"responses of attention: batch {given.batch}, {given.heads} heads, {tokens} tokens, "
            f"width {given.width}, {given.threads} threads, torch {torch.__version__}",
            rows,
        )


if __name__ == "__main__":
    main()
