"""What each process gets of a batch: which batches there are does not depend on how many."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from gspnl.errors import InputError
from gspnl.train.gathering import lines, rows
from gspnl.train.loop import see_one
from gspnl.train.processes import Processes
from gspnl.train.shares import counted, dealt


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
    assert counted(samples, size, 1) == (dropped, steps)


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
def test_too_many_processes(samples, size, world, message):
    with pytest.raises(InputError, match=message):
        counted(samples, size, world)


def test_every_number_of_processes_trains_on_the_same_batches():
    """By going through them: whatever is not refused is what one process does."""
    for samples in range(2, 70):
        for size in range(2, 34):
            alone = counted(samples, size, 1)
            batches = [min(size, samples - start) for start in range(0, samples, size)]
            kept = batches[:-1] if alone[0] else batches
            assert alone[1] == len(kept) > 0
            for world in range(2, 6):
                if min(kept) >= 2 * world:
                    assert counted(samples, size, world) == alone
                else:
                    with pytest.raises(InputError, match="fewer than two samples"):
                        counted(samples, size, world)


# --- of several processes -------------------------------------------------------------------------

LINES = [["ü.png", "a\nb", "x"], [], ["x", "\udcff.png"]]  # the last is a name that is no UTF-8
SOUND = {  # samples of each process → what is dealt to it
    "all": ((4, 4, 4), (4, 4, 4)),
    "just enough": ((2, 9, 2), (2, 9, 2)),
    "one has none": ((5, 0, 4), (3, 3, 3)),
    "one has one": ((4, 3, 1), (2, 3, 3)),
    "one has all": ((0, 0, 8), (2, 3, 3)),
    "too few": ((5, 0, 0), (0, 0, 0)),
    "none": ((0, 0, 0), (0, 0, 0)),
}


def apart(rank, world, folder):
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    among = Processes(torch.device("cpu"), rank, world)
    found = {"lines": lines(among, LINES[rank]), "no lines": lines(among, [])}
    for case, (sizes, _) in SOUND.items():
        images, labels = samples(sizes)
        part = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        found[case] = dealt(among, images[part], labels[part])
    try:
        rows(among, torch.zeros(rank, 2 + rank))
    except InputError as error:
        found["shapes"] = str(error)
    see_one(among, "the same")
    try:
        see_one(among, "ab"[rank == 2])
    except InputError as error:
        found["data"] = str(error)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def samples(sizes):
    images = torch.arange(sum(sizes) * 12, dtype=torch.float32).reshape(-1, 3, 2, 2)
    return images, torch.arange(sum(sizes)) * 7


def test_sound_samples_are_dealt_out_again(tmp_path):
    torch.multiprocessing.spawn(apart, (3, str(tmp_path)), nprocs=3)
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(3)]
    for case, (sizes, wanted) in SOUND.items():
        images, labels = samples(sizes)
        assert tuple(len(part[case][1]) for part in parts) == wanted, case
        assert all(len(part[case][0]) == len(part[case][1]) for part in parts)
        together = [torch.cat([part[case][i] for part in parts]) for i in range(2)]
        if sum(wanted):  # each sample once, in order
            assert torch.equal(together[0], images), case
            assert torch.equal(together[1], labels), case
        else:
            assert together[0].shape == (0, 3, 2, 2), case
    for part in parts:
        assert part["lines"] == ["a\nb", "x", "ü.png", "\udcff.png"]
        assert part["no lines"] == []
        assert "different data (fingerprints a, b); give all" in part["data"]
        assert "shapes (3,) and (4,); bring them to one size" in part["shapes"]
