"""Training steps of PreResNet-20 with a block in stage 1, against those of the backbone alone.

``python benchmarks/training_steps.py [--rounds 7] [--dense-rounds 3] [--batch 128]
[--channels-last] [--bfloat16]``. Beside each block is the dense formula of the authors' code, with
N × N matrices, where it has one (``--dense-rounds 0`` leaves it out: a step takes seconds); and,
for SNL, the same low-rank products written plainly.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from _measure import interleaved, report
from torch import Tensor, nn
from torch.nn import functional as F

from gspnl import nn as gnn
from gspnl.train import backbones

THREADS = 2
CLASSES, SIZE = 10, 32  # of CIFAR-10; N = 1024 in stage 1
DOT = {"kernel": "dot", "normalization": "softmax"}  # as in the paper's tables: rows sum to 1
BLOCKS: dict[str, tuple[str, dict[str, object]]] = {
    "linear": ("linear", {}),
    "nl": ("nl", DOT),
    "nl, softmax": ("nl", {}),
    "ns": ("ns", DOT),
    "snl": ("snl", {}),
    "gsnl": ("gsnl", {}),
    "chebyshev, order 4": ("chebyshev", {"order": 4}),
    "spectral": ("spectral", {}),
    "cgnl": ("cgnl", {}),
    "a2": ("a2", {}),
    "cc": ("cc", {}),
}
# What each output map is applied to, as shares of I, A, T_2(A), T_3(A), …
SHARES: dict[str, tuple[tuple[int, ...], ...]] = {
    "nl": ((0, 1),),
    "nl, softmax": ((0, 1),),
    "ns": ((-1, 1),),
    "snl": ((1,), (0, 1)),
    "gsnl": ((1,), (0, 1), (-1, 2)),
    "chebyshev, order 4": ((1,), (0, 1), (0, 0, 1), (0, 0, 0, 1), (0, 0, 0, 0, 1)),
}
SYMMETRIZED = ("snl", "gsnl", "chebyshev, order 4")


def conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, bias=False)


class Frame(nn.Module):
    """What the authors' code has in every block: 1×1 convolutions, a batch norm, the sum."""

    def __init__(self, channels: int, inner: int, maps: int) -> None:
        super().__init__()
        self.t, self.p, self.g = (conv(channels, inner) for _ in range(3))
        self.w = nn.ModuleList(conv(inner, channels) for _ in range(maps))
        self.bn = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.bn.weight)

    def signals(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """φ (B, N, r), ψ (B, r, N) and Z (B, N, Cs)."""
        return self.t(x).flatten(2).mT, self.p(x).flatten(2), self.g(x).flatten(2).mT

    def close(self, x: Tensor, terms: list[Tensor]) -> Tensor:
        maps = [term.mT.reshape(x.shape[0], -1, *x.shape[2:]) for term in terms]
        out = sum(w(term) for w, term in zip(self.w, maps, strict=True))
        return x + self.bn(out)


class Dense(Frame):
    """An N × N affinity, and batched products with it."""

    def __init__(self, name: str, channels: int, inner: int) -> None:
        super().__init__(channels, inner, len(SHARES[name]))
        self.shares, self.exponential = SHARES[name], name == "nl, softmax"
        self.symmetrized = name in SYMMETRIZED

    def forward(self, x: Tensor) -> Tensor:
        t, p, z = self.signals(x)
        if self.exponential:
            a = torch.softmax(torch.bmm(t, p), dim=2)
        else:
            a = torch.bmm(F.relu(t), F.relu(p))
            if self.symmetrized:
                a = (a + a.mT) / 2
            a = a / a.sum(2, keepdim=True).clamp_min(1e-6)  # a row of zeros would be NaN
        series = [z, torch.bmm(a, z)]
        for _ in range(2, max(map(len, self.shares))):
            if len(self.shares) > 3:
                series.append(2 * torch.bmm(a, series[-1]) - series[-2])
        terms = [
            sum(c * term for c, term in zip(share, series, strict=False) if c)
            for share in self.shares
        ]
        return self.close(x, terms)


class Plain(Frame):
    """SNL by low-rank products, ½ D⁻¹(Φ(ΨᵀZ) + Ψ(ΦᵀZ)), as one would write it at once."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__(channels, inner, 2)

    def forward(self, x: Tensor) -> Tensor:
        t, p, z = self.signals(x)
        t, p = F.relu(t), F.relu(p).mT
        ones = torch.ones_like(z[..., :1])
        z1 = torch.cat([z, ones], dim=2)
        m = t @ (p.mT @ z1) + p @ (t.mT @ z1)
        return self.close(x, [z, m[..., :-1] / m[..., -1:].clamp_min(1e-6)])


def network(block: str | nn.Module | None, **options: object) -> nn.Module:
    """PreResNet-20, with a block of a name or a module after the place."""
    torch.manual_seed(0)
    net = backbones.create("preresnet20", classes=CLASSES)
    if isinstance(block, str):
        backbones.place(net, block, **options)
    elif block is not None:
        net.layer1[1] = nn.Sequential(net.layer1[1], block)  # where the place is
    return net


def step(net: nn.Module, images: Tensor, labels: Tensor, mixed: bool) -> Callable[[], None]:
    """Forward, in bfloat16 or not, backward, and an update by the paper's optimiser."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)

    def run() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            scores = net(images)
        F.cross_entropy(scores.float(), labels).backward()
        optimizer.step()

    return run


def agreement() -> float:
    """Largest relative difference of the outputs of Dense and Plain to those of gspnl's blocks."""
    worst = 0.0
    x = torch.randn(2, 16, SIZE, SIZE).double()
    for name in SHARES:
        block, options = BLOCKS[name]
        alone = {} if name == "nl, softmax" else {"isolated": "zero"}  # as the peers have it
        made = gnn.create(block, 16, inner=8, **options, **alone).double()
        peers = [Dense(name, 16, 8), *([Plain(16, 8)] if name == "snl" else [])]
        stage = made.stages[0]
        nn.init.ones_(stage.norm.weight)
        for peer in map(nn.Module.double, peers):
            nn.init.ones_(peer.bn.weight)
            weights = [made.affinity.phi.weight, made.affinity.psi.weight, stage.g.weight]
            weights += [p for key, p in stage.named_parameters() if key.startswith("w")]
            convs = [peer.t, peer.p, peer.g, *peer.w]
            with torch.no_grad():
                for each, weight in zip(convs, weights, strict=True):
                    each.weight.copy_(weight[..., None, None] * _sign(block, each, peer))
                difference = (peer(x) - made(x)).abs().max() / (made(x) - x).abs().max()
            worst = max(worst, float(difference))
    return worst


def _sign(block: str, each: nn.Module, peer: Frame) -> int:
    """The series of the block is in T_k(−A), that of the peer in T_k(A)."""
    odd = block == "chebyshev" and any(each is w for w in list(peer.w)[1::2])
    return -1 if odd else 1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dense-rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--bfloat16", action="store_true", help="autocast")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    images = torch.randn(options.batch, 3, SIZE, SIZE).to(memory_format=layout)
    labels = torch.randint(CLASSES, (options.batch,))
    print(f"dense and plain against gspnl: {agreement():.0e} of F, float64")

    def measured(rounds: int, nets: dict[str, nn.Module]) -> dict[str, float]:
        runs = {
            name: step(net.to(memory_format=layout), images, labels, options.bfloat16)
            for name, net in nets.items()
        }
        for run in runs.values():
            run()
        return interleaved(rounds, **runs)[0]

    nets = {name: network(block, **own) for name, (block, own) in BLOCKS.items()}
    ours = measured(
        options.rounds,
        {"backbone": network(None), **nets, "snl, written plainly": network(Plain(16, 8))},
    )
    peers = {n: network(Dense(n, 16, 8)) for n in SHARES} if options.dense_rounds else {}
    dense = measured(options.dense_rounds, {"backbone": network(None), **peers}) if peers else {}
    rows = []
    for name, seconds in ours.items():
        text = f"{seconds / ours['backbone']:.2f}   {seconds * 1e3:6.0f} ms"
        if name in dense and name in SHARES:
            text += f"   dense {dense[name] / dense['backbone']:5.1f}   {dense[name] * 1e3:6.0f} ms"
        rows.append((name, text))
    kind = "channels_last" if options.channels_last else "default memory format"
    kind = f"autocast to bfloat16, {kind}" if options.bfloat16 else kind
    threads = f"{THREADS} threads, torch {torch.__version__}"
    report(
        f"PreResNet-20, block in stage 1 (N = {SIZE * SIZE}, C = 16, Cs = 8), batch "
        f"{options.batch}: step / backbone's ({threads}, {kind})",
        rows,
    )


if __name__ == "__main__":
    main()
