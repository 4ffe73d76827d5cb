"""Runs that are killed or stopped: nothing is lost, whenever it happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import pytest
from support.paths import ROOT

from gspnl.train.stopping import Stopped, listening

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
def test_a_signal_is_never_lost(number):
    """Nobody asked, or an error came between: it is told at the end, or to who listens around."""
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=f"{number.name} at its end"), listening():
        signal.raise_signal(number)
    with contextlib.suppress(Stopped), listening() as around:
        with contextlib.suppress(ValueError), listening():
            signal.raise_signal(number)
            raise ValueError
        assert around.signum == number
    with pytest.raises(ValueError, match="its own"), listening():
        raise ValueError("its own")
    assert signal.getsignal(number) == before


def test_three_kills(tmp_path):
    scenario("kills", tmp_path, 3)


@pytest.mark.slow
@pytest.mark.skipif("not config.getoption('-m')", reason="by -m slow")
@pytest.mark.parametrize("threads", ["1", "2"])
def test_ten_kills(tmp_path, threads):
    scenario("kills", tmp_path, 10, TINY_THREADS=threads)


@pytest.mark.parametrize("name", ["signals", "errors"])
def test_exit(name, tmp_path):
    scenario(name, tmp_path)


@pytest.mark.parametrize("name", ["curves", "one_signalled", "one_fails", "skipping"])
def test_two_processes(name, tmp_path):
    scenario(name, tmp_path)
