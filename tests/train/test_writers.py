"""Files of runs, tables and figures are not written over pipes."""

from __future__ import annotations

import os
import stat

import pytest
import torch

from gspnl import nn as gnn
from gspnl.errors import FileError
from gspnl.train import checkpoints, recipe
from gspnl.train.figures import files
from gspnl.train.progress import METRICS, RESULT, Progress
from gspnl.train.recipes import write
from gspnl.train.run import lock
from gspnl.train.tables import existing


def checkpoint():
    tensors = {"model.w": torch.ones(2)}
    state = checkpoints.State()
    return checkpoints.Checkpoint(recipe("mini"), (3, 4, 4), 2, "data", state, {}, tensors)


def audit():
    return gnn.audit(gnn.create("snl", 4, zero_init=False), torch.randn(1, 4, 3, 3))


def progress(folder):
    return Progress(folder, 1, 1, active=True)


WRITERS = {
    "checkpoint": ("c", lambda f: checkpoints.save(checkpoint(), f / "c")),
    "block": ("b", lambda f: gnn.save(gnn.create("snl", 4), f / "b")),
    "recipe": ("r.toml", lambda f: write(recipe("mini"), f / "r.toml")),
    "metrics": (METRICS, lambda f: progress(f).write([])),
    "result": (RESULT, lambda f: progress(f).end({})),
    "table": ("t.md", lambda f: existing.write(f / "t.md", "text")),
    "lock": (".lock", lambda f: lock(f).__enter__()),
    "picture": ("audit.png", lambda f: files.write_audit(audit(), f)),
    "text": ("audit.txt", lambda f: files.write_audit(audit(), f)),
    "numbers": ("audit.json", lambda f: files.write_audit(audit(), f)),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_pipes_stay_pipes(tmp_path, writer):
    name, write_it = WRITERS[writer]
    os.mkfifo(tmp_path / name)
    with pytest.raises(FileError, match=f"{name}.*it is a pipe"):
        write_it(tmp_path)
    assert stat.S_ISFIFO(os.lstat(tmp_path / name).st_mode)
