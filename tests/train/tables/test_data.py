"""Runs that are compared were on the same data."""

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
from gspnl.train.tables.sameness import see_same


@pytest.fixture
def plan(tmp_path):
    return plan_tables([5], "mini", out=tmp_path / "out", seeds=1)


def test_tables_of_two_kinds_of_data_are_refused(plan):
    for i, run in enumerate(plan.runs.values()):
        write(run, plan.folder.run(run), data="a" * 16 if i < 3 else "b" * 16)
    with pytest.raises(FileError, match=r"on other data \((a{16}|b{16})\) than .*(?!\1)[ab]{16}\)"):
        tables_so_far(plan)


def test_a_run_on_other_data_is_moved_away_as_the_error_says(plan):
    """Its folder too: a finished run that lies there is taken over."""
    *same, other = plan.runs.values()
    for run in same:
        write(run, plan.folder.run(run), data="a" * 16)
    write(other, plan.folder.run(other), data="b" * 16)
    with pytest.raises(FileError, match="move one of them away, and its folder in 'runs' with it"):
        tables_so_far(plan)
    plan.folder.kept(other).unlink()
    shutil.rmtree(plan.folder.run(other))
    assert tables_so_far(plan).tables[0].done == 7


def test_one_kind_is_fine_and_the_fingerprint_is_kept(plan):
    for run in plan.runs.values():
        write(run, plan.folder.run(run), data="a" * 16)
    assert tables_so_far(plan).tables[0].done == 8
    kept = (plan.folder.path / "results").glob("*.json")
    assert {json.loads(path.read_text())["data"] for path in kept} == {"a" * 16}


def test_other_data_are_refused_before_anything_is_trained(plan, tmp_path):
    photos = tmp_path / "photos"
    write_folder(photos, pictures()[0])
    here = fingerprint(load("folder", photos))
    first = next(iter(plan.runs.values()))
    write(first, plan.folder.run(first), data="a" * 16)
    tables_so_far(plan)
    with pytest.raises(FileError, match=rf"\(a{{16}}\) than .*photos.*\({here}\).*another --out"):
        run_tables([5], "mini", data=photos, out=tmp_path / "out", seeds=1)
    assert not list((tmp_path / "out" / "runs").glob("*/checkpoint*"))[1:]

    write(first, plan.folder.run(first), data=here)
    plan.folder.kept(first).unlink()
    tables_so_far(plan)
    see_same(plan.runs, plan.folder, photos, skip_bad=False)


def test_data_that_are_missing_stop_their_own_runs_only(tmp_path, monkeypatch):
    """Before, table 5 was done on CIFAR-10, which is not there any more; others are still to do."""
    plan = plan_tables([5, 6], "paper", out=tmp_path / "out", seeds=2)
    first = next(iter(plan.runs.values()))
    write(first, plan.folder.run(first), data="a" * 16)
    tables_so_far(plan)
    (tmp_path / "data" / "cifar-100-binary").mkdir(parents=True)
    photos = load("folder", write_folder(tmp_path / "photos", pictures()[0]))
    monkeypatch.setattr(session, "open_data", lambda run, path, skip_bad: photos)  # of CIFAR-100
    see_same(plan.runs, plan.folder, tmp_path / "data", skip_bad=False)
    found = run_tables(
        [5, 6], "paper", data=tmp_path / "data", out=tmp_path / "out", seeds=2, train=Trainer()
    )
    assert {run.split("-")[0] for run in found.failed} == {"cifar10"}
    assert all("holds no data for 'cifar10'" in reason for reason in found.failed.values())
    assert found.tables[1].done == found.tables[1].runs


@pytest.mark.parametrize("protocol", ["paper", "mini"])
def test_where_no_data_can_be_opened_nothing_is_begun(protocol, tmp_path):
    cut = tmp_path / "photos.zip"
    cut.write_bytes(b"PK\x03\x04")
    with pytest.raises(FileError, match="--protocol mini" if protocol == "paper" else "cut off"):
        run_tables([5], protocol, data=cut, out=tmp_path / "out", seeds=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "told"), [({"threads": 0}, "threads=0"), ({"device": "gpu"}, "device='gpu' cannot")]
)
def test_a_machine_that_can_do_no_run_is_told_once(options, told, tmp_path):
    photos = write_folder(tmp_path / "photos", pictures()[0])
    with pytest.raises(InputError, match=told):
        run_tables([5], "mini", data=photos, out=tmp_path / "out", seeds=1, **options)
    assert not (tmp_path / "out").exists()


def test_a_trainer_of_ones_own_opens_its_own_data(plan, tmp_path):
    (tmp_path / "photos.zip").write_bytes(b"PK")
    options = {"data": tmp_path / "photos.zip", "out": tmp_path / "out", "seeds": 1}
    run_tables([5], "mini", train=Trainer(), **options)
    assert tables_so_far(plan).tables[0].done == 8
