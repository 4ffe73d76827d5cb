"""Compare a block sharded over two processes with the block on one process."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.utils import prune

from gspnl import nn as gnn
from gspnl.errors import InputError

WORLD = 2
EXPONENTIAL = {"kernel": "embedded_gaussian", "normalization": "random_walk"}
CASES = {
    "snl": ("snl", {"bias": True}),
    "snl, symmetric": ("snl", {"normalization": "symmetric", "units": 2}),
    "snl, cosine": ("snl", {"kernel": "cosine"}),
    "snl, softplus, group": ("snl", {"feature_map": "softplus", "norm": "group"}),
    "snl, isolated zero": ("snl", {"isolated": "zero", "norm": "layer"}),
    "snl, rows by softmax": ("snl", {"normalization": "softmax"}),
    "snl, joint exponential": ("snl", EXPONENTIAL),
    "snl, rbf": ("snl", {"kernel": "rbf", "normalization": "softmax"}),
    "gsnl, gate": ("gsnl", {"activation": "relu"}),
    "nl": ("nl", {"norm": "none"}),
    "nl, mean": (
        "nl",
        {"kernel": "dot", "feature_map": "identity", "normalization": "mean", "norm": "layer"},
    ),
    "nl, none": (
        "nl",
        {"kernel": "dot", "feature_map": "identity", "normalization": "none", "norm": "batch"},
    ),
    "ns": ("ns", {"units": 3}),
    "ns, gaussian": ("ns", {"kernel": "gaussian"}),
    "chebyshev": ("chebyshev", {"order": 5}),
    "chebyshev, attention": ("chebyshev", {"order": 3, **EXPONENTIAL}),
    "spectral": ("spectral", {"order": 2}),
    "cgnl": ("cgnl", {"groups": 2, "norm": "group"}),
    "cgnl, rbf": ("cgnl", {"kernel": "rbf"}),
    "a2": ("a2", {}),
    "linear": ("linear", {}),
}
SPATIAL = [(7, 3), (9,), (5, 2, 2)]
PARTS = {7: 5, 9: 2, 5: 3}  # size of the first dimension → positions of process 0


def make(name, options):
    block = gnn.create(name, 8, **{"inner": 4, "zero_init": False, **options}).double()
    with torch.no_grad():
        for key, parameter in block.named_parameters():
            if key.endswith("gate"):
                parameter.uniform_(0.5, 1.5)
    return block


def part(x, rank):
    cut = PARTS[x.shape[2]]
    return x[:, :, :cut] if rank == 0 else x[:, :, cut:]


def apart(value, truth):
    return float((value - truth).abs().max() / truth.abs().max().clamp(min=1e-3))


def flat(tensors):
    """Concatenate: some gradients before a norm are rounding alone, and have no scale."""
    return torch.cat([t.flatten() for t in tensors])


def compared(block, spatial, rank):
    """Largest differences of values, gradients and statistics."""
    x = torch.randn(2, 8, *spatial, dtype=torch.float64)
    x[:, :, 0] = -3 * x[:, :, 0].abs()  # where relu leaves little
    weight = torch.randn_like(x)
    sharded = gnn.parallel.shard(block)
    buffers = {k: v.clone() for k, v in block.named_buffers()}
    mine = part(x, rank).clone().requires_grad_()
    out = sharded(mine)
    (out * part(weight, rank)).sum().backward()
    gradients = [p.grad for p in block.parameters()]
    seen = {k: v.clone() for k, v in block.named_buffers()}

    block.zero_grad(set_to_none=True)
    for key, buffer in block.named_buffers():
        buffer.copy_(buffers[key])
    whole = x.clone().requires_grad_()
    truth = block(whole)
    (truth * weight).sum().backward()
    found = {
        "values": apart(out, part(truth, rank)),
        "features": apart(mine.grad, part(whole.grad, rank)),
        "parameters": apart(flat(gradients), flat(p.grad for p in block.parameters())),
    }
    kept = [apart(seen[k].double(), v.double()) for k, v in block.named_buffers()]
    found["statistics"] = max(kept, default=0.0)
    with torch.no_grad():
        found["evaluated"] = apart(sharded.eval()(mine), part(block.eval()(x), rank))
    return found


def training(rank):
    """Distance of the parameters after three steps of gradient descent."""
    torch.manual_seed(0)
    one, two = make("snl", {}), make("snl", {})
    two.load_state_dict(one.state_dict())
    sharded = gnn.parallel.shard(two)
    x = torch.randn(2, 8, 7, 3, dtype=torch.float64)
    descents = [torch.optim.SGD(m.parameters(), 0.1, momentum=0.9) for m in (one, sharded)]
    for _ in range(3):
        for module, descent, given in (
            (one, descents[0], x),
            (sharded, descents[1], part(x, rank)),
        ):
            descent.zero_grad()
            ((module(given) - given.flip(1)) ** 2).sum().div(x.numel()).backward()
            descent.step()
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return {"weights": max(apart(b.double(), a.double()) for a, b in pairs)}


def mismatches(rank):
    """Error messages of mismatched parts; every process gets one."""
    sharded = gnn.parallel.shard(make("snl", {}))
    messages = {}
    for name, shapes in {
        "other": ((2, 8, 3, 4), (2, 8, 3, 5)),
        "empty": ((2, 8, 3, 4), (2, 8, 0, 4)),
        "batch": ((2, 8, 3, 4), (1, 8, 3, 4)),
        "rank": ((2, 8, 3, 4), (2, 8, 3)),
        "flat": ((2, 8), (2, 8)),
    }.items():
        try:
            sharded(torch.zeros(shapes[rank], dtype=torch.float64))
            messages[name] = ""
        except InputError as error:
            messages[name] = str(error)
    return messages


def changed_weight(block):
    with torch.no_grad():
        block.stages[0].w_2.weight[0, 0] += 1e-3


DIFFERENT = {  # of process 1 → part of the message
    "kernel": ({"kernel": "cosine"}, None, "kernel differs between the processes: 'dot', 'cosine'"),
    "inner": ({"inner": 3}, None, "inner differs between the processes: 4, 3"),
    "units": ({"units": 2}, None, "units differs between the processes: 1, 2"),
    "norm": ({"norm": "group"}, None, "norm differs between the processes: 'batch', 'group'"),
    "isolated": ({"isolated": "zero"}, None, "isolated differs"),
    "dtype": ({}, lambda b: b.float(), "torch.float64, torch.float32"),
    "features": ({}, None, "the dtype of the features differs"),
    "mode": ({}, lambda b: b.eval(), "the mode (training) differs"),
    "frozen": ({}, lambda b: b.affinity.requires_grad_(False), "requires_grad of 'affinity.phi"),
    "weights": ({}, changed_weight, "the checksum of 'stages.0.w_2.weight' differs"),
}


def differences(rank):
    """Error messages of blocks that differ; every process gets one."""
    messages = {}
    for name, (options, change, _) in DIFFERENT.items():
        torch.manual_seed(0)
        block = make("snl", options if rank else {})
        if rank and change:
            change(block)
        x = torch.randn(2, 8, 3, 4, dtype=torch.float64)
        try:
            dtype = torch.float32 if rank and name in ("features", "dtype") else x.dtype
            gnn.parallel.shard(block)(x.to(dtype)).sum().backward()
            messages[name] = ""
        except InputError as error:
            messages[name] = str(error)
    return messages


def pruned(rank):
    """Differences of a pruned block, sharded, from itself on one process."""
    torch.manual_seed(0)
    block = make("snl", {"norm": "none"})
    for layer in (block.affinity.phi, block.stages[0].g, block.stages[0].w_2):
        prune.l1_unstructured(layer, "weight", 0.5)
    x = torch.randn(2, 8, 7, 3, dtype=torch.float64)
    truth = block(x)
    truth.square().sum().backward()
    right = flat(p.grad for p in block.parameters())
    block.zero_grad(set_to_none=True)
    sharded = gnn.parallel.shard(block)
    for _ in range(2):
        block.zero_grad(set_to_none=True)
        out = sharded(part(x, rank))
        out.square().sum().backward()
    own = flat(p.grad for p in block.parameters())
    return {"values": apart(out, part(truth, rank)), "parameters": apart(own, right)}


def left_alone(rank, folder):
    """Process 1 ends, forward or backward; process 0 writes the error that it gets."""
    torch.set_num_threads(1)
    found = []
    for i, forward in enumerate((True, False)):
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/store{i}", rank=rank, world_size=WORLD,
            timeout=timedelta(seconds=5),
        )  # fmt: skip
        torch.manual_seed(0)
        sharded = gnn.parallel.shard(make("snl", {}))
        x = torch.randn(2, 8, 3, 4, dtype=torch.float64)
        out = sharded(x)
        if rank == 0:
            try:
                sharded(x) if forward else out.sum().backward()
            except Exception as error:
                found.append([type(error).__name__, str(error)])
            (Path(folder) / f"{i}.done").touch()
        else:
            while not (Path(folder) / f"{i}.done").exists():  # does not answer
                time.sleep(0.1)
        dist.destroy_process_group()
    if rank == 0:
        (Path(folder) / "alone.json").write_text(json.dumps(found))


def work(rank, folder):
    """Write the largest relative differences of each case to a file, for one process."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD
    )
    found = {}
    for i, (case, (name, options)) in enumerate(CASES.items()):
        torch.manual_seed(i)
        found[case] = compared(make(name, options), SPATIAL[i % len(SPATIAL)], rank)
    found["training"] = training(rank)
    found["mismatches"] = mismatches(rank)
    found["differences"] = differences(rank)
    found["pruned"] = pruned(rank)
    (Path(folder) / f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()
