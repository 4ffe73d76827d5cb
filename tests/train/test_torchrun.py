"""Batch norms over processes, and a run under torchrun."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from support import train_tiny
from support.paths import ROOT
from torch import nn

from gspnl.nn.parallel.batch_norm import SYNCHRONISED, synchronise
from gspnl.train import Recipe
from gspnl.train.recipes import write

pytestmark = pytest.mark.slow


def environment(**more):
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **more}


def launch(recipe, out, *words, world=2, **more):
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    arguments = ["train", str(recipe), "--out", str(out), "--device", "cpu", *words]
    return subprocess.Popen(
        [*run, f"--nproc-per-node={world}", train_tiny.__file__, *arguments],
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def rows(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_torchrun_starts_two_processes_of_one_run(tmp_path):
    """The command of the documentation; the numbers are tested in test_interrupts.py."""
    write(Recipe(**train_tiny.FIELDS), tmp_path / "recipe.toml")
    process = launch(tmp_path / "recipe.toml", tmp_path / "run", "--json")
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert json.loads(out)["processes"] == 2  # one process prints
    assert len(rows(tmp_path / "run")) == 2


# --- batch norm -----------------------------------------------------------------------------------

SHAPES = {nn.BatchNorm1d: (5,), nn.BatchNorm2d: (3, 4), nn.BatchNorm3d: (2, 3, 2)}


def apart(rank, world, folder):
    """One process: its part of a batch, of a different size on each."""
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    found = {}
    for kind, spatial in SHAPES.items():
        for case, options in CASES.items():
            norm, x, pull = material(kind, spatial, options)
            norm = synchronise(norm)
            assert type(norm) is SYNCHRONISED[kind]
            part = slice(0, 5) if rank == 0 else slice(5, 8)
            mine = x[part].clone().requires_grad_()
            y = norm(mine)
            (y * pull[part]).sum().backward()
            found[f"{kind.__name__} {case}"] = {
                "y": y.detach(), "x": mine.grad,
                "weight": None if norm.weight is None else norm.weight.grad,
                "buffers": dict(norm.named_buffers()), "eval": norm.eval()(x).detach(),
            }  # fmt: skip
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


CASES = {
    "plain": {},
    "no affine": {"affine": False},
    "cumulative": {"momentum": None},
    "no running": {"track_running_stats": False},
}


def material(kind, spatial, options):
    generator = torch.Generator().manual_seed(0)
    norm = kind(6, **options).double()
    x = torch.randn(8, 6, *spatial, generator=generator, dtype=torch.float64) + 100
    pull = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    if norm.weight is not None:
        with torch.no_grad():
            norm.weight.copy_(torch.rand(6, generator=generator) + 0.5)
            norm.bias.copy_(torch.randn(6, generator=generator))
    return norm, x, pull


def test_synchronised_norms_equal_torchs_on_the_whole_batch(tmp_path):
    torch.multiprocessing.spawn(apart, (2, str(tmp_path)), nprocs=2)
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for kind, spatial in SHAPES.items():
        for case, options in CASES.items():
            name = f"{kind.__name__} {case}"
            norm, x, pull = material(kind, spatial, options)
            x.requires_grad_()
            y = norm(x)
            (y * pull).sum().backward()
            one, two = (part[name] for part in parts)
            near = {"rtol": 1e-9, "atol": 1e-9}  # float64, values near 100
            assert torch.allclose(torch.cat([one["y"], two["y"]]), y, **near), name
            assert torch.allclose(torch.cat([one["x"], two["x"]]), x.grad, **near), name
            if norm.weight is not None:
                assert torch.allclose(one["weight"] + two["weight"], norm.weight.grad, **near)
            for key, buffer in norm.named_buffers():
                assert torch.allclose(one["buffers"][key], buffer, **near), (name, key)
            assert torch.allclose(one["eval"], norm.eval()(x), **near), name


def test_norms_inside_blocks_are_synchronised_and_hooks_stay():
    from gspnl import nn as gnn

    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    gnn.insert(net, {"1": "snl"}, example=torch.zeros(2, 3, 6, 6))
    keys, x = list(net.state_dict()), torch.randn(2, 3, 6, 6)
    before = net(x)
    synchronise(net)
    kinds = [type(m).__name__ for m in net.modules()]
    assert sum(name.startswith("SynchronisedBatchNorm") for name in kinds) == 2
    assert not any(name.startswith("BatchNorm") for name in kinds)
    assert list(net.state_dict()) == keys
    assert torch.equal(net(x), before)
