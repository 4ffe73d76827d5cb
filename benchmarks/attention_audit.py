"""Audit a layer of 8 heads on 4,096 tokens: seconds, and memory at its peak.

Queries and keys are correlated, so that the heads are neither uniform nor local. The memory is that
of a process of its own, torch and gspnl included; an N × N array of one head is 128 MiB in float64.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

TOKENS, HEADS, WIDTH = 4096, 8, 512


def network(sharpness: float):
    """Return a layer of fused attention whose scores have about this standard deviation."""
    import torch
    from torch import nn

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.self_attn = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

        def forward(self, x, mask=None):
            causal = mask is not None
            return self.self_attn(x, x, x, need_weights=False, attn_mask=mask, is_causal=causal)[0]

    torch.manual_seed(0)
    layer = Layer().eval()
    query, key, _ = layer.self_attn.in_proj_weight.data.chunk(3)
    query.copy_(torch.randn(WIDTH, WIDTH) / WIDTH**0.5)
    key.copy_(0.7 * query + 0.7 * torch.randn(WIDTH, WIDTH) / WIDTH**0.5)
    query.mul_(sharpness)
    return layer


def measure(sharpness: float, causal: bool) -> dict[str, float]:
    """Audit the layer in this process."""
    import torch

    from gspnl import nn as gnn

    layer = network(sharpness)
    x = torch.randn(1, TOKENS, WIDTH)
    batch = (x, torch.nn.Transformer.generate_square_subsequent_mask(TOKENS)) if causal else x
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    audit = gnn.audit(layer, batch)
    seconds = time.perf_counter() - start
    head = audit.attention[0]
    return {
        "seconds": seconds,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "before_gib": before / 2**20,
        "entropy": head.entropy,
        "gap": head.gap,
        "notes": [f"{name}: {why}" for name, why in head.reasons.items()],
    }


def main() -> None:
    """Print a line for each layer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(float(options.one[0]), options.one[1] == "causal")))
        return
    for sharpness, mask in ((1.0, "full"), (3.0, "full"), (3.0, "causal")):
        command = [sys.executable, __file__, "--one", str(sharpness), mask]
        found = json.loads(
            subprocess.run(command, capture_output=True, check=True, text=True).stdout
        )
        print(
            f"{TOKENS:,} tokens, {HEADS} heads, {mask}, sharpness {sharpness:g}: "
            f"{found['seconds']:.1f} s, {found['peak_gib']:.2f} GiB at the peak "
            f"({found['before_gib']:.2f} before); head 0: entropy {found['entropy']:.2f}, gap "
            f"{found['gap']:.3f}"
        )
        for note in found["notes"]:
            print("  ", note)


if __name__ == "__main__":
    main()
