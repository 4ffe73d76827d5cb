"""Test the grids, run ids and runs of the tables."""

from __future__ import annotations

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from support.paths import ROOT  # noqa: E402
from support.tables_runs import Trainer, write  # noqa: E402

import gspnl  # noqa: E402
from gspnl import nn as gnn  # noqa: E402
from gspnl.errors import FileError, InputError  # noqa: E402
from gspnl.train.recipes import Recipe  # noqa: E402
from gspnl.train.run import lock  # noqa: E402
from gspnl.train.tables import (  # noqa: E402
    GRIDS,
    PROTOCOLS,
    existing,
    plan_tables,
    run_tables,
    tables_so_far,
)
from gspnl.train.tables.grid import (  # noqa: E402
    plain,
    run_id,
    without_block,
)

PAPER, MINI = PROTOCOLS["paper"], PROTOCOLS["mini"]


def by_block(grid, group=None):
    return {row.block: row for row in grid.rows if group in (None, row.group)}


# --- grids ---------------------------------------------------------------------------------------


def test_every_grid_exists_in_both_protocols():
    assert set(GRIDS) == {*"23456789", "parameters", "orders", "depth"}
    for protocol in PROTOCOLS:
        for name in GRIDS:
            grid = GRIDS[name](protocol)
            assert grid.name == name
            assert grid.rows[0].recipe.block is None, "the backbone comes first"
            assert len({run_id(row.recipe) for row in grid.rows}) == len(grid.rows)


@pytest.mark.parametrize("protocol", ["paper", "mini"])
def test_every_block_of_every_grid_can_be_created(protocol):
    for name in GRIDS:
        for row in GRIDS[name](protocol).rows:
            if row.recipe.block is None:
                continue
            inner = {} if "match" in row.recipe.block_options else {"inner": 4}
            units = row.recipe.units or 1
            block = gnn.create(
                row.recipe.block, 8, units=units, **inner, **row.recipe.block_options
            )
            assert len(block.stages) == units


def test_the_paper_protocol_has_the_papers_data_and_backbones():
    expected = {
        "2": {("cifar100", "preresnet56")},
        "3": {("cifar100", "preresnet56")},
        "4": {("cifar100", "preresnet56")},
        "5": {("cifar10", "preresnet20"), ("cifar10", "resnet50")},
        "6": {("cifar100", "preresnet56")},
        "7": {("cifar100", "resnet50")},
    }
    for name, settings in expected.items():
        rows = GRIDS[name]("paper").rows
        assert {(row.recipe.data, row.recipe.backbone) for row in rows} == settings
    assert {row.recipe.data for row in GRIDS["8"]("paper").rows} == {"ucf101"}
    cub = GRIDS["9"]("paper").rows[0].recipe
    assert (cub.data, cub.backbone, cub.pretrained) == ("cub200", "resnet50", "resnet50.pth")


def test_the_mini_protocol_is_one_network_on_one_folder():
    for name in GRIDS:
        for row in GRIDS[name]("mini").rows:
            assert (row.recipe.data, row.recipe.backbone) == ("folder", "preresnet20")
    names = ["backbone", "linear", "nl", "ns", "cgnl", "a2", "snl", "gsnl"]
    assert list(by_block(GRIDS["5"]("mini"))) == names
    for name in "34":
        assert set(by_block(GRIDS[name]("mini"))) == {"backbone", "nl", "ns", "snl", "gsnl"}


def test_the_conditions_of_each_table():
    widths = [row.recipe.reduction for row in GRIDS["2"]("paper").rows if row.block == "snl"]
    assert widths == [1, 2, 4]
    places = [row.recipe.place for row in GRIDS["3"]("paper").rows if row.block == "nl"]
    assert places == ["stage1", "stage2", "stage3"]
    rows = [row.recipe for row in GRIDS["4"]("mini").rows if row.block == "gsnl"]
    assert [(r.place, r.units) for r in rows] == [("dp3", None), ("stage1", 3), ("stage1", 5)]
    assert by_block(GRIDS["7"]("paper"))["snl"].recipe.place == "res4"
    units = [row.recipe.units for row in GRIDS["depth"]("mini").rows if row.block == "snl"]
    assert units == [None, 2, 3, 4, 5, 6, 7, 8, 9]
    orders = [row.recipe.block_options.get("order") for row in GRIDS["orders"]("mini").rows]
    assert orders == [None, None, 1, 2, 3, 4, None]


def test_nl_and_ns_have_the_dot_product_kernel():
    for name in GRIDS:
        for row in GRIDS[name]("paper").rows:
            if row.block in ("nl", "ns"):
                options = row.recipe.block_options
                assert (options["kernel"], options["normalization"]) == ("dot", "softmax")


def test_blocks_of_the_parameters_control_have_similar_sizes():
    sizes = {}
    for row in GRIDS["parameters"]("mini").rows[1:]:
        block = gnn.create(row.recipe.block, 16, **row.recipe.block_options)
        sizes[row.block] = sum(p.numel() for p in block.parameters())
    # The inner width is a whole number; a step of it is at most 100 parameters here.
    assert max(sizes.values()) - min(sizes.values()) <= 50
    plain_sizes = {
        name: sum(p.numel() for p in gnn.create(name, 16).parameters()) for name in sizes
    }
    assert max(plain_sizes.values()) - min(plain_sizes.values()) > 200  # what is controlled for


# --- names of runs -------------------------------------------------------------------------------


def test_equal_rows_of_several_tables_share_a_run():
    def keys(name):
        return {run_id(row.recipe) for row in GRIDS[name]("mini").rows}

    stage1 = {run_id(r.recipe) for r in GRIDS["3"]("mini").rows if r.group in ("", "stage 1")}
    assert stage1 <= keys("5")
    half = {run_id(r.recipe) for r in GRIDS["2"]("mini").rows if r.group in ("", "Cs = C1/2")}
    assert half <= keys("5")
    deep = {run_id(r.recipe) for r in GRIDS["4"]("mini").rows if r.group in ("SP3", "SP5")}
    assert deep <= keys("depth")
    assert keys("6") == keys("7") == keys("8") == keys("9") == keys("5")
    runs = plan_tables(["5", "3", "4"], "mini", out="x", seeds=3).runs
    assert len(runs) == 3 * (8 + 8 + 12)
    assert len(plan_tables(["5", "9"], "mini", out="x").runs) == 3 * 8


def test_different_recipes_have_different_run_ids():
    base = Recipe(block="snl", place="stage1")
    assert run_id(base).startswith("cifar10-preresnet20-snl-stage1-s0-")
    changed = [
        replace(base, seed=1),
        replace(base, epochs=7),
        replace(base, block="nl"),
        replace(base, units=3),
        replace(base, reduction=4),
        replace(base, block_options={"order": 2}),
        replace(base, backbone_options={"stem": "imagenet"}),
        replace(base, augmentation=()),
    ]
    assert len({run_id(recipe) for recipe in [base, *changed]}) == 1 + len(changed)
    # Kept results are found by these names: they must not change.
    assert run_id(Recipe()) == "cifar10-preresnet20-alone-s0-44136fa3"
    assert plain(base) == json.loads(json.dumps(plain(base)))


def test_runs_go_seed_by_seed_with_backbones_first():
    runs = list(plan_tables(["3"], "mini", out="x", seeds=2, seed=5).runs.values())
    assert [run.seed for run in runs] == [5] * 13 + [6] * 13
    assert runs[0].block is None
    assert runs[13].block is None


def test_without_block_resets_all_fields_of_the_block():
    recipe = Recipe(block="nl", place="dp3", units=3, reduction=4, block_options={"order": 1})
    assert without_block(recipe) == Recipe()


def test_a_page_of_nothing_makes_each_recipe_once_in_few_calls(tmp_path, monkeypatch):
    recipes, calls, package = [], [], str(Path(gspnl.__file__).parent)
    initialise = Recipe.__init__

    def count(recipe, *given, **fields):
        recipes.append(fields)
        initialise(recipe, *given, **fields)

    def profile(frame, event, argument):
        if event == "call" and frame.f_code.co_filename.startswith(package):
            calls.append(frame.f_code.co_name)

    tables_so_far(plan_tables([5], "mini", out=tmp_path / "imports"))
    monkeypatch.setattr(Recipe, "__init__", count)
    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        tables_so_far(plan_tables([5], "mini", out=tmp_path / "out", seeds=3))
    finally:
        sys.setprofile(before)
    assert len(recipes) <= 24
    assert len(calls) <= 5000


def test_results_are_recognised_after_a_value_of_a_field_is_renamed(tmp_path, monkeypatch):
    script = runpy.run_path(str(ROOT / "docs" / "results" / "rename_fields.py"))
    plan = plan_tables([5], "mini", out=tmp_path, seeds=1)
    name, run = next(iter(plan.runs.items()))
    write(run, plan.folder.run(name))
    plan.folder.keep(name, run)
    text = plan.folder.kept(name).read_text().replace(f'"{run.schedule}"', '"former"')
    former = plan.folder.kept("former")
    former.write_text(text)
    plan.folder.kept(name).unlink()
    monkeypatch.setattr(
        sys, "argv", ["", str(tmp_path), "--value", "schedule", "former", run.schedule]
    )
    script["main"]()
    assert plan.folder.result(name)["recipe"]["schedule"] == run.schedule
    assert not former.exists()


def test_a_result_file_is_parsed_once(tmp_path, data, monkeypatch):
    run_tables([5, 3], "mini", data=data, out=tmp_path, seeds=1, train=Trainer())
    existing.parsed.cache_clear()
    parsed = []
    monkeypatch.setattr(
        existing.json, "loads", lambda text, **_: parsed.append(text) or loads(text)
    )
    loads = json.JSONDecoder().decode
    found = tables_so_far(plan_tables([5, 3], "mini", out=tmp_path, seeds=1))
    assert [table.done for table in found.tables] == [8, 13]
    assert len(parsed) == len(set(parsed)) == 16


# --- running -------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "photos.zip"
    path.write_bytes(b"PK")
    return path


def test_finished_runs_are_not_repeated(tmp_path, data):
    trainer, out = Trainer(), tmp_path / "out"
    found = run_tables([5], "mini", data=data, out=out, seeds=2, train=trainer)
    assert len(trainer.asked) == 16
    assert {given for _, given, _, _ in trainer.asked} == {data}
    assert all(resume for *_, resume in trainer.asked)
    assert found.tables[0].done == found.tables[0].runs == 16
    run_tables([5, 9], "mini", data=data, out=out, seeds=2, train=trainer)
    assert len(trainer.asked) == 16
    # A further seed is all that is missing.
    run_tables([5], "mini", data=data, out=out, seeds=3, train=trainer)
    assert len(trainer.asked) == 24


def test_kept_results_can_be_copied_to_another_machine(tmp_path, data):
    trainer = Trainer()
    run_tables([5], "mini", data=data, out=tmp_path / "a", seeds=1, train=trainer)
    kept = sorted((tmp_path / "a" / "results").iterdir())
    assert len(kept) == 8
    other = tmp_path / "b" / "results"
    other.mkdir(parents=True)
    for path in kept[:6]:
        (other / path.name).write_bytes(path.read_bytes())
    again = Trainer()
    found = run_tables([5], "mini", data=data, out=tmp_path / "b", seeds=1, train=again)
    assert len(again.asked) == 2
    assert found.tables[0].done == 8
    numbers = json.loads(kept[0].read_text())
    assert numbers["skipped"] == 1
    assert len(numbers["metrics"]) == numbers["epochs"]
    assert str(tmp_path) not in "".join(path.read_text() for path in kept)


def test_an_interrupted_table_resumes(tmp_path, data):
    out = tmp_path / "out"
    stopped = Trainer(stop_after=3)
    with pytest.raises(KeyboardInterrupt):
        run_tables([5], "mini", data=data, out=out, seeds=1, train=stopped)
    assert "not run yet" in (out / "README.md").read_text()
    plan = plan_tables([5], "mini", out=out, seeds=1)
    epochs = MINI.recipe("cifar10-preresnet20").epochs
    assert list(plan.progress().states.values())[:5] == [
        *["done"] * 3, f"{epochs - 1} of {epochs} epochs", "to do",
    ]  # fmt: skip
    again = Trainer()
    run_tables([5], "mini", data=data, out=out, seeds=1, train=again)
    assert len(again.asked) == 5


def test_a_finished_run_folder_counts_without_kept_results(tmp_path, data):
    """As after a kill between the end of training and the copy of the result."""
    out = tmp_path / "out"
    plan = plan_tables([5], "mini", out=out, seeds=1)
    for name, run in plan.runs.items():
        write(run, plan.folder.run(name))
    found = tables_so_far(plan)
    assert found.tables[0].done == 8
    assert len(list((out / "results").iterdir())) == 8


def test_failures_are_logged_and_do_not_stop_the_rest(tmp_path, data, caplog):
    trainer = Trainer(fail=("nl",))
    with caplog.at_level("INFO", "gspnl"):
        found = run_tables([5], "mini", data=data, out=tmp_path / "out", seeds=2, train=trainer)
    assert len(trainer.asked) == 16
    assert found.tables[0].done == 14
    assert set(found.failed.values()) == {"the loss is not finite"}
    assert len(found.failed) == 2
    assert sum("failed: the loss is not finite" in line for line in caplog.messages) == 2
    page = (tmp_path / "out" / "README.md").read_text()
    assert "NL, seed 0 failed: the loss is not finite" in page
    mended = run_tables([5], "mini", data=data, out=tmp_path / "out", seeds=2, train=Trainer())
    assert not mended.failed
    assert mended.tables[0].done == 16
    assert not list((tmp_path / "out" / "failed").iterdir())


def test_runs_locked_by_another_process_are_skipped(tmp_path, data, caplog):
    trainer, out = Trainer(), tmp_path / "out"

    def train(recipe, **given):
        if recipe.block == "snl":
            given["out"].mkdir(parents=True, exist_ok=True)
            with lock(given["out"]), lock(given["out"]):  # as if another process held it
                pass
        return trainer(recipe, **given)

    with caplog.at_level("INFO", "gspnl"):
        found = run_tables([5], "mini", data=data, out=out, seeds=1, train=train)
    assert found.failed == {}
    assert found.tables[0].done == 7
    assert sum("snl" in line and "another process" in line for line in caplog.messages) == 1
    run_tables([5], "mini", data=data, out=out, seeds=1, train=trainer)
    assert len(trainer.asked) == 8


def test_only_runs_the_named_blocks_and_backbones(tmp_path, data):
    trainer = Trainer()
    options = {"data": data, "out": tmp_path / "out", "seeds": 1, "train": trainer}
    run_tables([5], "mini", only=["snl"], **options)
    assert [recipe.block for recipe, *_ in trainer.asked] == [None, "snl"]
    plan = plan_tables([5], "mini", out=tmp_path / "out", seeds=1, only=["snl", "nl"])
    assert plan.progress().left.startswith("2 of 3 runs done")
    with pytest.raises(InputError, match="only='snll' is no block of these tables; take some of"):
        run_tables([5], "mini", only=["snll"], **options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "is no result of a run"),
        ({"test_accuracy": None}, "test_accuracy=None must be a finite number ≥ 0 and ≤ 1"),
        ({"test_accuracy": 74.0}, "test_accuracy=74.0 must be"),
        ({"flops": float("nan")}, "NaN is no number of JSON"),
        ({"parameters": True}, "parameters=True must be"),
        ({"recipe": {"block": "ns"}}, "of another recipe"),
    ],
)
def test_damaged_results_raise_with_the_name_of_the_file(tmp_path, data, content, message):
    plan = plan_tables([5], "mini", out=tmp_path, seeds=1)
    name, run = next(iter(plan.runs.items()))
    path = plan.folder.kept(name)
    if isinstance(content, dict):
        write(run, plan.folder.run(name))
        plan.folder.keep(name, run)
        content = json.dumps({**json.loads(path.read_text()), **content})
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    with pytest.raises(FileError, match=message) as caught:
        plan.tables()
    assert path.name in str(caught.value)


def test_a_run_folder_of_another_recipe_fails(tmp_path, data):
    plan = plan_tables([5], "mini", out=tmp_path, seeds=1)
    first, second, *_ = plan.runs
    write(plan.runs[second], plan.folder.run(first))
    found = run_tables([5], "mini", data=data, out=tmp_path, seeds=1, train=Trainer())
    assert list(found.failed) == [first]
    assert "is of another recipe" in found.failed[first]


# --- paths of data -------------------------------------------------------------------------------


def test_missing_data_of_the_paper_are_named(tmp_path):
    with pytest.raises(InputError) as caught:
        run_tables(protocol="paper", data=None, out=tmp_path / "out", train=Trainer())
    for name in ("cifar-10-batches-bin", "cifar-100-binary", "CUB_200_2011", "UCF-101",
                 "resnet50.pth"):  # fmt: skip
        assert name in str(caught.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(FileError, match="does not exist"):
        run_tables([5], "mini", data=tmp_path / "no.zip", out=tmp_path / "out", train=Trainer())
    (tmp_path / "data" / "cifar-10-batches-py").mkdir(parents=True)
    trainer = Trainer()
    found = run_tables(
        [5, 6], "paper", data=tmp_path / "data", out=tmp_path / "out", seeds=1, train=trainer
    )
    assert {given.name for _, given, _, _ in trainer.asked} == {"cifar-10-batches-py"}
    assert found.tables[0].done == 16
    assert len(found.failed) == 8
    assert all("'cifar-100-binary'" in reason for reason in found.failed.values())


def test_pretrained_weights_are_read_beside_the_data(tmp_path):
    (tmp_path / "CUB_200_2011").mkdir()
    options = {"data": tmp_path, "out": tmp_path / "out", "seeds": 1}
    found = run_tables([9], "paper", only=["snl"], train=Trainer(), **options)
    assert all("'resnet50.pth' is missing" not in reason for reason in found.failed.values())
    assert all("resnet50.pth" in reason for reason in found.failed.values())
    (tmp_path / "resnet50.pth").write_bytes(b"")
    trainer = Trainer()
    found = run_tables([9], "paper", only=["snl"], train=trainer, **options)
    assert not found.failed
    # The recipe has the name, and the machine the place: a folder that is moved goes on.
    assert {recipe.pretrained for recipe, *_ in trainer.asked} == {"resnet50.pth"}
    assert set(trainer.weights) == {tmp_path / "resnet50.pth"}
    kept = (tmp_path / "out" / "results").iterdir()
    assert {json.loads(path.read_text())["recipe"]["pretrained"] for path in kept} == {
        "resnet50.pth"
    }


def test_the_folder_of_one_data_set_is_accepted(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    trainer = Trainer()
    run_tables([5], data=folder, out=tmp_path / "out", seeds=1, only=["nl"], train=trainer)
    assert {given for _, given, _, _ in trainer.asked} == {folder}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tables": ["10"]}, "unknown table '10'"),
        ({"tables": ["order"]}, "did you mean 'orders'"),
        ({"protocol": "papre"}, "did you mean 'paper'"),
        ({"seeds": 0}, "seeds=0 must be a whole number from 1 to 10000"),
        ({"seeds": 2.0}, r"seeds=2.0 must be"),
        ({"seed": -1}, "seed=-1 must be"),
    ],
)
def test_invalid_arguments_raise(change, message):
    with pytest.raises(InputError, match=message):
        plan_tables(**{"tables": ["5"], "protocol": "mini", "out": "x", **change})


def test_tables_default_to_those_of_the_protocol():
    names = [grid.name for grid in plan_tables(protocol="mini", out="x").grids]
    assert sorted(names) == ["2", "3", "4", "5"]
    assert sorted(g.name for g in plan_tables(out="x").grids) == list("23456789")
    assert [grid.name for grid in plan_tables(5, "mini", out="x").grids] == ["5"]
    assert PAPER.tables == tuple(g.name for g in plan_tables(out="x").grids)
