"""Several calls on one folder of tables: what its pages show, what is left, and what stops them."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

torch = pytest.importorskip("torch")

from support import train_tiny  # noqa: E402
from support.tables_runs import Trainer  # noqa: E402

from gspnl import cli  # noqa: E402
from gspnl.errors import InputError  # noqa: E402
from gspnl.train import Recipe  # noqa: E402
from gspnl.train.epochs import Epochs  # noqa: E402
from gspnl.train.interrupts import Stopped  # noqa: E402
from gspnl.train.run import lock  # noqa: E402
from gspnl.train.tables import (  # noqa: E402
    GRIDS,
    PROTOCOLS,
    Grid,
    Protocol,
    Row,
    plan_tables,
    running,
)
from gspnl.train.tables import run_tables as run  # noqa: E402


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "photos.zip"
    path.write_bytes(b"PK")
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def call(data, out, names=(5,), **options):
    return run(names, "mini", data=data, out=out, **{"seeds": 1, "train": Trainer(), **options})


def shown(out):
    """Tables of tables.json: by name, the accuracies of each row by seed."""
    found = json.loads((out / "tables.json").read_text())
    return {
        table["table"]: [
            dict(zip(row["seeds"], row["accuracies"], strict=True)) for row in table["rows"]
        ]
        for table in found["tables"]
    }


def whole(out):
    """Every file of the pages is there, and nothing is half written."""
    assert not [path for path in out.rglob(".*") if path.name != ".lock"]
    json.loads((out / "tables.json").read_text())
    for path in (out / "tables").glob("*.md"):
        assert path.with_suffix(".png").stat().st_size > 1000
        assert path.with_suffix(".tex").read_text().endswith("\\end{tabular}\n")


# --- all there is -------------------------------------------------------------------------------


def test_pages_show_every_seed_there_is(data, out):
    call(data, out, seeds=3)
    before = shown(out)
    page = (out / "tables" / "mini-5.md").read_text()
    found = call(data, out, seeds=1)
    assert found.tables[0].runs == 8  # what was asked for is what is returned
    assert shown(out) == before
    assert (out / "tables" / "mini-5.md").read_text() == page
    assert "All 24 runs are done." in (out / "README.md").read_text()
    call(data, out, seed=5)
    assert [sorted(row) for row in shown(out)["5"]] == [[0, 1, 2, 5]] * 8
    for old, new in zip(before["5"], shown(out)["5"], strict=True):
        assert new.items() >= old.items()


def test_pages_show_every_table_there_is(data, out):
    call(data, out, [5], seeds=2)
    before = shown(out)["5"]
    call(data, out, [2], seeds=1)
    assert list(shown(out)) == ["2", "5"]
    assert shown(out)["5"] == before
    # The middle of table 2 and its backbone are runs of table 5: what there is of them is shown.
    assert [len(row) for row in shown(out)["2"]] == [2] + 6 * [1] + 6 * [2] + 6 * [1]


def test_a_table_is_remembered_from_its_first_run_on(data, out):
    class Killed(Trainer):
        def __call__(self, recipe, **options):
            if len(self.asked) == 2:
                pages.append((out / "tables" / "mini-5.md").read_text())
            super().__call__(recipe, **options)

    pages = []
    call(data, out, train=Killed())
    assert "2 of 8 runs are done." in pages[0]


@pytest.mark.parametrize("words", [[], ["--no-run"], ["--list"]])
def test_a_folder_is_of_one_protocol(words, data, out, capsys):
    call(data, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    options = ["tables", "6", "--protocol", "paper", "--out", str(out), "--data", str(data)]
    assert cli.main([*options, *words]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"{str(out)!r} holds tables of the protocol 'mini' (5), and 'paper' is asked" in told
    assert "name another --out" in told
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


# --- the command --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calls", "commands"),
    [
        ([([3], {})], 1),
        ([([5], {"seed": 4, "seeds": 2})], 1),
        ([([5], {"only": ["snl"]}), ([5], {"only": ["nl"]})], 1),
        ([([5], {}), ([5], {"only": ["nl"]})], 1),
        ([([5], {"only": ["backbone"]})], 1),
        ([([5], {"seed": 3}), ([5], {"seeds": 2})], 2),
        ([([5], {"seeds": 2}), ([4], {"only": ["snl"], "seeds": 2})], 2),
    ],
    ids=["plain", "seed", "only-twice", "only-later", "backbone", "gap", "tables"],
)
def test_the_commands_of_a_page_make_it(calls, commands, data, out, tmp_path, monkeypatch):
    for names, options in calls:
        call(data, out, names, **options)
    told = re.findall("`(gspnl tables [^`]*)`", (out / "README.md").read_text())
    assert len(told) == commands
    monkeypatch.setattr(running, "default_train", Trainer)
    monkeypatch.setattr(running, "see_same", lambda *_, **__: None)  # no zip, only its name
    for command in told:
        words = command.replace("DATA", str(data)).split()[1:]
        assert cli.main([*words, "--out", str(tmp_path / "again"), "--quiet"]) == 0
    assert shown(tmp_path / "again") == shown(out)


def test_the_command_leaves_out_what_the_runs_left_out(data, out):
    call(data, out)  # the stand-ins say that a sample was skipped
    assert "--skip-bad --data DATA`" in (out / "README.md").read_text()
    rows = json.loads((out / "tables.json").read_text())["tables"][0]["rows"]
    assert {row["skipped"] for row in rows} == {1}


# --- what is left -------------------------------------------------------------------------------


class Held(Trainer):
    """Another process is at the runs of some blocks."""

    def __init__(self, *blocks, **options):
        super().__init__(**options)
        self.blocks = blocks

    def __call__(self, recipe, **options):
        if recipe.block in self.blocks:
            options["out"].mkdir(parents=True, exist_ok=True)
            with lock(options["out"]), lock(options["out"]):
                pass
        super().__call__(recipe, **options)


@pytest.mark.parametrize(
    ("trainer", "words", "code", "told"),
    [
        (Held("snl", "gsnl"), (), 3, "2 runs are left: 2 being done by another process"),
        (
            Held("snl", fail=("nl",)),
            (),
            1,
            "2 runs are left: 1 failed, 1 being done by another process",
        ),
        (Trainer(), ("--only", "nl"), 0, "6 runs are left: 6 not asked for by --only"),
        (Trainer(), (), 0, None),
    ],
    ids=["busy", "failed", "only", "none"],
)
def test_what_is_left_is_told(trainer, words, code, told, data, out, capsys, monkeypatch):
    monkeypatch.setattr(running, "default_train", lambda: trainer)
    monkeypatch.setattr(running, "see_same", lambda *_, **__: None)  # no zip, only its name
    options = ["tables", "5", "--protocol", "mini", "--seeds", "1", "--out", str(out)]
    options += ["--data", str(data), "--json", *words]
    assert cli.main(options) == code
    given = capsys.readouterr()
    left = json.loads(given.out)["left"]
    assert len(left) == (int(told[0]) if told else 0)
    plan = plan_tables([5], "mini", out=out, seeds=1)
    assert {each["run"] for each in left} == {
        name for name, run in plan.runs.items() if not plan.folder.kept(run).exists()
    }
    assert json.loads((out / "tables.json").read_text())["left"] == left
    if told:
        assert given.err.splitlines()[-1] == f"gspnl tables: {told}"
    else:
        assert "left:" not in given.err


def test_a_run_without_a_result_is_a_failure(data, out):
    found = call(data, out, train=lambda recipe, **options: None)
    assert len(found.failed) == 8
    assert all("has no result after its training" in reason for reason in found.failed.values())
    assert set(found.left.values()) == {"failed"}


# --- stopping -----------------------------------------------------------------------------------

SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]


def stopped(out, data, *words):
    options = ["tables", "5", "--protocol", "mini", "--seeds", "1", "--out", str(out)]
    return cli.main([*options, "--data", str(data), *words])


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_between_two_runs_stops(number, code, data, out, capsys, monkeypatch):
    class Hit(Trainer):
        def __call__(self, recipe, **options):
            super().__call__(recipe, **options)
            if len(self.asked) == 3:
                os.kill(os.getpid(), number)

    trainer = Hit()
    monkeypatch.setattr(running, "default_train", lambda: trainer)
    monkeypatch.setattr(running, "see_same", lambda *_, **__: None)  # no zip, only its name
    assert stopped(out, data) == code
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == f"gspnl tables: stopped by {number.name}, and saved; the same command goes on"
    assert len(trainer.asked) == 3
    assert "3 of 8 runs are done." in (out / "README.md").read_text()
    whole(out)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("at", [1, 9])
def test_a_signal_while_tables_are_written_stops(number, code, at, data, out, monkeypatch):
    """Between two runs, and at the very end: all files are written first."""
    calls = []

    def hit(*given, **options):
        calls.append(given)
        if len(calls) == at:
            os.kill(os.getpid(), number)
        write(*given, **options)

    write, trainer = running.write_tables, Trainer()
    monkeypatch.setattr(running, "write_tables", hit)
    monkeypatch.setattr(running, "default_train", lambda: trainer)
    monkeypatch.setattr(running, "see_same", lambda *_, **__: None)  # no zip, only its name
    assert stopped(out, data, "--quiet") == code
    assert len(trainer.asked) == min(at, 8)
    whole(out)


def test_a_run_that_ends_as_it_is_stopped_counts(data, out):
    class Late(Trainer):
        def __call__(self, recipe, **options):
            super().__call__(recipe, **options)
            raise Stopped(signal.SIGTERM)

    with pytest.raises(Stopped):
        call(data, out, train=Late())
    assert "1 of 8 runs are done." in (out / "README.md").read_text()


@pytest.fixture
def tiny_tables(tiny_registered):
    """A protocol "tiny" with a table "tiny" of two runs, to be trained in earnest."""
    recipe = Recipe(**{**train_tiny.FIELDS, "block": None})
    rows = (Row("", "backbone", recipe), Row("", "SNL", Recipe(**train_tiny.FIELDS)))
    GRIDS.register("tiny")(lambda protocol: Grid("tiny", "Tiny", "tiny", rows))
    PROTOCOLS.register("tiny")(Protocol("tiny", "Tiny.", {}, (), ("tiny",)))
    yield
    GRIDS.unregister("tiny")
    PROTOCOLS.unregister("tiny")


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_after_the_last_batch_of_a_run_stops_the_others(
    number, code, tiny_tables, data, out, monkeypatch
):
    result = Epochs._result

    def hit(epochs):
        os.kill(os.getpid(), number)
        return result(epochs)

    monkeypatch.setattr(Epochs, "_result", hit)
    words = ["tables", "--protocol", "tiny", "--seeds", "1", "--out", str(out), "--quiet"]
    words += ["--data", str(data), "--threads", "1"]
    assert cli.main(words) == code
    assert len(list((out / "runs").iterdir())) == 1
    assert "1 of 2 runs are done." in (out / "README.md").read_text()
    monkeypatch.undo()
    assert cli.main(words) == 0
    assert "All 2 runs are done." in (out / "README.md").read_text()


def test_another_protocol_is_named_in_the_error(data, out):
    call(data, out)
    with pytest.raises(InputError, match="name another --out for it"):
        plan_tables([6], "paper", out=out)
