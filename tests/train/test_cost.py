"""Operations of networks against counts by hand from shapes."""

from __future__ import annotations

import re

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from gspnl import nn as gnn
from gspnl.errors import InputError
from gspnl.nn.attention.softmax import softmax_attention
from gspnl.nn.attention.symmetric import joint_attention
from gspnl.train.cost import MISSED, flops

# A feature map of N positions and C channels, of signals of width S and embeddings of width R.
H, W, C, S, R = 5, 7, 16, 8, 4
N = H * W
IMAGE = torch.rand(C, H, W, generator=torch.Generator().manual_seed(0))


def make(name, channels=C, **options):
    """A block that leaves no position isolated: those have a product of their own."""
    block = gnn.create(name, channels, inner=S, **options)
    with torch.no_grad():
        for key, value in block.affinity.named_parameters():
            if key.endswith("weight"):
                value.abs_()
    return block


def product(n, k, m):
    """Operations of (n × k) times (k × m)."""
    return 2 * n * k * m


def embeddings(width):
    return product(N, C, 2 * width)


def attention(width, keys=N):
    """Scores and sums, at the one width that the kernel of torch takes."""
    return product(N, width, keys) + product(N, keys, width)


INWARD, OUTWARD = product(N, C, S), product(N, S, C)
# SNL on A = P Qᵀ of 2R columns, symmetrised: degrees, QᵀZ, its map, and the way back.
TALL = 2 * R
DEGREES = product(N, TALL, 1)
HEADS, MAPPED, BACK = product(TALL, N, S), product(TALL, S, C), product(N, TALL, C)
LOWRANK = embeddings(R) + INWARD + DEGREES + HEADS + BACK
GRAM = product(TALL, N, TALL)
LINES = [(H, N), (W, N)]  # each position, with the positions of its column, and of its row

TIMES, NODES = 2, 56  # diffusion times, and coefficients of each response
RESPONSES = product(TIMES, NODES, NODES) + 2 * product(TIMES, NODES, 1)  # heat, at λ = 0 and 1
STEPS = (NODES - 2) * product(TALL, TALL, S)  # R_k QᵀZ from k = 2 on
MIXED = (
    product(TIMES, NODES - 1, TALL * S) + product(TALL, TIMES * S, C) + 2 * product(1, TIMES, C * S)
)

COUNTS = {
    "linear": ({}, INWARD + OUTWARD),
    "nl": ({"embedding": R}, embeddings(R) + INWARD + attention(S) + OUTWARD),
    "ns": ({"embedding": R}, embeddings(R) + INWARD + attention(S) + 2 * OUTWARD),
    "snl": ({"embedding": R}, LOWRANK + MAPPED + OUTWARD),
    "gsnl": ({"embedding": R}, LOWRANK + MAPPED + OUTWARD),
    "chebyshev": (
        {"embedding": R, "order": 3},
        LOWRANK + GRAM + 2 * product(TALL, TALL, S) + 3 * MAPPED + OUTWARD,
    ),
    "spectral": (
        {"embedding": R, "order": TIMES},
        LOWRANK + GRAM + RESPONSES + STEPS + MIXED + OUTWARD,
    ),
    "cgnl": ({}, embeddings(S) + INWARD + 2 * product(1, N * S, 1) + OUTWARD),
    "a2": ({"embedding": R}, embeddings(R) + INWARD + product(R, N, S) + product(R, S, C)
           + product(N, R, C)),
    "cc": (
        {"embedding": R},
        embeddings(R) + INWARD + OUTWARD
        + sum(product(n, R, length) + product(n, length, S) for length, n in LINES),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(gnn.BLOCKS))
def test_products_of_each_block(name):
    options, expected = COUNTS[name]
    assert flops(make(name, **options), IMAGE) == expected


KERNELS = {
    "random walk": (  # symmetrised: a pass of E and one of its transpose
        {"kernel": "embedded_gaussian", "normalization": "random_walk"},
        embeddings(R) + 2 * attention(S),
    ),
    "symmetric": (  # degrees first, then points of two more coordinates
        {"kernel": "embedded_gaussian", "normalization": "symmetric"},
        embeddings(R) + 2 * attention(R) + 2 * attention(S),
    ),
    "rbf": ({"kernel": "gaussian", "normalization": "random_walk"}, attention(C)),
    "sub-sampled": (
        {"kernel": "embedded_gaussian", "normalization": "softmax", "sub_sample": 2},
        embeddings(R) + attention(S, (H // 2) * (W // 2)),
    ),
    "dense": (
        {"kernel": "dot", "normalization": "random_walk", "storage": "dense"},
        embeddings(R) + product(N, R, N) + product(N, N, S),
    ),
}


@pytest.mark.parametrize("case", KERNELS)
def test_products_of_kernels(case):
    options, expected = KERNELS[case]
    if options["kernel"] != "gaussian":
        options = {"embedding": R, **options}
    assert flops(make("nl", **options), IMAGE) == INWARD + expected + OUTWARD


def test_a_sorted_graph_has_no_products():
    """N log N comparisons and sums along the order: only the maps multiply matrices."""
    image = torch.ones(C, 48, 48)
    block = make("nl", kernel="concatenation", normalization="random_walk")
    assert flops(block, image) == 48 * 48 * (product(1, C, 2) + product(1, C, S) + product(1, S, C))


def test_wide_maps_are_convolutions_that_count_the_same():
    assert flops(make("linear", 160), torch.ones(160, H, W)) == 2 * product(N, 160, S)


def test_counting_leaves_the_network_as_it_was():
    block = gnn.create("snl", C).train()
    before = {name: value.clone() for name, value in block.state_dict().items()}
    flops(block, IMAGE)
    assert block.training
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())


@pytest.mark.parametrize("symmetrised", [False, True])
def test_attention_backward(symmetrised):
    """Scores again, then the gradients of values, weights, queries and keys: five products."""
    keys, values = 9, 6
    if symmetrised:
        keys, run, passes = N, joint_attention, 2
    else:
        run, passes = softmax_attention, 1
    q, k, v = (
        torch.randn(3, n, w, requires_grad=True) for n, w in ((N, R), (keys, R), (keys, values))
    )
    with FlopCounterMode(display=False, custom_mapping=MISSED) as counter:
        run(q, k, v).sum().backward()
    assert counter.get_total_flops() == 3 * passes * (2 + 5) * product(N, values, keys)


class Seen(TorchDispatchMode):
    """The operations of a program, and what their products cost; no module is hooked."""

    def __init__(self):
        super().__init__()
        self.packets, self.total = set(), 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        packet, out = func._overloadpacket, func(*args, **(kwargs or {}))
        self.packets.add(packet)
        if packet in MISSED:
            self.total += MISSED[packet](*(getattr(each, "shape", each) for each in args))
        elif packet in flop_registry:
            self.total += flop_registry[packet](*args, **(kwargs or {}), out_val=out)
        return out


@pytest.mark.parametrize("name", ["snl", "gsnl", "chebyshev", "spectral"])
def test_the_fast_path_multiplies_as_much_as_is_counted(name):
    """torch's counter hooks all modules, which turns the fast path off."""
    options, expected = COUNTS[name]
    block = make(name, **options).eval()
    with torch.no_grad(), Seen() as seen:
        block(IMAGE[None])
    assert torch.ops.aten.baddbmm_ in seen.packets, "the step is taken"
    assert seen.total == expected


PRODUCT = re.compile(r"mm|mv|dot|matmul|linear|attention|conv|cdist|einsum|addr|outer|ger\b|kron")
WAYS = [
    {"kernel": kernel, "normalization": normalization}
    for kernel in ("dot", "cosine", "gaussian", "embedded_gaussian", "rbf", "concatenation")
    for normalization in ("random_walk", "symmetric", "softmax", "mean", "none")
]


@pytest.mark.parametrize("name", sorted(gnn.BLOCKS))
def test_every_product_is_counted(name):
    found = set()
    for options in WAYS if "kernel" in gnn.BLOCKS[name].defaults and name != "cgnl" else [{}]:
        for channels in (C, 160):
            try:
                block = gnn.create(name, channels, **options).eval()
            except InputError:
                continue
            with torch.no_grad(), Seen() as seen:
                block(torch.rand(1, channels, H, W))
            found |= seen.packets
    known = {*flop_registry, *MISSED}
    products = {packet for packet in found if PRODUCT.search(str(packet))}
    assert products, "some are there"
    assert products <= known
