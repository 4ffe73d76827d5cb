"""Measure the memory of training, whatever the process held before."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from support.paths import ROOT
from support.train_tiny import FIELDS, HOOKS

from gspnl.train import Recipe, cost, train
from gspnl.train.cost import Memory
from gspnl.train.interrupts import Stopped

pytestmark = pytest.mark.slow

CPU, MIB = torch.device("cpu"), 2**20
resettable = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak cannot be reset here"
)


@resettable
def test_a_training_takes_the_same_memory_late_in_a_process(tmp_path):
    """Within 10 %: the first step leaves some 4 %, such as code of kernels.

    Each large tensor is mapped by itself; else malloc leaves free space between them by chance.
    """
    here = ROOT / "tests"
    paths = os.pathsep.join([str(ROOT), str(here)])
    environment = {**os.environ, "PYTHONPATH": paths, "MALLOC_MMAP_THRESHOLD_": str(MIB)}
    run = [sys.executable, str(here / "support" / "train_memory.py"), str(tmp_path)]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    fresh, later = (int(line) for line in done.stdout.split())
    # The input, and at full size a convolution and a batch norm whose results both are kept.
    assert fresh > 16 * 256**2 * (3 + 2 * 8) * 4
    assert later == pytest.approx(fresh, rel=0.1)


@resettable
def test_garbage_and_free_pages_are_returned_first():
    """Tensors of 64 KiB lie in the heap, which malloc cannot cut where one of them is kept."""
    freed = [torch.ones(MIB // 64) for _ in range(4096)]  # 256 MiB
    freed.append(freed)
    kept = torch.ones(MIB // 64)
    del freed
    measured = Memory(CPU)
    gc.collect()
    taken = [torch.ones(MIB // 64) for _ in range(2048)]
    assert measured.taken() == pytest.approx(128 * MIB, rel=0.05)
    del taken
    assert measured.taken() == pytest.approx(128 * MIB, rel=0.05), "the peak, not the memory in use"
    assert len(kept)


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A /proc/self/status that a test writes."""
    status = tmp_path / "status"
    monkeypatch.setattr(cost, "STATUS", status)
    monkeypatch.setattr(cost, "RESET", tmp_path / "none" / "clear_refs")

    def write(peak, held, files):
        sizes = {"VmHWM": peak, "VmRSS": held, "RssFile": files}
        lines = [f"{name}:\t{size:8} kB\n" for name, size in sizes.items()]
        status.write_text("Name:\tpython\n" + "".join(lines) + "Threads:\t1\n")

    return write


def test_pages_of_files_are_not_counted(system):
    system(500, 500, 100)
    measured = Memory(CPU)
    system(900, 700, 130)  # a library was loaded
    assert measured.taken() == 1024 * (900 - 500 - 30)
    system(900, 700, 60)  # others were dropped, after the peak or before
    assert measured.taken() == 1024 * (900 - 500)


def test_an_earlier_peak_that_cannot_be_reset_hides_a_lower_one(system):
    system(800, 500, 100)
    measured = Memory(CPU)
    assert measured.taken() == 0
    system(800, 790, 100)
    assert measured.taken() == 0
    system(850, 600, 100)
    assert measured.taken() == 1024 * (850 - 500)


def test_the_peak_is_reset_at_the_start(system, tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "RESET", tmp_path / "clear_refs")
    system(500, 500, 100)
    Memory(CPU)
    assert (tmp_path / "clear_refs").read_text() == "5"


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_without_proc_the_growth_of_the_peak_counts(platform, unit, monkeypatch, tmp_path):
    monkeypatch.setattr(cost, "STATUS", tmp_path / "status")
    monkeypatch.setattr(cost, "RESET", tmp_path / "none" / "clear_refs")
    monkeypatch.setattr(sys, "platform", platform)
    resource = pytest.importorskip("resource")
    peak = SimpleNamespace(ru_maxrss=700)
    monkeypatch.setattr(resource, "getrusage", lambda who: peak)
    measured = Memory(CPU)
    assert measured.taken() == 0
    peak.ru_maxrss = 720
    assert measured.taken() == 20 * unit


@pytest.mark.parametrize("error", [OSError, TypeError, AttributeError])
def test_c_libraries_without_malloc_trim_are_left_alone(error, monkeypatch):
    def refuse(name):
        raise error

    monkeypatch.setattr(cost.ctypes, "CDLL", refuse)
    cost.return_free_pages()


def test_on_a_gpu_memory_of_tensors_counts(monkeypatch):
    found = {"reset": 0, "held": 300, "peak": 900}
    cuda = SimpleNamespace(
        reset_peak_memory_stats=lambda device: found.update(reset=1, peak=found["held"]),
        memory_allocated=lambda device: found["held"],
        max_memory_allocated=lambda device: found["peak"],
    )
    monkeypatch.setattr(torch, "cuda", cuda)
    measured = Memory(torch.device("cuda", 0))
    assert (found["reset"], measured.taken()) == (1, 0)
    found["peak"] = 1000
    assert measured.taken() == 700


@pytest.mark.usefixtures("tiny_registered")
@pytest.mark.parametrize("sizes", [(900, 700), (700, 900)])
def test_a_resumed_run_keeps_the_largest_peak(sizes, tmp_path, monkeypatch):
    def stop():
        raise Stopped(15, "epoch 2")

    monkeypatch.setattr(Memory, "taken", lambda self: sizes[0])
    monkeypatch.setitem(HOOKS, 4, stop)  # in the second epoch
    with pytest.raises(Stopped):
        train(Recipe(**FIELDS), out=tmp_path)
    monkeypatch.delitem(HOOKS, 4)
    monkeypatch.setattr(Memory, "taken", lambda self: sizes[1])
    assert train(Recipe(**FIELDS), out=tmp_path, resume=True).result["peak_bytes"] == 900


@pytest.mark.usefixtures("tiny_registered")
def test_an_unknown_peak_is_null(tmp_path, monkeypatch):
    monkeypatch.setattr(Memory, "taken", lambda self: 0)
    assert train(Recipe(**FIELDS), out=tmp_path).result["peak_bytes"] is None
