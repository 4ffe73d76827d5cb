"""Pipes, sockets and devices as input are named at once, and nothing waits for them."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

import gspnl
import gspnl.report
from gspnl import nn as gnn
from gspnl._base import files
from gspnl.cli import main
from gspnl.errors import FileError
from gspnl.report import folder
from gspnl.theory.files import read_subject
from gspnl.train import backbones, checkpoints, data, run
from gspnl.train.recipes import recipe
from gspnl.train.tables.existing import Folder

READERS = {
    "bytes": lambda path: files.read(path, "name a file"),
    "photo": gspnl.images.load_photo,
    "features": read_subject,
    "block": gnn.load,
    "weights": lambda path: backbones.load_pretrained(
        backbones.create("preresnet20", classes=2), path
    ),
    "checkpoint": checkpoints.load,
    "recipe": recipe,
    "report": lambda path: gspnl.report.write_report(path, path.parent / "report"),
    "folder": lambda path: data.load("folder", path),
    "cifar": lambda path: data.load("cifar10", path),
}
COMMANDS = (
    ["report", "X"], ["verify", "--features", "X"], ["train", "X"],
    ["train", "mini", "--data", "X"], ["audit", "X"], ["figures", "X"],
)  # fmt: skip


@pytest.fixture(autouse=True)
def hurry():
    def late(*_):
        raise TimeoutError

    earlier = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, earlier)


@pytest.fixture(params=["pipe", "socket", "device"])
def endless(request, tmp_path):
    path = tmp_path / "X"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    else:
        path = Path("/dev/zero")
        if not path.exists():
            pytest.skip("there is no /dev/zero")
    return path, request.param


@pytest.mark.parametrize("reader", READERS)
def test_readers_name_what_has_no_end(endless, reader, tmp_path):
    path, kind = endless
    linked = tmp_path / "link"
    linked.symlink_to(path)
    for each in (path, linked):
        with pytest.raises(FileError, match=f"it is a {kind}; copy what it gives"):
            READERS[reader](each)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_name_what_has_no_end(endless, words, tmp_path, capsys, monkeypatch):
    path, kind = endless
    monkeypatch.chdir(tmp_path)
    assert main([str(path) if word == "X" else word for word in words]) == 2
    text = capsys.readouterr().err
    assert f"it is a {kind}" in text
    assert text.count("\n") == 1


def test_pipes_inside_folders_of_results_are_not_waited_for(tmp_path):
    out = tmp_path / "out"
    found = Folder(out)
    for place in (found.run("r") / "metrics.jsonl", out / "failed" / "r.txt", out / "report.json"):
        place.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(place)
    assert (found.metrics("r"), found.failure("r")) == ([], None)
    with pytest.raises(FileError, match="is no report"):
        folder.check_target(out)
    os.mkfifo(out / "result.json")
    with pytest.raises(FileError, match=r"result\.json.*it is a pipe"):
        run.finished(out, recipe("mini"))
    assert folder.recover(tmp_path / "other", {"report.json"}) is None


def test_missing_files_and_folders_keep_their_own_errors(tmp_path):
    files.refuse_endless(tmp_path)
    files.refuse_endless(tmp_path / "none")
    files.refuse_endless(Path("a\0b"))
    with pytest.raises(FileError, match="there is no file"):
        gspnl.images.load_photo(tmp_path / "none")
    with pytest.raises(FileError, match="Is a directory"):
        files.read(tmp_path, "name a file")
