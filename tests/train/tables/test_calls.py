"""Test several calls of gspnl tables on one folder: pages, runs that are left, signals."""

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
    runner,
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
    """Assert that every page is complete, and no temporary file is left."""
    assert not [path for path in out.rglob(".*") if path.name != ".lock"]
    json.loads((out / "tables.json").read_text())
    for path in (out / "tables").glob("*.md"):
        assert path.with_suffix(".tex").read_text().endswith("\\end{tabular}\n")


# --- pages of all results ------------------------------------------------------------------------


def test_pages_show_every_seed_with_results(data, out):
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


def test_pages_show_every_table_written_before(data, out):
    call(data, out, [5], seeds=2)
    before = shown(out)["5"]
    call(data, out, [2], seeds=1)
    assert list(shown(out)) == ["2", "5"]
    assert shown(out)["5"] == before
    # The middle of table 2 and its backbone are runs of table 5: what there is of them is shown.
    assert [len(row) for row in shown(out)["2"]] == [2] + 6 * [1] + 6 * [2] + 6 * [1]


def test_pages_are_written_after_the_first_run(data, out):
    class Killed(Trainer):
        def __call__(self, recipe, **options):
            if len(self.asked) == 2:
                pages.append((out / "tables" / "mini-5.md").read_text())
            super().__call__(recipe, **options)

    pages = []
    call(data, out, train=Killed())
    assert "2 of 8 runs are done." in pages[0]


@pytest.mark.parametrize("words", [[], ["--no-run"], ["--list"]])
def test_tables_of_another_protocol_in_the_folder_are_an_error(words, data, out, capsys):
    call(data, out)
    capsys.readouterr()
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    options = ["tables", "6", "--protocol", "paper", "--out", str(out), "--data", str(data)]
    assert cli.main([*options, *words]) == 2
    output = capsys.readouterr().err
    assert output.count("\n") == 1
    assert f"{str(out)!r} holds tables of the protocol 'mini' (5), and 'paper' is asked" in output
    assert "name another --out" in output
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


# --- the command ---------------------------------------------------------------------------------


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
def test_the_commands_on_a_page_reproduce_it(calls, commands, data, out, tmp_path, monkeypatch):
    for names, options in calls:
        call(data, out, names, **options)
    words = re.findall("`(gspnl tables [^`]*)`", (out / "README.md").read_text())
    assert len(words) == commands
    monkeypatch.setattr(runner, "default_train", Trainer)
    monkeypatch.setattr(runner, "check_same_data", lambda *_, **__: None)  # no zip, only its name
    for command in words:
        options = command.replace("DATA", str(data)).split()[1:]
        assert cli.main([*options, "--out", str(tmp_path / "again"), "--quiet"]) == 0
    assert shown(tmp_path / "again") == shown(out)


def test_the_command_on_a_page_has_skip_bad_if_runs_skipped_samples(data, out):
    call(data, out)  # the stand-ins say that a sample was skipped
    assert "--skip-bad --data DATA`" in (out / "README.md").read_text()
    rows = json.loads((out / "tables.json").read_text())["tables"][0]["rows"]
    assert {row["skipped"] for row in rows} == {1}


# --- runs that are left --------------------------------------------------------------------------


class Locked(Trainer):
    """Runs of some blocks are locked by another process."""

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
    ("trainer", "words", "code", "message"),
    [
        (Locked("snl", "gsnl"), (), 3, "2 runs are left: 2 being done by another process"),
        (
            Locked("snl", fail=("nl",)),
            (),
            1,
            "2 runs are left: 1 failed, 1 being done by another process",
        ),
        (Trainer(), ("--only", "nl"), 0, "6 runs are left: 6 not asked for by --only"),
        (Trainer(), (), 0, None),
    ],
    ids=["busy", "failed", "only", "none"],
)
def test_runs_that_are_left_are_reported_with_reasons(
    trainer, words, code, message, data, out, capsys, monkeypatch
):
    monkeypatch.setattr(runner, "default_train", lambda: trainer)
    monkeypatch.setattr(runner, "check_same_data", lambda *_, **__: None)  # no zip, only its name
    options = ["tables", "5", "--protocol", "mini", "--seeds", "1", "--out", str(out)]
    options += ["--data", str(data), "--json", *words]
    assert cli.main(options) == code
    output = capsys.readouterr()
    left = json.loads(output.out)["left"]
    assert len(left) == (int(message[0]) if message else 0)
    plan = plan_tables([5], "mini", out=out, seeds=1)
    assert {each["run"] for each in left} == {
        name for name in plan.runs if not plan.folder.kept(name).exists()
    }
    assert json.loads((out / "tables.json").read_text())["left"] == left
    if message:
        assert output.err.splitlines()[-1] == f"gspnl tables: {message}"
    else:
        assert "left:" not in output.err


def test_a_run_without_a_result_fails(data, out):
    found = call(data, out, train=lambda recipe, **options: None)
    assert len(found.failed) == 8
    assert all("has no result after its training" in reason for reason in found.failed.values())
    assert set(found.left.values()) == {"failed"}


# --- stopping ------------------------------------------------------------------------------------

SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]


def stopped(out, data, *words):
    options = ["tables", "5", "--protocol", "mini", "--seeds", "1", "--out", str(out)]
    return cli.main([*options, "--data", str(data), *words])


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_between_two_runs_stops_the_command(number, code, data, out, capsys, monkeypatch):
    class Hit(Trainer):
        def __call__(self, recipe, **options):
            super().__call__(recipe, **options)
            if len(self.asked) == 3:
                os.kill(os.getpid(), number)

    trainer = Hit()
    monkeypatch.setattr(runner, "default_train", lambda: trainer)
    monkeypatch.setattr(runner, "check_same_data", lambda *_, **__: None)  # no zip, only its name
    assert stopped(out, data) == code
    output = capsys.readouterr().err.splitlines()[-1]
    assert output == f"gspnl tables: stopped by {number.name}, and saved; the same command goes on"
    assert len(trainer.asked) == 3
    assert "3 of 8 runs are done." in (out / "README.md").read_text()
    whole(out)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("at", [1, 9])
def test_a_signal_while_pages_are_written_stops_afterwards(
    number, code, at, data, out, monkeypatch
):
    """Between two runs and at the end: all files are written first."""
    calls = []

    def hit(*given, **options):
        calls.append(given)
        if len(calls) == at:
            os.kill(os.getpid(), number)
        write(*given, **options)

    write, trainer = runner.write_tables, Trainer()
    monkeypatch.setattr(runner, "write_tables", hit)
    monkeypatch.setattr(runner, "default_train", lambda: trainer)
    monkeypatch.setattr(runner, "check_same_data", lambda *_, **__: None)  # no zip, only its name
    assert stopped(out, data, "--quiet") == code
    assert len(trainer.asked) == min(at, 8)
    whole(out)


def test_a_run_that_finishes_while_it_is_stopped_is_kept(data, out):
    class Late(Trainer):
        def __call__(self, recipe, **options):
            super().__call__(recipe, **options)
            raise Stopped(signal.SIGTERM)

    with pytest.raises(Stopped):
        call(data, out, train=Late())
    assert "1 of 8 runs are done." in (out / "README.md").read_text()


@pytest.fixture
def tiny_tables(tiny_registered):
    """A protocol "tiny" with a table "tiny" of two runs that really train."""
    recipe = Recipe(**{**train_tiny.FIELDS, "block": None})
    rows = (Row("", "backbone", recipe), Row("", "SNL", Recipe(**train_tiny.FIELDS)))
    GRIDS.register("tiny")(lambda protocol: Grid("tiny", "Tiny", "tiny", rows))
    PROTOCOLS.register("tiny")(Protocol("tiny", "Tiny.", {}, (), ("tiny",)))
    yield
    GRIDS.unregister("tiny")
    PROTOCOLS.unregister("tiny")


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_after_the_last_batch_of_a_run_stops_the_other_runs(
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


def test_the_error_on_another_protocol_has_the_fix(data, out):
    call(data, out)
    with pytest.raises(InputError, match="name another --out for it"):
        plan_tables([6], "paper", out=out)


def test_options_without_effect_are_named_and_opposite_ones_refused(tmp_path, capsys):
    words = ["tables", "5", "--protocol", "mini", "--out", str(tmp_path / "out")]
    assert cli.main([*words, "--list", "--no-run"]) == 2
    assert "--list and --no-run exclude each other" in capsys.readouterr().err
    for mode in ("--list", "--no-run"):
        cli.main([*words, mode, "--data", "x.zip", "--threads", "2", "--skip-bad"])
        line = f"{mode} runs nothing, so --data, --threads, --skip-bad has no effect"
        assert line in capsys.readouterr().err
