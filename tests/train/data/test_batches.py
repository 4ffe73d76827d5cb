"""Batches do not depend on the number of ranks, threads, resumes or the order of reading."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from gspnl.errors import InputError
from gspnl.train.data import Batches, DataError, MemorySplit, load
from gspnl.train.data.randomness import order, uniforms
from gspnl.train.data.splits import moments

RECIPE = ("pad_crop(2)", "flip")
PIXELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (23, 3, 8, 8), dtype=np.uint8))
LABELS = np.arange(23) % 5


class Read:
    """A split that is read sample by sample, with delays, damaged samples and errors."""

    def __init__(self, pixels=PIXELS, bad=(), problem=None):
        self.pixels, self.bad, self.problem = pixels, set(bad), problem
        self.labels = LABELS[: len(pixels)]

    def name(self, index):
        return f"sample {index}"

    def read(self, index):
        time.sleep(0.002 * (index % 3))
        if self.problem is not None and index == 7:
            raise self.problem
        if index in self.bad:
            raise DataError(f"{self.name(index)} is damaged")
        return self.pixels[index]

    def take(self, indices):
        return None


SPLITS = {"memory": lambda: MemorySplit(PIXELS, LABELS, str), "files": Read}


def batches(split=None, **options):
    split = MemorySplit(PIXELS, LABELS, str) if split is None else split
    options = {
        "batch_size": 5,
        "augmentation": RECIPE,
        "seed": 3,
        "epoch": 2,
        "shuffle": True,
    } | options
    return Batches(split, **options)


def all_of(some):
    got = list(some)
    return torch.cat([images for images, _ in got]), torch.cat([labels for _, labels in got])


def by_hand(seed=3, epoch=2, mean=0.0, std=1.0):
    """Compute the epoch in a loop over its samples."""
    u = uniforms(seed, epoch, 23, 3)
    images = []
    for i in order(seed, epoch, 23):
        top, left = (int(v * 5) for v in u[i, :2].astype(float))
        image = np.pad(
            PIXELS[i].numpy().astype(np.float32) / np.float32(255), ((0, 0), (2, 2), (2, 2))
        )
        image = image[:, top : top + 8, left : left + 8]
        image = image[:, :, ::-1] if u[i, 2] < 0.5 else image
        images.append((image - np.float32(mean)) / np.float32(std))
    return np.stack(images), LABELS[order(seed, epoch, 23)]


@pytest.mark.parametrize("kind", SPLITS)
def test_an_epoch_is_the_loop_over_its_samples(kind):
    some = batches(SPLITS[kind](), mean=[0.5] * 3, std=[0.25] * 3)
    images, labels = all_of(some)
    truth, classes = by_hand(mean=0.5, std=0.25)
    assert np.array_equal(images.numpy(), truth)  # exactly: 0.5 and 0.25 round nothing
    assert np.array_equal(labels.numpy(), classes)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert [len(y) for _, y in some] == [5, 5, 5, 5, 3]  # a second time round
    assert len(some) == 5
    assert some.skipped == []


@pytest.mark.parametrize("kind", SPLITS)
@pytest.mark.parametrize("world", [2, 3, 5])
def test_shares_of_all_ranks_make_up_the_batch(kind, world):
    """Concatenated over ranks, the shares are the batch; the last batch has 3 samples."""
    alone = list(batches(SPLITS[kind]()))
    ranks = [list(batches(SPLITS[kind](), rank=r, world=world)) for r in range(world)]
    assert all(len(rank) == len(alone) for rank in ranks)
    for number, (images, labels) in enumerate(alone):
        assert torch.equal(torch.cat([rank[number][0] for rank in ranks]), images)
        assert torch.equal(torch.cat([rank[number][1] for rank in ranks]), labels)
        sizes = [len(rank[number][1]) for rank in ranks]
        assert max(sizes) - min(sizes) <= 1
    assert all(rank[-1][0].shape[1:] == (3, 8, 8) for rank in ranks)  # of empty shares too


@pytest.mark.parametrize("kind", SPLITS)
@pytest.mark.parametrize("start", range(6))
def test_an_epoch_resumes_at_any_batch(kind, start):
    whole, rest = list(batches()), list(batches(SPLITS[kind](), start=start))
    assert len(batches(start=start)) == len(rest) == 5 - start
    for (a, b), (c, d) in zip(whole[start:], rest, strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)


def test_augmentation_depends_on_seed_epoch_and_sample_only():
    """Sample 9 is the same image in batches of any size and order, and differs by epoch."""

    def ninth(**options):
        images, _ = all_of(batches(**options))
        place = order(3, options.get("epoch", 2), 23) if options.get("shuffle", True) else range(23)
        return images[list(place).index(9)]

    first = ninth()
    for options in ({"batch_size": 1}, {"batch_size": 23}, {"shuffle": False}, {"ahead": 7}):
        assert torch.equal(ninth(**options), first)
    fresh = [ninth(epoch=e) for e in range(6)]
    assert len({image.numpy().tobytes() for image in fresh}) > 3


def test_orders_differ_by_seed_and_epoch():
    seen = {tuple(order(seed, epoch, 23)) for seed in range(3) for epoch in range(3)}
    assert len(seen) == 9
    assert all(sorted(one) == list(range(23)) for one in seen)
    images, labels = all_of(batches(shuffle=False, augmentation=()))
    assert np.array_equal(images.numpy(), PIXELS.numpy().astype(np.float32) / np.float32(255))
    assert np.array_equal(labels.numpy(), LABELS)
    assert [len(y) for _, y in batches(drop_last=True)] == [5, 5, 5, 5]


def test_random_numbers_are_the_recorded_ones():
    """Runs can be resumed under later versions of NumPy."""
    raw = np.random.Philox(key=[3, 2], counter=[0, 0, 0, 1]).random_raw(4)
    assert np.allclose(uniforms(3, 2, 2, 2).reshape(-1), raw / 2.0**64, atol=2.0**-24)
    assert order(3, 2, 8).tolist() == [2, 4, 1, 3, 6, 5, 0, 7]
    assert [round(float(v), 6) for v in uniforms(3, 2, 2, 2).reshape(-1)] == [
        0.108001,
        0.229658,
        0.421152,
        0.595407,
    ]


def test_uniforms_are_uniform_and_independent():
    u = uniforms(0, 0, 20_000, 2)
    assert u.dtype == np.float32
    assert 0 <= u.min() <= u.max() < 1
    # The mean of n uniforms has the deviation (12 n)^-1/2 = 0.002; the tolerance is five of it.
    assert np.allclose(u.mean(0), 0.5, atol=0.01)
    assert abs(np.corrcoef(u.T)[0, 1]) < 5 / 20_000**0.5
    assert uniforms(0, 0, 5, 0).shape == (5, 0)
    assert not np.array_equal(uniforms(0, 1, 9, 1), uniforms(1, 0, 9, 1))


def test_a_split_with_draws_gets_the_first_uniforms_of_each_sample():
    """The uniforms that are left go to the augmentations."""

    class Clips(Read):
        draws = 2

        def read(self, index, u=None):
            clip = np.full((3, 4, 8, 8), int(u[0] * 128), np.uint8)
            clip[..., 0] = 255  # a column at the left
            return torch.from_numpy(clip)

    images, _ = all_of(batches(Clips(), augmentation=("flip",)))
    u = uniforms(3, 2, 23, 3)[order(3, 2, 23)]
    centre = images[:, 0, 0, 4, 4] * 255
    assert np.allclose(centre.numpy(), np.floor(u[:, 0] * 128), atol=1e-3)
    assert np.array_equal(images[:, 0, 0, 4, 7].numpy() == 1, u[:, 2] < 0.5)


# Damaged samples


def test_a_damaged_sample_is_an_error_or_left_out():
    with pytest.raises(DataError, match="sample 9 is damaged"):
        list(batches(Read(bad=[9])))
    some = batches(Read(bad=[9, 4]), skip_bad=True)
    images, labels = all_of(some)
    truth, classes = by_hand()
    kept = [i for i, index in enumerate(order(3, 2, 23)) if index not in (9, 4)]
    assert np.array_equal(images.numpy(), truth[kept])
    assert np.array_equal(labels.numpy(), classes[kept])
    assert sorted(some.skipped) == ["sample 4 is damaged", "sample 9 is damaged"]
    list(some)
    assert len(some.skipped) == 2  # of this pass


@pytest.mark.parametrize("first", [0, 5, 20])
def test_a_batch_of_damaged_samples_is_empty(first):
    """Its images have the shape (0, C, H, W), as first, middle or last batch."""
    some = batches(Read(bad=range(first, first + 5)), shuffle=False, skip_bad=True)
    got = list(some)
    sizes = [0 if number == first // 5 else size for number, size in enumerate([5, 5, 5, 5, 3])]
    assert [len(labels) for _, labels in got] == sizes
    assert all(
        images.shape == (size, 3, 8, 8) for (images, _), size in zip(got, sizes, strict=True)
    )
    assert {(images.dtype, labels.dtype) for images, labels in got} == {
        (torch.float32, torch.int64)
    }
    assert some.skipped == [f"sample {i} is damaged" for i in range(first, min(first + 5, 23))]


@pytest.mark.parametrize("skip_bad", [True, False])
def test_an_empty_share_has_the_shape_of_the_first_sound_sample(skip_bad):
    """A rank without a share reports no damaged samples."""
    some = batches(
        Read(bad=[0, 1, 22]), shuffle=False, batch_size=22, world=2, skip_bad=skip_bad, start=1
    )
    ((images, labels),) = some
    assert (images.shape, labels.shape) == ((0, 3, 8, 8), (0,))
    assert some.skipped == []


def test_a_split_of_damaged_samples_is_an_error():
    with pytest.raises(DataError, match=r"none of 23 samples can be read: sample 0 is damaged"):
        list(batches(Read(bad=range(23)), skip_bad=True))


def test_samples_of_several_sizes_need_a_common_crop():
    pixels = [PIXELS[i][:, :, : 6 + i % 2] for i in range(23)]
    with pytest.raises(DataError, match=r"shapes \(3, 8, 6\) and \(3, 8, 7\) \('sample 1'\)"):
        list(batches(Read(pixels), shuffle=False))
    images, _ = all_of(batches(Read(pixels), augmentation=("random_resized_crop(5)",)))
    assert images.shape == (23, 3, 5, 5)


@pytest.mark.parametrize("problem", [ValueError("odd"), MemoryError(), KeyboardInterrupt()])
def test_any_error_of_the_thread_reaches_the_consumer(problem):
    some = iter(batches(Read(problem=problem), shuffle=False))
    next(some)
    with pytest.raises(type(problem)):
        next(some)
    assert not living()


# The thread


def living():
    return [t for t in threading.enumerate() if t.name.startswith(("batches", "reading"))]


@pytest.mark.parametrize("kind", SPLITS)
def test_the_thread_ends_with_the_iterator(kind):
    assert not living()
    for end in ("all", "close", "drop", "break"):
        iterator = iter(batches(SPLITS[kind](), batch_size=1))
        next(iterator)
        assert living()
        if end == "all":
            list(iterator)
        elif end == "close":
            iterator.close()
        elif end == "break":
            for _ in batches(SPLITS[kind](), batch_size=1):
                break
        del iterator
        gc.collect()
        assert not living(), end


def test_no_more_than_ahead_batches_are_prepared():
    read = []

    class Counted(Read):
        def read(self, index):
            read.append(index)
            return PIXELS[index]

    iterator = iter(batches(Counted(), batch_size=1, shuffle=False, ahead=2))
    next(iterator)
    time.sleep(0.3)
    assert sorted(read) == [0, 1, 2, 3]  # one taken, two ready, one in the thread
    iterator.close()


def test_a_program_with_an_open_iterator_exits():
    script = (
        "from gspnl.train import data\n"
        "digits = data.load('digits')\n"
        "kept = iter(data.Batches(digits.train, batch_size=4))\n"
        "next(kept)\n"
        "print('done')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=environment
    )
    assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stderr
    assert ended.stderr == ""


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"batch_size": 0}, "batch_size=0 must be a whole number ≥ 1"),
        ({"batch_size": 2.0}, "batch_size=2.0 must be a whole number"),
        ({"batch_size": True}, "batch_size=True must be a whole number"),
        ({"batch_size": 3, "world": 4}, "batch_size=3 must be a whole number ≥ 4"),
        ({"rank": 1}, "rank=1 must be a whole number from 0 to 0"),
        ({"rank": -1, "world": 2}, "rank=-1"),
        ({"world": 0}, "world=0 must be a whole number ≥ 1"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 2**64}, "seed="),
        ({"epoch": -1}, "epoch=-1"),
        ({"start": 6}, "start=6 must be a whole number from 0 to 5"),
        ({"start": -1}, "start=-1"),
        ({"ahead": 0}, "ahead=0"),
        ({"mean": [0.5] * 3}, "mean and std go together"),
        ({"drop_last": True, "batch_size": 24}, "23 samples make no batch of 24"),
        ({"augmentation": ("flop",)}, "did you mean 'flip'"),
    ],
)
def test_wrong_arguments_are_refused(options, problem):
    with pytest.raises(InputError, match=problem):
        batches(**options)


def test_wrong_means_and_sizes_are_raised_by_the_iterator():
    with pytest.raises(InputError, match="each of 3 channels"):
        list(batches(mean=[0.5], std=[0.5]))
    with pytest.raises(InputError, match="centre_crop"):
        list(batches(augmentation=("centre_crop(9)",)))


@pytest.mark.parametrize(
    ("samples", "labels", "problem"),
    [
        (torch.zeros(2, 3, 4, 4), np.arange(2), "must be uint8"),
        (PIXELS[:2], np.arange(3), "must be 2 whole numbers"),
        (PIXELS[:2], np.zeros(2), "must be 2 whole numbers"),
        (torch.zeros(3, 4, dtype=torch.uint8), np.arange(3), "must be uint8"),
    ],
)
def test_wrong_samples_and_labels_are_refused(samples, labels, problem):
    with pytest.raises(InputError, match=problem):
        MemorySplit(samples, labels, str)


# Digits


def test_digits_are_those_of_scikit_learn_with_a_fifth_of_each_class_for_testing():
    datasets = pytest.importorskip("sklearn.datasets")
    found = load("digits")
    every = datasets.load_digits()
    kept = sorted(
        (int(k), image.numpy().tobytes())
        for split in (found.train, found.test)
        for k, image in zip(split.labels, split.take(np.arange(len(split.labels))), strict=True)
    )
    truth = sorted(
        (int(k), np.rint(image * 255 / 16).astype(np.uint8).tobytes())
        for k, image in zip(every.target, every.images, strict=True)
    )
    assert kept == truth  # none lost, none twice
    counts = np.bincount(every.target)
    assert np.bincount(found.test.labels).tolist() == [round(0.2 * c) for c in counts]
    pixels = found.train.take(np.arange(len(found.train.labels))).numpy() / 255
    assert np.allclose(found.mean, pixels.mean(), rtol=1e-12, atol=0)
    assert np.allclose(found.std, pixels.std(), rtol=1e-12, atol=0)
    again = load("digits")
    assert np.array_equal(again.test.labels, found.test.labels)
    assert found.test.name(0).startswith("digit ")
    with pytest.raises(InputError, match="leave it out"):
        load("digits", "somewhere")


def test_the_deviation_of_a_constant_channel_is_1():
    mean, std = moments([torch.full((300, 2, 2, 2), 51, dtype=torch.uint8)])
    assert mean == (0.2, 0.2)
    assert std == (1.0, 1.0)
