"""Batches of an epoch for any number of processes, and what ranks learn of each other."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from gspnl.errors import InputError, ProcessError
from gspnl.train.distributed import Ranks, batch_count
from gspnl.train.loop import check_same_data


@pytest.mark.parametrize(
    ("samples", "size", "dropped", "steps"),
    [
        (10_000, 128, False, 79),  # 16 are left: an eighth
        (50_000, 128, False, 391),  # 80
        (9_999, 128, True, 78),  # 15
        (9_984, 128, False, 78),  # none
        (33, 16, True, 2),  # 1: a batch norm needs two
        (34, 16, False, 3),
        (41, 4, True, 10),
        (30, 128, False, 1),  # the only one is kept, however small
        (2, 128, False, 1),
    ],
)
def test_the_last_batch_is_dropped_below_an_eighth(samples, size, dropped, steps):
    assert batch_count(samples, size, 1) == (dropped, steps)


@pytest.mark.parametrize(
    ("samples", "size", "world", "message"),
    [
        (10_000, 128, 9, "a batch of 16 among 9 processes .* 10,000 .* at most 8 processes"),
        (10_000, 4, 3, "a batch of 4 among 3 processes .* at most 2 processes"),
        (50, 16, 2, "a batch of 2 among 2 processes .* at most 1 process,"),
        (30, 128, 16, "a batch of 30 among 16 processes .* at most 15 processes"),
        (10_000, 1, 1, "batch_size=1 .* a batch of 1.* at least 2"),
        (1, 128, 1, "of 1 training samples makes a batch of 1"),
    ],
)
def test_too_many_processes_are_refused(samples, size, world, message):
    with pytest.raises(InputError, match=message):
        batch_count(samples, size, world)


def test_every_number_of_processes_trains_on_the_same_batches():
    for samples in range(2, 70):
        for size in range(2, 34):
            alone = batch_count(samples, size, 1)
            batches = [min(size, samples - start) for start in range(0, samples, size)]
            kept = batches[:-1] if alone[0] else batches
            assert alone[1] == len(kept) > 0
            for world in range(2, 6):
                if min(kept) >= 2 * world:
                    assert batch_count(samples, size, world) == alone
                else:
                    with pytest.raises(InputError, match="fewer than two samples"):
                        batch_count(samples, size, world)


# --- of several processes -------------------------------------------------------------------------

LINES = [["ü.png", "a\nb", "x"], [], ["x", "\udcff.png"]]  # the last is a name that is no UTF-8


def work(rank, world, folder):
    """One process; it writes its results to a file."""
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    ranks = Ranks(torch.device("cpu"), rank, world)
    found = {"lines": ranks.lines(LINES[rank]), "no lines": ranks.lines([])}
    found["gathered"] = ranks.gather({"rank": torch.tensor(rank)})
    found["sum"] = ranks.sum([0.1, rank])
    found["attempt"] = ranks.attempt(lambda: rank, number=[0, 15, 2][rank])
    try:
        ranks.agree(lambda: 1 // (rank - 1))
    except (ProcessError, ZeroDivisionError) as error:
        found["failure"] = type(error).__name__
    check_same_data(ranks, "the same")
    try:
        check_same_data(ranks, "ab"[rank == 2])
    except InputError as error:
        found["data"] = str(error)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_ranks_learn_of_each_other(tmp_path):
    torch.multiprocessing.spawn(work, (3, str(tmp_path)), nprocs=3)
    for rank in range(3):
        part = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert part["lines"] == ["a\nb", "x", "ü.png", "\udcff.png"]
        assert part["no lines"] == []
        assert [int(each["rank"]) for each in part["gathered"]] == [0, 1, 2]
        assert part["sum"] == pytest.approx([0.3, 3], rel=1e-15)
        assert part["attempt"] == (rank, 15)
        assert part["failure"] == ("ZeroDivisionError" if rank == 1 else "ProcessError")
        assert "different data (fingerprints a, b); give all" in part["data"]
