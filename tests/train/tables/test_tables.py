"""Grids of the tables: what is compared, and which runs are one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from support.tables_runs import Trainer, write  # noqa: E402

from gspnl import nn as gnn  # noqa: E402
from gspnl.errors import FileError, InputError  # noqa: E402
from gspnl.train.recipes import Recipe  # noqa: E402
from gspnl.train.run import lock  # noqa: E402
from gspnl.train.tables import GRIDS, PROTOCOLS, plan_tables, run_tables, tables_so_far  # noqa: E402
from gspnl.train.tables.base import bare  # noqa: E402
from gspnl.train.tables.keys import key, plain  # noqa: E402

PAPER, MINI = PROTOCOLS["paper"], PROTOCOLS["mini"]


def by_block(grid, group=None):
    return {row.block: row for row in grid.rows if group in (None, row.group)}


# --- grids ----------------------------------------------------------------------------------------


def test_every_grid_stands_for_both_protocols():
    assert set(GRIDS) == {*"23456789", "parameters", "orders", "depth"}
    for protocol in PROTOCOLS:
        for name in GRIDS:
            grid = GRIDS[name](protocol)
            assert grid.name == name
            assert grid.rows[0].recipe.block is None, "the backbone comes first"
            assert len({key(row.recipe) for row in grid.rows}) == len(grid.rows)


@pytest.mark.parametrize("protocol", ["paper", "mini"])
def test_every_block_of_every_grid_can_be_made(protocol):
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


def test_the_paper_has_its_data_backbones_and_schedules():
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


def test_mini_is_one_network_on_one_folder():
    for name in GRIDS:
        for row in GRIDS[name]("mini").rows:
            assert (row.recipe.data, row.recipe.backbone) == ("folder", "preresnet20")
    names = ["backbone", "linear", "nl", "ns", "cgnl", "a2", "snl", "gsnl"]
    assert list(by_block(GRIDS["5"]("mini"))) == names
    for name in "34":
        assert set(by_block(GRIDS[name]("mini"))) == {"backbone", "nl", "ns", "snl", "gsnl"}


def test_conditions():
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


def test_equal_parameters_are_equal():
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


# --- names of runs --------------------------------------------------------------------------------


def test_equal_cells_of_several_tables_are_one_run():
    def keys(name):
        return {key(row.recipe) for row in GRIDS[name]("mini").rows}

    stage1 = {key(r.recipe) for r in GRIDS["3"]("mini").rows if r.group in ("", "stage 1")}
    assert stage1 <= keys("5")
    half = {key(r.recipe) for r in GRIDS["2"]("mini").rows if r.group in ("", "Cs = C1/2")}
    assert half <= keys("5")
    deep = {key(r.recipe) for r in GRIDS["4"]("mini").rows if r.group in ("SP3", "SP5")}
    assert deep <= keys("depth")
    assert keys("6") == keys("7") == keys("8") == keys("9") == keys("5")
    runs = plan_tables(["5", "3", "4"], "mini", out="x", seeds=3).runs
    assert len(runs) == 3 * (8 + 8 + 12)
    assert len(plan_tables(["5", "9"], "mini", out="x").runs) == 3 * 8


def test_keys_tell_recipes_apart_and_read_well():
    base = Recipe(block="snl", place="stage1")
    assert key(base).startswith("cifar10-preresnet20-snl-stage1-s0-")
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
    assert len({key(recipe) for recipe in [base, *changed]}) == 1 + len(changed)
    # Kept results are found by these names: they must not change.
    assert key(Recipe()) == "cifar10-preresnet20-alone-s0-44136fa3"
    assert plain(base) == json.loads(json.dumps(plain(base)))


def test_backbones_come_first_and_seeds_one_by_one():
    runs = list(plan_tables(["3"], "mini", out="x", seeds=2, seed=5).runs.values())
    assert [run.seed for run in runs] == [5] * 13 + [6] * 13
    assert runs[0].block is None
    assert runs[13].block is None


def test_the_baseline_forgets_the_block():
    recipe = Recipe(block="nl", place="dp3", units=3, reduction=4, block_options={"order": 1})
    assert bare(recipe) == Recipe()


# --- running --------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "photos.zip"
    path.write_bytes(b"PK")
    return path


def test_a_table_runs_once(tmp_path, data):
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


def test_kept_numbers_go_to_another_machine(tmp_path, data):
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


def test_a_stop_loses_nothing(tmp_path, data):
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


def test_killed_between_result_and_copy(tmp_path, data):
    """A run folder that is finished counts, though nothing was copied yet."""
    out = tmp_path / "out"
    plan = plan_tables([5], "mini", out=out, seeds=1)
    for run in plan.runs.values():
        write(run, plan.folder.run(run))
    found = tables_so_far(plan)
    assert found.tables[0].done == 8
    assert len(list((out / "results").iterdir())) == 8


def test_failures_are_told_and_do_not_stop_the_rest(tmp_path, data):
    trainer, said = Trainer(fail=("nl",)), []
    found = run_tables(
        [5], "mini", data=data, out=tmp_path / "out", seeds=2, train=trainer, say=said.append
    )
    assert len(trainer.asked) == 16
    assert found.tables[0].done == 14
    assert set(found.failed.values()) == {"the loss is not finite"}
    assert len(found.failed) == 2
    assert sum("failed: the loss is not finite" in line for line in said) == 2
    page = (tmp_path / "out" / "README.md").read_text()
    assert "NL, seed 0 failed: the loss is not finite" in page
    mended = run_tables([5], "mini", data=data, out=tmp_path / "out", seeds=2, train=Trainer())
    assert not mended.failed
    assert mended.tables[0].done == 16
    assert not list((tmp_path / "out" / "failed").iterdir())


def test_what_another_process_is_at_is_passed_by(tmp_path, data):
    trainer, out, said = Trainer(), tmp_path / "out", []

    def train(recipe, **given):
        if recipe.block == "snl":
            given["out"].mkdir(parents=True, exist_ok=True)
            with lock(given["out"]), lock(given["out"]):  # as if another process held it
                pass
        return trainer(recipe, **given)

    found = run_tables([5], "mini", data=data, out=out, seeds=1, train=train, say=said.append)
    assert found.failed == {}
    assert found.tables[0].done == 7
    assert sum("snl" in line and "another process" in line for line in said) == 1
    run_tables([5], "mini", data=data, out=out, seeds=1, train=trainer)
    assert len(trainer.asked) == 8


def test_only_some_blocks(tmp_path, data):
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
        ({"test_accuracy": None}, "'test_accuracy' is None, not a number"),
        ({"test_accuracy": 74.0}, r"not a share in \[0, 1\]"),
        ({"flops": float("nan")}, "'flops' is nan"),
        ({"parameters": True}, "'parameters' is True"),
        ({"recipe": {"block": "ns"}}, "of another recipe"),
    ],
)
def test_damaged_results_are_named(tmp_path, data, content, message):
    plan = plan_tables([5], "mini", out=tmp_path, seeds=1)
    run = next(iter(plan.runs.values()))
    if isinstance(content, dict):
        write(run, plan.folder.run(run))
        plan.folder.keep(run)
        path = plan.folder.kept(run)
        content = json.dumps({**json.loads(path.read_text()), **content})
    path = plan.folder.kept(run)
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    with pytest.raises(FileError, match=message) as caught:
        plan.tables()
    assert path.name in str(caught.value)


def test_a_run_of_another_recipe_is_a_failure(tmp_path, data):
    plan = plan_tables([5], "mini", out=tmp_path, seeds=1)
    first, second, *_ = plan.runs.values()
    write(second, plan.folder.run(first))
    found = run_tables([5], "mini", data=data, out=tmp_path, seeds=1, train=Trainer())
    assert list(found.failed) == [key(first)]
    assert "is of another recipe" in found.failed[key(first)]


# --- where data are -------------------------------------------------------------------------------


def test_the_papers_data_are_found_or_asked_for(tmp_path):
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


def test_pretrained_weights_lie_with_the_data(tmp_path):
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


def test_the_folder_of_a_data_set_itself_will_do(tmp_path):
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
        ({"seeds": 0}, "seeds=0 must be a whole number ≥ 1"),
        ({"seeds": 2.0}, r"seeds=2.0 must be"),
        ({"seed": -1}, "seed=-1 must be"),
    ],
)
def test_wrong_arguments(change, message):
    with pytest.raises(InputError, match=message):
        plan_tables(**{"tables": ["5"], "protocol": "mini", "out": "x", **change})


def test_no_tables_are_those_of_the_protocol():
    names = [grid.name for grid in plan_tables(protocol="mini", out="x").grids]
    assert sorted(names) == ["2", "3", "4", "5"]
    assert sorted(g.name for g in plan_tables(out="x").grids) == list("23456789")
    assert [grid.name for grid in plan_tables(5, "mini", out="x").grids] == ["5"]
    assert PAPER.tables == tuple(g.name for g in plan_tables(out="x").grids)
