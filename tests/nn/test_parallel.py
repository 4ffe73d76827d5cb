"""Positions split over processes: results equal those of one process."""

import json

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from support import nn_parallel

from gspnl import nn as gnn
from gspnl.errors import InputError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Results of two processes, by rank; started once."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(nn_parallel.work, (str(folder),), nn_parallel.WORLD)
    return [json.loads((folder / f"{r}.json").read_text()) for r in range(nn_parallel.WORLD)]


@pytest.mark.parametrize("case", [*nn_parallel.CASES, "training", "pruned"])
def test_equal_to_one_process(found, case):
    for rank in found:
        # sums of tens of positions in another order
        assert {k: v for k, v in rank[case].items() if not v < 1e-10} == {}


def test_mismatched_parts_raise_on_every_process(found):
    for rank in found:
        for message in rank["mismatches"].values():
            assert "split along its first spatial dimension" in message
        assert "(2, 8, 3, 4), (2, 8, 3, 5)" in rank["mismatches"]["other"]


@pytest.mark.parametrize("case", nn_parallel.DIFFERENT)
def test_blocks_that_differ_raise_on_every_process(found, case):
    for rank in found:
        assert nn_parallel.DIFFERENT[case][2] in rank["differences"][case]


def test_a_process_that_does_not_answer_is_an_error(tmp_path):
    mp.spawn(nn_parallel.left_alone, (str(tmp_path),), nn_parallel.WORLD)
    errors = json.loads((tmp_path / "alone.json").read_text())
    assert [kind for kind, _ in errors] == ["ProcessError", "ProcessError"]
    assert all("failed or does not answer" in text for _, text in errors)


def test_modules_in_the_place_of_a_map_raise(alone):
    block = gnn.create("snl", 8)
    block.affinity.phi = torch.nn.Sequential(block.affinity.phi)
    with pytest.raises(InputError, match=r"'affinity\.phi' is a Sequential"):
        gnn.parallel.shard(block)


@pytest.fixture
def alone():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


REFUSED = {
    "whole lines": ("cc", {}),
    "windows of sub_sample": ("nl", {"sub_sample": 2}),
    "iteration over all": ("snl", {"normalization": "bistochastic"}),
    "degrees of all positions": ("snl", {"kernel": "gaussian", "normalization": "symmetric"}),
    "neither an inner product": ("snl", {"kernel": "concatenation"}),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_blocks_that_cannot_be_sharded_raise(alone, reason):
    name, options = REFUSED[reason]
    with pytest.raises(InputError, match=reason):
        gnn.parallel.shard(gnn.create(name, 8, **options))


def test_unknown_norms_and_affinities_raise(alone):
    block = gnn.create("snl", 8)
    block.stages[0].norm = torch.nn.InstanceNorm1d(8)
    with pytest.raises(InputError, match="InstanceNorm1d"):
        gnn.parallel.shard(block)
    with pytest.raises(InputError, match="not Linear"):
        gnn.parallel.shard(torch.nn.Linear(2, 2))


def test_shard_without_a_process_group_raises():
    with pytest.raises(InputError, match="init_process_group"):
        gnn.parallel.shard(gnn.create("snl", 8))


def test_shard_shares_parameters_and_keeps_the_block(alone):
    block = gnn.create("a2", 8, zero_init=False)
    before = block(torch.ones(1, 8, 5))
    sharded = gnn.parallel.shard(block)
    named = dict(sharded.block.named_parameters())
    assert all(named[k] is p for k, p in block.named_parameters())
    assert sharded.block.stages[0].norm.running_mean is block.stages[0].norm.running_mean
    dist.barrier()
    assert type(block.affinity).__name__ == "GatherDistribute"
    assert torch.equal(block(torch.ones(1, 8, 5)), before)


def test_batch_norm_of_one_value_per_channel_raises(alone):
    with pytest.raises(InputError, match="more than one value"):
        gnn.parallel.shard(gnn.create("snl", 8))(torch.zeros(1, 8, 1))


def test_frozen_parameters_get_no_gradient(alone):
    block = gnn.create("snl", 8, zero_init=False)
    block.affinity.requires_grad_(False)
    gnn.parallel.shard(block)(torch.randn(2, 8, 6)).sum().backward()
    assert block.affinity.phi.weight.grad is None
    assert block.stages[0].g.weight.grad is not None
    with torch.no_grad():
        assert gnn.parallel.shard(block.requires_grad_(False))(torch.randn(2, 8, 6)).shape


def test_sums_have_second_derivatives(alone):
    """The sums can be differentiated again."""
    torch.manual_seed(0)
    block = gnn.create("snl", 4, norm="none", zero_init=False).double()
    sharded = gnn.parallel.shard(block)
    x = torch.randn(1, 4, 5, dtype=torch.float64, requires_grad=True)

    def penalty(module):
        (gradient,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), x)[0]

    torch.testing.assert_close(penalty(sharded), penalty(block), rtol=1e-10, atol=1e-10)
