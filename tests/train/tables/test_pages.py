"""Test the statistics, pages and command of the tables."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch")

from support import tables_runs  # noqa: E402
from support.tables_runs import Trainer, accuracy  # noqa: E402

from gspnl import cli  # noqa: E402
from gspnl.cli.tables import overview  # noqa: E402
from gspnl.errors import FileError, InputError  # noqa: E402
from gspnl.train.recipes import Recipe  # noqa: E402
from gspnl.train.tables import plan_tables, run_tables, tables_so_far  # noqa: E402
from gspnl.train.tables.columns import reported, scaled, signed  # noqa: E402
from gspnl.train.tables.grid import LABELS, Grid, Row, Statement  # noqa: E402
from gspnl.train.tables.pages import LATEX, as_json, latex, markdown  # noqa: E402
from gspnl.train.tables.plan import duration  # noqa: E402
from gspnl.train.tables.statistics import difference, paired, spread  # noqa: E402
from gspnl.train.tables.table import Line, Table, answer, answers  # noqa: E402


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "photos.zip"
    path.write_bytes(b"PK")
    return path


def tables(tmp_path, data, names=(5,), seeds=3, **options):
    options = {"train": Trainer(), **options}
    return run_tables(names, "mini", data=data, out=tmp_path / "out", seeds=seeds, **options)


# --- statistics ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_intervals_equal_those_of_a_paired_t_test(n):
    rng = np.random.default_rng(n)
    base, ours = rng.normal(74, 1, n), rng.normal(74.5, 1, n)
    found = difference(list(ours - base))
    test = stats.ttest_rel(ours, base)
    wanted = test.confidence_interval(0.95)
    assert found.mean == pytest.approx(np.mean(ours - base), rel=1e-12)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), rel=1e-9)
    # The interval leaves out 0 exactly where the test rejects at 5 %.
    assert (found.reading == "inside the noise") == (test.pvalue >= 0.05)


def test_interval_against_a_calculation_by_hand():
    # t for 2 degrees of freedom at 97.5 % is 4.302653; sd of (1, 2, 3) is 1.
    found = difference([1.0, 2.0, 3.0])
    half = 4.302653 / math.sqrt(3)
    # The table's t has seven digits.
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), rel=1e-6)
    assert found.reading == "inside the noise"  # 2 ± 2.48
    assert difference([1.9, 2.0, 2.1]).reading == "above"
    assert difference([-1.9, -2.0, -2.1]).reading == "below"
    assert difference([1.0, 2.0, 3.0], level=0.5).reading == "above"


def test_one_seed_has_no_interval():
    found = difference([0.7])
    assert (found.mean, found.low, found.high) == (0.7, None, None)
    assert found.reading == "one seed"
    assert spread([74.0]) == (74.0, None)


@pytest.mark.parametrize("base", [(73.05, 71.45), (73.05, 73.05), (73.15, 71.45)])
def test_equal_differences_have_no_interval(base):
    """Two seeds, each with 11 images less: a zero deviation is chance, not precision."""
    pairs = [(each - 0.55) - each for each in base]  # equal but for rounding
    found = difference(pairs)
    assert (found.low, found.high, found.reading) == (None, None, "no spread")
    assert found.mean == pytest.approx(-0.55)
    assert difference([0.0, 0.0, 0.0]).reading == "no spread"
    assert difference([0.5, 0.5, 0.55]).low is not None  # one image of 2,000 tells them apart


def test_differences_are_paired_by_seed():
    assert paired({0: 5.0, 2: 7.0, 3: 1.0}, {0: 4.0, 1: 9.0, 2: 7.5}) == {0: 1.0, 2: -0.5}


@pytest.mark.parametrize(
    ("pairs", "level", "message"),
    [
        ([], 0.95, "there are no values"),
        ([1.0, math.nan], 0.95, "must be finite"),
        ([1.0, math.inf], 0.95, "must be finite"),
        ([1.0], 1.0, "level=1.0 must be a finite number > 0 and < 1"),
        ([1.0], 95, "level=95"),
    ],
)
def test_invalid_pairs_and_levels_raise(pairs, level, message):
    with pytest.raises(InputError, match=message):
        difference(pairs, level)


def test_a_table_has_the_numbers_of_its_runs(tmp_path, data):
    (table,) = tables(tmp_path, data).tables
    backbone = np.array([100 * accuracy(table.lines[0].row.run(seed)) for seed in range(3)])
    for line in table.lines:
        own = np.array([100 * accuracy(line.row.run(seed)) for seed in range(3)])
        mean, sd = line.accuracy
        # Percentages of four-digit shares: rounding only.
        assert (mean, sd) == pytest.approx((own.mean(), own.std(ddof=1)), rel=1e-9)
        if line.row.recipe.block is None:
            assert line.difference is None
            continue
        wanted = stats.ttest_rel(own, backbone).confidence_interval(0.95)
        found = line.difference
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-9)
        assert line.parameters == 272_474 + 672
        assert line.images_per_second == pytest.approx(701.0)


def test_statements_of_the_paper_are_compared_with_the_same_quantity(tmp_path, data):
    table = tables(tmp_path, data, [3]).tables[0]
    lines = {(line.row.block, line.row.group): line for line in table.lines}
    stages = ("stage 1", "stage 2", "stage 3")

    def mean_over_stages(block):
        return [np.mean([lines[block, s].differences[seed] for s in stages]) for seed in range(3)]

    snl, other, first = answers(table)
    assert (snl.label, snl.statement.value) == ("SNL", 0.81)
    assert snl.difference.pairs == pytest.approx(mean_over_stages("snl"))
    means = {f"{b.upper()}, {s}": lines[b, s].difference.mean for b in ("nl", "ns") for s in stages}
    assert other.difference.mean == max(means.values()) == means[other.label]
    assert first.difference.mean == lines["nl", "stage 1"].difference.mean


def test_means_over_conditions_use_seeds_with_all_conditions(tmp_path, data):
    class Partly(Trainer):
        def __call__(self, recipe, **options):
            if recipe.seed == 1 and recipe.place == "stage3":
                raise RuntimeError("no")
            return super().__call__(recipe, **options)

    table = tables(tmp_path, data, [3], train=Partly()).tables[0]
    assert len(answers(table)[0].difference.pairs) == 2


def line(block, group, differences, seeds=(0, 1, 2)):
    """A row with these differences to a backbone of 74 %."""
    row = Row(group, LABELS[block], Recipe(block=block, place=group or None))
    ours = {seed: 74 + points for seed, points in differences.items()}
    return Line(row, seeds, ours, differences)


def table_of(statement, *lines):
    return Table(Grid("", "", "", tuple(line.row for line in lines), (statement,)), lines)


@pytest.mark.parametrize("pool", ["best", "mean"])
def test_the_best_block_is_picked_on_common_seeds(pool):
    """NS has one good seed; NL is better on that seed, though its mean is lower."""
    statement = Statement("the best", 0.3, ("nl", "ns", "a2"), pool=pool)
    lines = [line("nl", "", {0: 1.0, 1: 0.0, 2: -0.1}), line("ns", "", {0: 0.9})]
    found = answer(statement, lines)
    assert (found.label, found.difference.pairs, found.seeds) == ("NL", (1.0,), (0,))
    assert found.without == ()
    none = answer(statement, [*lines, line("a2", "", {})])
    assert (none.label, none.seeds, none.without) == ("NL", (0,), ("A2",))
    (claim,) = reported(table_of(statement, *lines, line("a2", "", {})))
    assert claim == [
        "the best",
        "+0.30",
        "NL (2 of 3 compared)",
        "+1.00",
        "–",
        "one seed",
        "1 of 3",
    ]


def test_the_overview_counts_rows_by_reading_and_seed():
    lines = (
        line("nl", "", {0: 1.0, 1: 1.1, 2: 0.9}),
        line("ns", "", {0: 1.0, 1: -1.0}),
        line("snl", "", {0: -1.0}),
        line("a2", "", {}),
    )
    halves = [stats.t.ppf(0.975, n - 1) * sd / n**0.5 for n, sd in ((3, 0.1), (2, 2**0.5))]
    assert overview([table_of(None, *lines)]) == (
        "3 rows: 1 above, 1 inside the noise, 1 one seed; "
        f"half an interval is {np.median(halves):.2f} points in the median; "
        "above the backbone 2 with seed 0, 1 with seed 1, 1 with seed 2"
    )
    assert overview([table_of(None, lines[-1])]) == "no row has a difference to the backbone yet"


def test_rows_without_a_common_seed_are_not_compared():
    statement = Statement("the best", 0.3, ("nl", "ns"), pool="best")
    lines = (line("nl", "", {0: 1.0}), line("ns", "", {1: 0.9}))
    found = answer(statement, lines)
    assert (found.label, found.difference, found.without) == (None, None, ())
    (claim,) = reported(table_of(statement, *lines))
    assert claim == ["the best", "+0.30", "no seed in common yet", *"––––"]


def test_a_row_has_the_number_of_paired_seeds(tmp_path, data):
    class Partly(Trainer):
        def __call__(self, recipe, **options):
            if (recipe.block, recipe.seed) in ((None, 1), ("nl", 2)):
                raise RuntimeError("no")
            return super().__call__(recipe, **options)

    found = tables(tmp_path, data, train=Partly())
    rows = {row[0]: row for row in grids_of(markdown(found.tables[0]))[0]}
    assert rows["backbone"][5] == "2 of 3, 1 failed"
    assert rows["SNL"][5] == "3 of 3, 2 paired"
    assert rows["NL"][5] == "2 of 3, 1 paired, 1 failed"
    assert rows["NL"][4] == "one seed"
    rows = {row["label"]: row for row in as_json(found)["tables"][0]["rows"]}
    assert (rows["SNL"]["seeds"], rows["SNL"]["paired_seeds"]) == ([0, 1, 2], [0, 2])
    assert rows["NL"]["paired_seeds"] == [0]
    assert as_json(found)["tables"][0]["paper"][1]["seeds"] == [0]


# --- pages ---------------------------------------------------------------------------------------


def grids_of(page):
    """Tables of a page of Markdown, as lists of cells."""
    return [
        [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line[1:-1])]
            for line in part.splitlines()
        ]
        for part in page.split("\n\n")
        if part.startswith("|")
    ]


def test_markdown_has_every_number_of_a_table(tmp_path, data):
    table = tables(tmp_path, data).tables[0]
    page = markdown(table)
    rows, claims = grids_of(page)
    assert len(rows) == 2 + 8
    assert {len(row) for row in rows} == {10}
    mean, sd = table.lines[0].accuracy
    assert rows[2][:5] == ["backbone", f"{mean:.2f} ± {sd:.2f}", "–", "–", "–"]
    assert rows[2][5:] == ["3 of 3", "272,474", "81.2 M", "701", "512"]
    assert claims[2][:2] == ["SNL or gSNL", "+0.65"]
    assert "All 24 runs are done." in page


def test_missing_cells_have_a_reason(tmp_path, data):
    found = tables_so_far(plan_tables([5], "mini", out=tmp_path / "out"))
    page = (tmp_path / "out" / "README.md").read_text()
    assert page.count("not run yet") == 8 + 2
    assert "0 of 24 runs are done." in page
    one = tables(tmp_path, data, seeds=1).tables[0]
    page = markdown(one)
    assert page.count("one seed") == 7 + 2
    assert "95 % interval" in page
    assert found.tables[0].done == 0
    failing = tables(tmp_path, data, seeds=2, train=Trainer(fail=(None,)))
    assert failing.tables[0].lines[0].differences == {}
    fresh = run_tables(
        [5], "mini", data=data, out=tmp_path / "other", seeds=1, train=Trainer(fail=(None,))
    )
    assert markdown(fresh.tables[0]).count("no backbone yet") == 7


def test_the_page_keeps_tables_of_earlier_calls(tmp_path, data):
    tables(tmp_path, data, [5], seeds=1)
    found = tables(tmp_path, data, [3], seeds=1)
    assert [table.grid.name for table in found.tables] == ["3"]
    page = (tmp_path / "out" / "README.md").read_text()
    assert "## Table 3" in page
    assert "## Table 5" in page
    assert "gspnl tables 3 5 --protocol mini --seeds 1" in page


def test_latex_rows_have_every_column_and_are_escaped(tmp_path, data):
    table = tables(tmp_path, data, [2], train=Trainer(fail=("nl",))).tables[0]
    text = latex(table)
    assert text.isascii()
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    for part in text.split(r"\begin")[1:]:
        columns = re.match(r"\{tabular\}\{([lr]+)\}", part)[1]
        lines = [line.strip() for line in part.splitlines() if line.endswith(r"\\")]
        assert lines
        for line in lines:
            assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1
            assert line.startswith("{}")  # a [ after \\ would be a length
            assert not re.search(r"(?<!\\)[%#_~^]", line.replace("$_1$", ""))
    assert r"$\pm$" in text
    assert r"95 \% interval" in text


def test_latex_escapes_special_characters():
    assert "a_b & 5 % {x} #1 $ ^~\\".translate(LATEX) == (
        r"a\_b \& 5 \% \{x\} \#1 \$ \textasciicircum{}\textasciitilde{}\textbackslash{}"
    )


def test_failure_reasons_are_escaped_in_markdown(tmp_path, data):
    class Rude(Trainer):
        def __call__(self, recipe, **options):
            if recipe.block == "nl":
                raise RuntimeError("a | b\n| c <i> *x* _y_ `z`")
            return super().__call__(recipe, **options)

    page = markdown(tables(tmp_path, data, seeds=1, train=Rude()).tables[0])
    assert r"failed: a \| b \| c \<i\> \*x\* \_y\_ \`z\`" in page
    assert {len(row) for row in grids_of(page)[0]} == {10}


def test_tables_json_has_the_returned_numbers(tmp_path, data):
    found = tables(tmp_path, data, seeds=2)
    assert json.loads((tmp_path / "out" / "tables.json").read_text()) == as_json(found)
    rows = as_json(found)["tables"][0]["rows"]
    assert [row["block"] for row in rows][:2] == ["backbone", "linear"]
    assert rows[1]["difference"]["pairs"] == pytest.approx(
        np.subtract(rows[1]["accuracies"], rows[0]["accuracies"])
    )


def test_a_folder_that_cannot_be_made_raises(tmp_path, data):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(FileError, match="is a file, and tables are a folder"):
        tables(tmp_path, data)


# --- time left -----------------------------------------------------------------------------------


def test_time_left_is_estimated_from_similar_runs(tmp_path, data):
    plan = plan_tables([5], "mini", out=tmp_path / "out", seeds=1)
    assert plan.progress().seconds_left is None
    assert plan.progress().left == "0 of 8 runs done, time left unknown yet"
    (first, run), (second, other), *_ = plan.runs.items()
    tables_runs.write(run, plan.folder.run(first), seconds=60.0 * run.epochs)
    plan.folder.keep(first, run)
    tables_runs.write(other, plan.folder.run(second), epochs=1)
    # 60 s an epoch; seven runs are left, one of them less an epoch.
    assert plan.progress().seconds_left == pytest.approx(60 * (7 * run.epochs - 1))
    assert plan.progress().left.startswith("1 of 8 runs done, about ")


def test_durations_are_readable():
    assert [duration(t) for t in (0, 59, 61, 3600, 200_000)] == [
        "0 s", "59 s", "1 min", "1 h 0 min", "2 d 7 h",
    ]  # fmt: skip


def test_numbers_have_two_digits_and_a_sign_or_three_digits_and_a_unit():
    assert [signed(x) for x in (0.314, -0.314, -0.001)] == ["+0.31", "−0.31", "0.00"]
    assert [scaled(x) for x in (81_234_567, 8.1e9, 12, None)] == ["81.2 M", "8.1 G", "12", "–"]


# --- the command ---------------------------------------------------------------------------------


def test_the_command_lists_runs_and_prints_tables(tmp_path, data, capsys):
    tables(tmp_path, data, seeds=1)
    words = ["tables", "5", "--protocol", "mini", "--out", str(tmp_path / "out"), "--seeds", "2"]
    assert cli.main([*words, "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == 17
    assert sum(line.endswith("  done") for line in listed) == 8
    assert listed[-1].startswith("8 of 16 runs done, about ")
    assert cli.main([*words, "--list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 16
    assert cli.main([*words, "--no-run"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("## Table 5")
    assert "wrote" in shown.err
    assert cli.main([*words, "--no-run", "--json", "--quiet"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["tables"][0]["done"] == 8
    assert shown.err == ""


def test_the_command_runs_networks_and_reports_failures(tmp_path, data, capsys, monkeypatch):
    from gspnl.train.tables import runner

    trainer = Trainer(fail=("ns",))
    monkeypatch.setattr(runner, "default_train", lambda: trainer)
    monkeypatch.setattr(runner, "check_same_data", lambda *_, **__: None)  # no zip, only its name
    words = ["tables", "5", "--protocol", "mini", "--out", str(tmp_path / "out"), "--seeds", "1"]
    words += ["--data", str(data)]
    assert cli.main([*words, "--only", "snl, ns"]) == 1
    shown = capsys.readouterr()
    assert "failed: the loss is not finite" in shown.err
    assert "[1/3] folder-preresnet20-alone-s0-" in shown.err
    assert [recipe.block for recipe, *_ in trainer.asked] == [None, "ns", "snl"]
    assert cli.main([*words, "--only", ""]) == 2
    assert "only='' is no block of these tables" in capsys.readouterr().err
    trainer.fail = ("nl", "ns")
    assert cli.main([*words, "--quiet"]) == 1
    output = capsys.readouterr().err
    assert len(re.findall(r"-nl-stage1-s0-\w+ and 1 more failed: the loss is not", output)) == 1
    trainer.fail = ()
    assert cli.main([*words, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], r"no data given; pass --data, a folder that holds cifar-10-batches-bin \(cifar10\)"),
        (["--protocol", "mini"], "no data given; pass --data, a folder or zip with train/CLASS/"),
        (["5", "--data", "nowhere"], "'nowhere' does not exist; name a folder that holds"),
        (["11"], "unknown table '11'"),
        (["5", "--seeds", "0"], "seeds=0 must be"),
        (["5", "--seeds", "x"], "invalid int value"),
        (["5", "--no-run", "--protocol", "min"], "did you mean 'mini'"),
    ],
)
def test_errors_of_the_command_are_one_line(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["tables", *words]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert re.search(message, shown.err)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_command_has_written_its_tables(tmp_path, data, capsys, monkeypatch):
    from gspnl.train.tables import runner

    monkeypatch.setattr(runner, "default_train", lambda: Trainer(stop_after=2))
    monkeypatch.setattr(runner, "check_same_data", lambda *_, **__: None)  # no zip, only its name
    words = ["tables", "5", "--protocol", "mini", "--out", str(tmp_path / "out")]
    assert cli.main([*words, "--data", str(data)]) == 130
    assert "2 of 24 runs are done." in (tmp_path / "out" / "README.md").read_text()


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from gspnl.cli import main; assert main(['tables', '--help']) == 0; "
        "print(sorted({'numpy', 'torch', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
