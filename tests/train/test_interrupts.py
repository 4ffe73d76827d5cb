"""Kill and stop runs at any moment, and resume them without loss."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import pytest
from support.paths import ROOT

from gspnl.train.interrupts import Stopped, record_signals

pytestmark = pytest.mark.slow

HERE = ROOT / "tests"
FORKS = HERE / "support" / "train_forks.py"


def scenario(name, folder, *words, **environment):
    paths = os.pathsep.join([str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(FORKS), name, str(folder), *map(str, words)],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_that_nobody_reads_raise_at_the_end_or_go_to_the_outer_recorder(number):
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=f"{number.name} at its end"), record_signals():
        signal.raise_signal(number)
    with contextlib.suppress(Stopped), record_signals() as around:
        with contextlib.suppress(ValueError), record_signals():
            signal.raise_signal(number)
            raise ValueError
        assert around.signum == number
    with pytest.raises(ValueError, match="its own"), record_signals():
        raise ValueError("its own")
    assert signal.getsignal(number) == before


def test_a_run_killed_three_times_resumes_to_the_same_bits(tmp_path):
    scenario("kills", tmp_path, 3)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_run_killed_ten_times_resumes_to_the_same_bits(tmp_path, threads):
    scenario("kills", tmp_path, 10, TINY_THREADS=threads)


@pytest.mark.parametrize("name", ["signals", "errors"])
def test_exit_statuses(name, tmp_path):
    scenario(name, tmp_path)


@pytest.mark.parametrize("name", ["curves", "one_signalled", "one_fails", "skipping"])
def test_two_processes(name, tmp_path):
    scenario(name, tmp_path)
