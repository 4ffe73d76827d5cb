"""The folder of a report is written as a whole, and files of others are kept."""

import errno
import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.reports import picture

from gspnl.errors import FileError, InputError, MissingExtraError, NonsymmetricError
from gspnl.report import Settings, write_report
from gspnl.report import folder as folders
from gspnl.report.folder import publish
from gspnl.report.leftovers import locked, recover


def listing(path):
    """Every file below a folder, hidden ones too, with its content."""
    return {str(p.relative_to(path)): p.is_file() and p.read_bytes() for p in path.rglob("*")}


@pytest.fixture
def quick(monkeypatch):
    """Use blank figures: these tests are about the folder, not its content."""
    file = io.BytesIO()
    Image.new("L", (3, 2)).save(file, "png")
    names = ["attention", "comparison", "filtered", "modes", "responses", "segments", "spectrum"]
    blank = {name + ".png": file.getvalue() for name in names}
    monkeypatch.setattr("gspnl.report.write.draw", lambda analysis: blank)


def run(tmp_path, out, **options):
    path = tmp_path.parent / f"{tmp_path.name}.png"
    if not path.exists():
        picture(path, 8, 10)
    return write_report(path, out, Settings(**{"rank": 3, "orders": "1"} | options))


def test_an_earlier_report_is_replaced(tmp_path, quick):
    run(tmp_path, tmp_path / "out")
    (tmp_path / "out" / ".DS_Store").write_text("")  # Finder leaves it wherever it has looked
    numbers = run(tmp_path, tmp_path / "out", rank=4)
    assert json.loads((tmp_path / "out" / "report.json").read_text())["rank"] == 4
    assert {p.name for p in (tmp_path / "out").iterdir()} == set(numbers["files"])
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_empty_and_missing_folders_are_filled(tmp_path, quick):
    (tmp_path / "empty").mkdir()
    run(tmp_path, tmp_path / "empty")
    run(tmp_path, tmp_path / "a" / "b" / "out")
    assert (tmp_path / "a" / "b" / "out" / "report.html").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"empty", "a"}


def test_a_link_to_a_folder_stays_a_link(tmp_path, quick):
    (tmp_path / "there").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "there")
    run(tmp_path, tmp_path / "out")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "there" / "report.html").exists()


def test_files_of_others_are_never_deleted(tmp_path, monkeypatch, quick):
    out = tmp_path / "out"
    run(tmp_path, out)
    (out / "notes.txt").write_text("mine")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "report.json").write_text('{"files": ["report.json"]}')
    (tmp_path / "file").write_text("mine")
    before = listing(tmp_path)
    monkeypatch.chdir(tmp_path / "photos")
    for target, message in (
        (out, r"holds 'notes\.txt', which no report wrote"),
        (tmp_path / "photos", "cannot be replaced"),
        (tmp_path / "other", "holds files and is no report of gspnl"),
        (tmp_path / "file", "is a file, and a report is a folder; pass another --out"),
        (tmp_path / "file" / "out", "is a file, so .* cannot be made"),
        ("/", "cannot be replaced"),
    ):
        with pytest.raises(FileError, match=message):
            run(tmp_path, target)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match="holds files and is no report of gspnl"):
        run(tmp_path, tmp_path / "photos")
    assert listing(tmp_path) == before


def test_an_unusable_folder_is_refused_before_the_analysis(tmp_path, monkeypatch, quick):
    monkeypatch.setattr("gspnl.report.write.analyse", lambda *args: pytest.fail("it worked"))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileError, match="is a file"):
        run(tmp_path, tmp_path / "file")

    def denied(path, *args, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(FileError, match=r"cannot write '.*out': Permission denied; pass another"):
        run(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("earlier", [True, False])
@pytest.mark.parametrize("where", ["write_bytes", "rename"])
@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), FileError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_failed_write_leaves_the_folder_unchanged(
    tmp_path, monkeypatch, quick, earlier, where, failure, raised
):
    out = tmp_path / "deep" / "out"
    if earlier:
        run(tmp_path, out)
    before = listing(tmp_path)
    whole = getattr(Path, where)
    calls = []

    def fails(path, *args):
        calls.append(path)
        # The third file of the new folder; or the new folder on its way to its place.
        if len(calls) == 3 if where == "write_bytes" else args == (out,) and len(calls) < 3:
            monkeypatch.setattr(Path, where, whole)  # the way back works
            raise failure
        return whole(path, *args)

    monkeypatch.setattr(Path, where, fails)
    with pytest.raises(raised) as caught:
        run(tmp_path, out, rank=4)
    assert getattr(Path, where) is whole  # it did get there
    if raised is FileError:
        assert "No space left on device; pass another --out, or free space" in str(caught.value)
    assert listing(tmp_path) == before


def test_a_bad_photo_or_graph_leaves_the_earlier_report(tmp_path, quick):
    out = tmp_path / "out"
    run(tmp_path, out)
    before = listing(tmp_path)
    with pytest.raises(FileError, match="there is no file"):
        write_report(tmp_path / "nowhere.jpg", out)
    with pytest.raises(NonsymmetricError, match="use normalization='random_walk'"):
        run(tmp_path, out, normalization="softmax")
    with pytest.raises(InputError, match=r"pixel=10,3 lies outside the photo of 10 × 8 pixels"):
        run(tmp_path, out, pixels=((10, 3),))
    assert listing(tmp_path) == before


def test_files_that_appear_during_the_analysis_are_kept(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(FileError, match="is no report of gspnl"):
        folders.publish(out, {"report.json": b"{}"})
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "mine.txt"]


@pytest.mark.parametrize(("module", "library"), [("plotly.offline", "plotly"), ("jinja2", "Jinja")])
def test_a_missing_library_is_one_line_with_the_fix(tmp_path, monkeypatch, quick, module, library):
    monkeypatch.setitem(sys.modules, module, None)
    message = rf"^a report needs {library}, which is not installed: pip install 'gspnl\[report\]'$"
    with pytest.raises(MissingExtraError, match=message):
        run(tmp_path, tmp_path / "out")
    assert not list(tmp_path.iterdir())


# --- killed while it publishes --------------------------------------------------------------------

KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from gspnl.report.folder import publish

step, out = int(sys.argv[1]), Path(sys.argv[2])

def counted(fn):
    def run(*args, **options):
        global step
        if step == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        step -= 1
        return fn(*args, **options)
    return run

for owner, name in ((Path, "write_bytes"), (Path, "rename"), (os, "unlink"), (os, "rmdir")):
    setattr(owner, name, counted(getattr(owner, name)))
publish(out, {"report.json": b'{"gspnl": "2", "files": ["report.json", "a.png"]}', "a.png": b"2"})
"""


def report_files(text):
    return {
        "report.json": f'{{"gspnl": "{text}", "files": ["report.json", "a.png"]}}'.encode(),
        "a.png": text.encode(),
    }


@pytest.mark.parametrize("step", range(9))
def test_a_kill_at_any_step_loses_no_report_and_the_next_run_cleans_up(tmp_path, step):
    out = tmp_path / "out"
    publish(out, report_files("1"))
    run = subprocess.run([sys.executable, "-c", KILLED, str(step), str(out)])
    if run.returncode == 0:  # fewer steps than that
        assert step > 4
        assert (out / "a.png").read_bytes() == b"2"
        return
    assert run.returncode == -signal.SIGKILL
    visible = [p for p in tmp_path.iterdir() if not p.name.startswith(".")]
    texts = [(p / "a.png").read_bytes() for p in visible if (p / "a.png").exists()]
    assert b"1" in texts or b"2" in texts  # one report at least is whole, and not hidden
    recover(out, {"report.json", "a.png"})
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (out / "a.png").read_bytes() in (b"1", b"2")
    publish(out, report_files("3"))
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (out / "a.png").read_bytes() == b"3"


def test_only_folders_of_reports_are_cleaned(tmp_path):
    out = tmp_path / "out"
    publish(out, report_files("1"))
    theirs = tmp_path / ".out.0123456789ab"
    theirs.mkdir()
    (theirs / "thesis.tex").write_text("mine")
    other = tmp_path / ".out.notes"
    other.mkdir()
    (tmp_path / ".out.aaaaaaaaaaaa").symlink_to(other)
    in_use = tmp_path / ".out.bbbbbbbbbbbb"
    in_use.mkdir()
    left = tmp_path / ".out.cccccccccccc"
    left.mkdir()
    (left / "a.png").write_bytes(b"half")
    with locked(in_use) as free:
        assert free
        publish(out, report_files("2"))
    assert (theirs / "thesis.tex").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        ".out.0123456789ab", ".out.aaaaaaaaaaaa", ".out.bbbbbbbbbbbb", ".out.notes", "out",
    ]  # fmt: skip
