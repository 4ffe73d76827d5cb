"""Blocks, forward + backward, against the dense formula of the authors' code and torch's SDPA.

``python benchmarks/nonlocal_blocks.py [dense] [memory] [attention] [chebyshev] [folding]``: the
parts wanted, by default all.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from functools import partial

import torch
from _measure import SEED, interleaved, report
from torch import Tensor, nn
from torch.nn import functional as F

from gspnl import nn as gnn

THREADS = 2
NAMED = [(32, 64, 32, 1024), (32, 16, 8, 1024), (1, 64, 32, 4096), (1, 64, 32, 16384)]
GRID = [
    (8, 1024, 512, 196),
    (8, 512, 256, 784),
    (8, 256, 128, 196),
    (8, 2048, 1024, 49),
    (32, 128, 64, 256),
    (32, 64, 32, 64),
    (128, 16, 8, 64),
    (1, 64, 32, 1024),
    (1, 256, 128, 1024),
]
FIXED = [(1, 8, 4, 16)]  # no work to speak of


class DenseSNL(nn.Module):
    """The authors' way: 1×1 convolutions, an N × N matrix, batched products, batch norm."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.t, self.p, self.g = (nn.Conv2d(channels, inner, 1, bias=False) for _ in range(3))
        self.w_1, self.w_2 = (nn.Conv2d(inner, channels, 1, bias=False) for _ in range(2))
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        t = F.relu(self.t(x)).flatten(2).transpose(1, 2)
        p = F.relu(self.p(x)).flatten(2)
        g = self.g(x)
        att = torch.bmm(t, p)
        att = (att + att.transpose(1, 2)) / 2
        att = att / att.sum(2, keepdim=True)
        z = torch.bmm(att, g.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(b, -1, h, w)
        return x + self.bn(self.w_1(g) + self.w_2(z))


class PlainAttention(nn.Module):
    """Softmax NL by torch's own attention, with the projections that the block has."""

    def __init__(self, block: gnn.Block) -> None:
        super().__init__()
        self.block = copy.deepcopy(block)

    def forward(self, x: Tensor) -> Tensor:
        affinity, stage = self.block.affinity, self.block.stages[0]
        y = x.flatten(2)
        points = torch.cat([affinity.phi.weight, affinity.psi.weight, stage.g.weight]) @ y
        q, k, v = (part.mT.contiguous()[:, None] for part in points.chunk(3, dim=1))
        z = F.scaled_dot_product_attention(q, k, v, scale=1.0)[:, 0]
        return x + stage.norm(stage.w.weight @ z.mT).reshape(x.shape)


def peer_of(block: gnn.Block, dense: DenseSNL) -> None:
    """Give the dense module the block's parameters, so that outputs can be compared."""
    stage = block.stages[0]
    pairs = [
        (dense.t, block.affinity.phi),
        (dense.p, block.affinity.psi),
        (dense.g, stage.g),
        (dense.w_1, stage.w_1),
        (dense.w_2, stage.w_2),
    ]
    with torch.no_grad():
        for conv, source in pairs:
            conv.weight.copy_(source.weight[..., None, None])
        dense.bn.weight.copy_(stage.norm.weight)


def square(n: int) -> tuple[int, int]:
    side = int(n**0.5)
    return side, n // side


def step(module: nn.Module, x: Tensor, seed: Tensor) -> Callable[[], Tensor]:
    """Forward and backward, with gradients of the input and of all parameters."""

    def run() -> Tensor:
        module.zero_grad()
        x.grad = None
        y = module(x)
        y.backward(seed)
        return y.detach()

    return run


def live(block: gnn.Block) -> gnn.Block:
    """A block that is no identity."""
    for name, parameter in block.named_parameters():
        if "norm" in name:
            nn.init.ones_(parameter) if name.endswith("weight") else nn.init.zeros_(parameter)
    return block


def peak(run: Callable[[], Tensor]) -> int:
    """Bytes of tensors that a run holds at once, beyond those it began with."""
    run()
    with torch.profiler.profile(profile_memory=True) as profiler:
        run()
    held = most = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def against_dense(shapes: list[tuple[int, int, int, int]], title: str) -> None:
    rows = []
    for batch, channels, inner, n in shapes:
        x = torch.randn(batch, channels, *square(n), requires_grad=True)
        seed = torch.randn(x.shape) / x.numel()
        block = live(gnn.create("snl", channels, inner=inner))
        dense = DenseSNL(channels, inner)
        peer_of(block, dense)
        runs = {"dense": step(dense, x, seed), "gspnl": step(block, x, seed)}
        for run in runs.values():
            run()
        rounds = 1 if n > 10_000 else 5 if batch * n * n > 1e7 else 21
        in_turn = 3 if batch * channels * n > 2e5 else 30  # the first steps of a loop are slow
        seconds, results = interleaved(rounds, in_turn, **runs)
        error = (results["dense"] - results["gspnl"]).abs().max() / results["dense"].abs().max()
        ratio = seconds["dense"] / seconds["gspnl"]
        text = f"{ratio:7.2f}   {seconds['gspnl'] * 1e3:9.2f} {seconds['dense'] * 1e3:9.1f}"
        rows.append((f"({batch}, {channels}, {inner}, {n})", f"{text}   {error:.0e}"))
    report(f"{title}: dense / gspnl, ms of each, difference ({THREADS} threads)", rows)


def memory() -> None:
    rows = []
    for batch, channels, inner, n in NAMED[2:3]:
        x = torch.randn(batch, channels, *square(n), requires_grad=True)
        seed = torch.randn(x.shape)
        block, dense = live(gnn.create("snl", channels, inner=inner)), DenseSNL(channels, inner)
        ours, theirs = (peak(step(module, x, seed)) for module in (block, dense))
        text = f"{theirs / ours:.1f}   {ours / 2**20:.1f} and {theirs / 2**20:.0f} MiB"
        rows.append((f"({batch}, {channels}, {inner}, {n})", text))
    report("Memory of forward + backward: dense / gspnl", rows)


def attention() -> None:
    rows = []
    for n in (1024, 4096, 16384):
        x = torch.randn(1, 64, *square(n), requires_grad=True)
        seed = torch.randn(x.shape) / x.numel()
        nl = live(gnn.create("nl", 64))
        joint = live(gnn.create("nl", 64, kernel="embedded_gaussian", normalization="random_walk"))
        runs = {
            "sdpa": step(PlainAttention(nl), x, seed),
            "nl": step(nl, x, seed),
            "joint": step(joint, x, seed),
        }
        bytes_ = {name: peak(run) for name, run in runs.items()}
        seconds, results = interleaved(2 if n > 10_000 else 9, 3, **runs)
        error = (results["sdpa"] - results["nl"]).abs().max()
        for name in ("nl", "joint"):
            rows.append(
                (
                    f"{name}, N = {n}",
                    f"{seconds[name] / seconds['sdpa']:.2f}   {seconds[name] * 1e3:.1f} against "
                    f"{seconds['sdpa'] * 1e3:.1f} ms, {bytes_[name] / 2**20:.1f} against "
                    f"{bytes_['sdpa'] / 2**20:.1f} MiB" + (f", {error:.0e}" * (name == "nl")),
                )
            )
    report("(1, 64, 32, N): block / SDPA with the same projections", rows)


def chebyshev() -> None:
    x = torch.randn(8, 64, 64, 64, requires_grad=True)
    seed = torch.randn(x.shape) / x.numel()
    blocks = {
        "snl": gnn.create("snl", 64, inner=32),
        "order 2": gnn.create("chebyshev", 64, inner=32, order=2),
        "order 8": gnn.create("chebyshev", 64, inner=32, order=8),
        "spectral": gnn.create("spectral", 64, inner=32),
    }
    runs = {name.replace(" ", "_"): step(live(b), x, seed) for name, b in blocks.items()}
    for run in runs.values():
        run()
    seconds, _ = interleaved(7, 3, **runs)
    rows = [(k, f"{v / seconds['snl']:.2f}   {v * 1e3:.1f} ms") for k, v in seconds.items()]
    report("(8, 64, 32, 4096): block / SNL", rows)


def folding() -> None:
    rows = []
    for name in ("gsnl", "snl", "linear"):
        layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1)]
        for _ in range(10):
            layers += [nn.Conv2d(64, 64, 1), nn.ReLU(), gnn.create(name, 64, zero_init=False)]
        net = nn.Sequential(*layers)
        with torch.no_grad():
            net(torch.randn(16, 3, 32, 32))  # running statistics
        net.eval()
        folded = gnn.fold(net)
        x = torch.randn(8, 3, 32, 32)
        with torch.inference_mode():
            seconds, results = interleaved(15, 3, net=partial(net, x), folded=partial(folded, x))
        error = (results["net"] - results["folded"]).abs().max() / results["net"].abs().max()
        ratio = seconds["net"] / seconds["folded"]
        rows.append((f"ten {name}", f"{ratio:.2f}   {seconds['folded'] * 1e3:.1f} ms, {error:.0e}"))
    report("Inference of a conv net with ten blocks, (8, 64, 32, 1024): net / folded", rows)


def main() -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)
    wanted = sys.argv[1:] or ["dense", "memory", "attention", "chebyshev", "folding"]
    if "dense" in wanted:
        against_dense(NAMED, "SNL (B, C, Cs, N)")
        against_dense(GRID, "SNL where dense is near")
        against_dense(FIXED, "The fixed cost of a step")
    parts = {"memory": memory, "attention": attention, "chebyshev": chebyshev, "folding": folding}
    for name, part in parts.items():
        if name in wanted:
            part()


if __name__ == "__main__":
    main()
