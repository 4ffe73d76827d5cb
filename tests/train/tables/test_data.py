"""Test that runs on different data are not compared."""

from __future__ import annotations

import json
import shutil

import pytest
from support.data_files import pictures, write_folder
from support.tables_runs import Trainer, write

from gspnl.errors import FileError, InputError
from gspnl.train import session
from gspnl.train.data import fingerprint, load
from gspnl.train.tables import plan_tables, run_tables, tables_so_far
from gspnl.train.tables.data_check import check_same_data


@pytest.fixture
def plan(tmp_path):
    return plan_tables([5], "mini", out=tmp_path / "out", seeds=1)


def test_results_on_different_data_are_an_error(plan):
    for i, (name, run) in enumerate(plan.runs.items()):
        write(run, plan.folder.run(name), data="a" * 16 if i < 3 else "b" * 16)
    with pytest.raises(FileError, match=r"on other data \((a{16}|b{16})\) than .*(?!\1)[ab]{16}\)"):
        tables_so_far(plan)


def test_moving_a_run_on_other_data_away_resolves_the_error(plan):
    """Its folder too, or its result would be kept again."""
    *same, other = plan.runs
    for name in same:
        write(plan.runs[name], plan.folder.run(name), data="a" * 16)
    write(plan.runs[other], plan.folder.run(other), data="b" * 16)
    with pytest.raises(FileError, match="move one of them away, and its folder in 'runs' with it"):
        tables_so_far(plan)
    plan.folder.kept(other).unlink()
    shutil.rmtree(plan.folder.run(other))
    assert tables_so_far(plan).tables[0].done == 7


def test_results_keep_the_fingerprint_of_their_data(plan):
    for name, run in plan.runs.items():
        write(run, plan.folder.run(name), data="a" * 16)
    assert tables_so_far(plan).tables[0].done == 8
    kept = (plan.folder.path / "results").glob("*.json")
    assert {json.loads(path.read_text())["data"] for path in kept} == {"a" * 16}


def test_other_data_than_those_of_the_results_are_an_error_before_training(plan, tmp_path):
    photos = tmp_path / "photos"
    write_folder(photos, pictures()[0])
    here = fingerprint(load("folder", photos))
    first, run = next(iter(plan.runs.items()))
    write(run, plan.folder.run(first), data="a" * 16)
    tables_so_far(plan)
    with pytest.raises(FileError, match=rf"\(a{{16}}\) than .*photos.*\({here}\).*another --out"):
        run_tables([5], "mini", data=photos, out=tmp_path / "out", seeds=1)
    assert not list((tmp_path / "out" / "runs").glob("*/checkpoint*"))[1:]

    write(run, plan.folder.run(first), data=here)
    plan.folder.kept(first).unlink()
    tables_so_far(plan)
    check_same_data(plan.runs, plan.folder, photos, skip_bad=False)


def test_missing_data_fail_only_the_runs_that_need_them(tmp_path, monkeypatch):
    """Table 5 has a result on CIFAR-10, whose data are gone since; table 6 is still to do."""
    plan = plan_tables([5, 6], "paper", out=tmp_path / "out", seeds=2)
    first, run = next(iter(plan.runs.items()))
    write(run, plan.folder.run(first), data="a" * 16)
    tables_so_far(plan)
    (tmp_path / "data" / "cifar-100-binary").mkdir(parents=True)
    photos = load("folder", write_folder(tmp_path / "photos", pictures()[0]))
    monkeypatch.setattr(session, "open_data", lambda run, path, skip_bad: photos)  # of CIFAR-100
    check_same_data(plan.runs, plan.folder, tmp_path / "data", skip_bad=False)
    found = run_tables(
        [5, 6], "paper", data=tmp_path / "data", out=tmp_path / "out", seeds=2, train=Trainer()
    )
    assert {run.split("-")[0] for run in found.failed} == {"cifar10"}
    assert all("holds no data for 'cifar10'" in reason for reason in found.failed.values())
    assert found.tables[1].done == found.tables[1].runs


@pytest.mark.parametrize("protocol", ["paper", "mini"])
def test_no_run_starts_if_no_data_can_be_opened(protocol, tmp_path):
    cut = tmp_path / "photos.zip"
    cut.write_bytes(b"PK\x03\x04")
    with pytest.raises(FileError, match="--protocol mini" if protocol == "paper" else "cut off"):
        run_tables([5], protocol, data=cut, out=tmp_path / "out", seeds=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"threads": 0}, "threads=0"), ({"device": "gpu"}, "device='gpu' cannot")],
)
def test_an_invalid_machine_option_raises_before_any_run(options, message, tmp_path):
    photos = write_folder(tmp_path / "photos", pictures()[0])
    with pytest.raises(InputError, match=message):
        run_tables([5], "mini", data=photos, out=tmp_path / "out", seeds=1, **options)
    assert not (tmp_path / "out").exists()


def test_data_are_not_opened_for_a_custom_train_function(plan, tmp_path):
    (tmp_path / "photos.zip").write_bytes(b"PK")
    options = {"data": tmp_path / "photos.zip", "out": tmp_path / "out", "seeds": 1}
    run_tables([5], "mini", train=Trainer(), **options)
    assert tables_so_far(plan).tables[0].done == 8
