"""Atomic replacement: what may be replaced, what stays, and the errors of the rest."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from gspnl._base import files
from gspnl.errors import FileError


def names_in(folder):
    return {each.name for each in folder.iterdir()}


def kind(path):
    return stat.S_IFMT(os.lstat(path).st_mode)


def refused(path, *parts):
    with pytest.raises(FileError) as caught:
        files.replace(Path(path), b"new")
    text = str(caught.value)
    assert repr(str(path)) in text
    assert all(part in text for part in parts), text
    assert "name a file in a folder that exists" in text


def pipe(folder):
    os.mkfifo(folder / "it")


def listening(folder):
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(folder)  # names of sockets are short
        try:
            server.bind("it")
        finally:
            os.chdir(here)


def device(folder):
    try:
        os.mknod(folder / "it", stat.S_IFCHR | 0o666, Path(os.devnull).stat().st_rdev)
    except OSError:
        pytest.skip("only root makes devices")


def subfolder(folder):
    (folder / "it").mkdir()


@pytest.mark.parametrize(
    ("make", "word"),
    [(pipe, "a pipe"), (listening, "a socket"), (device, "a device"), (subfolder, "a folder")],
)
@pytest.mark.parametrize("through", ["itself", "a link"])
def test_only_regular_files_are_replaced(tmp_path, make, word, through):
    make(tmp_path)
    path = tmp_path / "it"
    before = kind(path)
    if through == "a link":
        path = tmp_path / "link"
        path.symlink_to("it")
    names = names_in(tmp_path)
    refused(path, word)
    assert kind(tmp_path / "it") == before
    assert names_in(tmp_path) == names


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("n" * 300, "too long"),
        ("é" * 200, "too long"),
        ("file/x", "Not a directory"),
        ("missing/x", "No such file"),
        ("loop", "symbolic links"),
        ("loop/x", "symbolic links"),
        ("n\0l", "null"),
        ("", "a folder"),
        ("/", "a folder"),
        ("..", "a folder"),
        (os.devnull, "a device"),
        ("/dev/full", "a device"),
    ],
)
def test_the_error_names_the_cause(tmp_path, monkeypatch, name, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "loop").symlink_to("pool")
    (tmp_path / "pool").symlink_to("loop")
    refused(Path(name), reason)
    assert names_in(tmp_path) == {"file", "loop", "pool"}
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_folder_without_write_permission_is_an_error():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        (Path(folder) / "kept").write_bytes(b"old")
        Path(folder).chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            refused(Path(folder) / "new", "Permission denied")
            refused(Path(folder) / "kept", "Permission denied")
        finally:
            os.seteuid(user)
        Path(folder).chmod(0o755)
        assert (Path(folder) / "kept").read_bytes() == b"old"


@pytest.mark.parametrize("failing", ["fsync", "rename"])
def test_the_cause_of_a_failure_is_not_hidden_by_the_cleaning(tmp_path, monkeypatch, failing):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    def stuck(*args, **options):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "x").write_bytes(b"old")
    if failing == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "replace", full)
    monkeypatch.setattr(Path, "unlink", stuck)
    refused(tmp_path / "x", "No space left")
    assert (tmp_path / "x").read_bytes() == b"old"


@pytest.mark.parametrize("links", [1, 3])
def test_a_link_stays_and_its_target_is_written(tmp_path, links):
    (tmp_path / "away").mkdir()
    target = tmp_path / "away" / "target"
    target.write_bytes(b"old")
    before = target
    for i in range(links):
        link = tmp_path / f"link{i}"
        link.symlink_to(before)
        before = link
    files.replace(link, b"new")
    assert all((tmp_path / f"link{i}").is_symlink() for i in range(links))
    assert target.read_bytes() == b"new"
    assert not target.is_symlink()
    assert names_in(tmp_path / "away") == {"target"}


def test_a_link_to_nothing_makes_its_target(tmp_path):
    (tmp_path / "link").symlink_to("target")
    files.replace(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755, 0o666])
def test_permissions_are_kept(tmp_path, mode):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    path.chmod(mode)
    files.replace(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_permissions_of_the_mask(tmp_path):
    mask = os.umask(0o027)
    try:
        files.replace(tmp_path / "x", b"new")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_is_kept_where_that_is_allowed(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    os.chown(path, 1234, 4321)
    files.replace(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 4321)


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127, "n" * 241, "a" * 242])
def test_the_longest_names_can_be_written_and_cleaned(tmp_path, name):
    path = tmp_path / name
    files.replace(path, b"one")
    files.replace(path, b"two")
    assert path.read_bytes() == b"two"
    left = tmp_path / f".{files._stem(path)}.{'0a' * files.TOKEN}"
    left.write_bytes(b"partial")
    files.clean(path)
    assert names_in(tmp_path) == {name}


@pytest.mark.parametrize("name", ["n\0l", "file", "file/x", "n" * 300, "loop"])
def test_folders_that_cannot_be_made_are_an_error(tmp_path, name):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FileError, match=r"cannot make the folder .*; name another"):
        files.make_folder(tmp_path / name)


@pytest.mark.parametrize("name", ["n\0l", "file/x", "n" * 300, "loop", ".", "missing"])
def test_files_that_cannot_be_read_are_an_error(tmp_path, name):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FileError, match=r"cannot read the photo .*: .+; name one"):
        files.read(tmp_path / name, "name one", "the photo ")


def test_a_device_is_not_read():
    with pytest.raises(FileError, match=r"cannot read '/dev/zero': it is a device; copy"):
        files.read(Path("/dev/zero"), "name one", "the photo ")


def test_a_lock_file_is_opened_without_truncating_or_waiting(tmp_path):
    (tmp_path / "notes").write_bytes(b"mine")
    (tmp_path / "lock").symlink_to("notes")
    os.close(files.open_lock(tmp_path / "lock"))
    assert (tmp_path / "notes").read_bytes() == b"mine"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, word in (("pipe", "a pipe"), ("folder", "a folder"), ("no/x", "No such file")):
        with pytest.raises(FileError, match=f"cannot lock .*{word}"):
            files.open_lock(tmp_path / name)
