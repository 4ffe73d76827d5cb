"""The report is complete and self-contained, its JSON strict, its folder written atomically."""

import errno
import io
import json
import logging
import math
import re
import sys
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gspnl
from gspnl import images
from gspnl.errors import FileError, InputError, MissingExtraError, NonsymmetricError
from gspnl.report import Settings, write_report
from gspnl.report import folder as folders
from gspnl.report.analysis import _node, _pixel, analyse
from gspnl.report.clock import Clock
from gspnl.report.numbers import strict
from gspnl.report.page import render
from gspnl.report.segments import false_colour, segment
from gspnl.report.settings import parse_orders, parse_pixel

SMALL = Settings(rank=12, orders="1:6", pixels=((3, 2), (30, 25)))


def picture(path, height=30, width=40):
    """Four areas of different colours, with some noise."""
    rng = np.random.default_rng(0)
    areas = np.array([[0.9, 0.2, 0.1], [0.1, 0.3, 0.9], [0.2, 0.7, 0.2], [0.8, 0.8, 0.7]])
    y, x = np.indices((height, width))
    photo = areas[2 * (y > height / 2) + (x > width / 2)] + 0.04 * rng.standard_normal(
        (height, width, 3)
    )
    Image.fromarray((255 * np.clip(photo, 0, 1)).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of a small photo: its folder, its numbers, the lines it logged, the photo."""
    root = tmp_path_factory.mktemp("report")
    path = picture(root / "four <areas>.png")
    with logged() as lines:
        numbers = write_report(path, root / "out", SMALL)
    return root / "out", numbers, lines, path


@contextmanager
def logged():
    """Collect the lines that gspnl logs."""
    lines, logger = [], logging.getLogger("gspnl")
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def no_constant(name):
    raise AssertionError(f"{name} is no JSON")


# --- numbers --------------------------------------------------------------------------------------


def test_report_json_is_strict_and_equals_the_returned_numbers(report):
    out, numbers, _, _ = report
    read = json.loads((out / "report.json").read_text(), parse_constant=no_constant)
    assert read == json.loads(json.dumps(numbers))
    promised = {"nodes", "rank", "normalization", "kernel", "eigenvalues", "seconds",
                "peak_bytes", "orders"}  # fmt: skip
    assert promised <= set(read)
    assert (read["nodes"], read["edges"], read["rank"]) == (1200, 1200**2, 12)
    assert [row["order"] for row in read["orders"]] == [1, 2, 3, 4, 5, 6]
    assert all(set(row) == {"order", "error", "bound", "seconds"} for row in read["orders"])
    assert read["peak_bytes"] > 10**7
    assert sorted(path.name for path in out.iterdir()) == read["files"]


def test_numbers_agree_with_dense_formulas(report):
    _, numbers, _, path = report
    photo = images.load_photo(path)
    X = images.photo_features(photo)
    A = gspnl.feature_graph(X, kernel="anchors", anchors=12, seed=0).dense()
    np.testing.assert_allclose(A, A.T, atol=1e-14)  # anchors: born bistochastic
    lam = np.sort(1 - np.linalg.eigvalsh(A))
    raised = np.repeat(numbers["eigenvalues"], numbers["multiplicities"])
    np.testing.assert_allclose(raised, lam, atol=1e-10)
    # The error of order 4, written out: the exact filter by all eigenvectors, the norm weighted by
    # the degrees, which are all 1 here.
    Z = photo.reshape(-1, 3)
    exact = np.linalg.solve(np.eye(1200) + 10 * (np.eye(1200) - A), Z)
    approximate = gspnl.feature_graph(X, kernel="anchors", anchors=12, seed=0).filter(
        Z, gspnl.responses.tikhonov(10), order=4
    )
    error = np.linalg.norm(exact - approximate) / np.linalg.norm(Z)
    row = numbers["orders"][3]
    assert math.isclose(row["error"], error, rel_tol=1e-6)
    assert row["error"] <= row["bound"]
    view = numbers["attention"][0]
    assert view["pixel"] == [3, 2]
    row = np.sort(A[2 * 40 + 3])[::-1]
    assert row[: view["half_in"]].sum() >= 0.5 > row[: view["half_in"] - 1].sum()
    assert math.isclose(view["largest"], 1200 * row[0], rel_tol=1e-9)


def test_every_check_applies_and_passes(report):
    _, numbers, _, _ = report
    assert {check["id"] for check in numbers["checks"]} == {
        "eigenpairs", "two-routes", "rows", "certificate"
    }  # fmt: skip
    assert all(check["passed"] for check in numbers["checks"])


def test_areas_of_one_colour_are_segments(report):
    _, numbers, _, path = report
    analysis = analyse(path, SMALL, Clock())
    y, x = np.indices((30, 40))
    areas = np.ravel(2 * (y > 15) + (x > 20))
    for label in range(len(analysis.segments.shares)):  # an area may hold several segments
        assert (
            np.bincount(areas[analysis.segments.labels == label]).max()
            > 0.97 * (analysis.segments.labels == label).sum()
        )
    assert len(numbers["segments"]) >= 4
    assert math.isclose(sum(s["share"] for s in numbers["segments"]), 1)
    assert [s["share"] for s in numbers["segments"]] == sorted(
        (s["share"] for s in numbers["segments"]), reverse=True
    )


def test_the_same_settings_give_the_same_numbers(report, tmp_path):
    _, numbers, _, path = report
    assert numbers["command"] == (
        f"gspnl report '{path}' --rank 12 --response 'tikhonov(10)' --orders 1:6 --seed 0 "
        "--pixel 3,2 --pixel 30,25"
    )
    again = write_report(path, tmp_path / "again", SMALL)
    volatile = {"seconds", "exact_seconds", "orders", "peak_bytes"}
    assert {k: v for k, v in again.items() if k not in volatile} == {
        k: v for k, v in numbers.items() if k not in volatile
    }
    assert [row["error"] for row in again["orders"]] == [row["error"] for row in numbers["orders"]]


def test_nan_and_infinity_become_none():
    assert strict({"a": [np.float64("nan"), math.inf, np.int64(3), np.array([1.5, -np.inf])]}) == {
        "a": [None, None, 3, [1.5, None]]
    }


def test_each_step_logs_a_line(report):
    _, numbers, lines, _ = report
    steps = [line.split()[0] for line in lines]
    assert [*steps, "total"] == list(numbers["seconds"])
    assert all(re.search(r"\d\.\d\d s", line) for line in lines)


# --- page -----------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Addresses, visible text and balance of a page."""

    def __init__(self, html):
        super().__init__()
        self.addresses, self.text, self.open = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for key, value in attrs if key in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text.append(data)


@pytest.fixture(scope="module")
def page(report):
    return Page((report[0] / "report.html").read_text(encoding="utf-8"))


def test_the_page_loads_no_other_file(page):
    assert not page.open
    assert len(page.addresses) == 8  # plotly.js, five pictures, two in place of charts
    assert all(address.startswith("data:") for address in page.addresses)


def test_angle_brackets_of_a_file_name_are_text(page):
    assert any("four <areas>.png as a graph of 1,200 nodes" in text for text in page.text)


HOSTILE = "<script>alert('{{ 7 * 7 }}')</script>\" onload=\"x&amp;.png"


def test_a_hostile_file_name_is_escaped_everywhere(report):
    out, numbers, _, _ = report
    numbers = numbers | {
        "photo": numbers["photo"] | {"name": HOSTILE},
        "command": f"gspnl report {HOSTILE}",
        "machine": HOSTILE,
    }
    html = render(numbers, {path.name: path.read_bytes() for path in out.glob("*.png")})
    assert "<script>alert" not in html
    hostile, harmless = Page(html), Page((out / "report.html").read_text(encoding="utf-8"))
    assert hostile.addresses == harmless.addresses
    assert (
        sum(text.count(HOSTILE) for text in hostile.text) == 4
    )  # title, heading, command, machine
    assert html.count("&lt;script&gt;alert(&#39;{{ 7 * 7 }}&#39;)") == 4


def test_every_number_shown_is_in_the_json(page, report):
    _, numbers, _, _ = report
    leaves = []

    def walk(value):
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, (dict, list)):
                walk(item)
            else:
                leaves.append(item)

    walk(numbers)
    texts = " ".join(str(leaf) for leaf in leaves)
    values = [float(leaf) for leaf in leaves if isinstance(leaf, (int, float))]
    values += [float(word) for word in re.findall(r"\d+(?:\.\d+)?", texts)]
    # Numbers of the page that are derived: percentages, GiB, counts of rows, the response 2 − g.
    values += [100 * s["share"] for s in numbers["segments"]]
    values += [numbers["peak_bytes"] / 2**30, len(numbers["eigenvalues"]), len(numbers["orders"])]
    values += [0, 1, 2]
    shown = re.sub(r"(\d),(?=\d{3})", r"\1", " ".join(page.text)).replace("−", "-")
    shown = re.sub(r"· 10([⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda m: "e" + str(
        [int("⁰¹²³⁴⁵⁶⁷⁸⁹".index(c)) for c in m[1]][-1]), shown).replace(" e", "e")  # fmt: skip
    for word in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.]*\d)", shown):
        digits = len(re.sub(r"e.*|[-.]", "", word).lstrip("0"))
        slack = 0.51 * 10.0 ** (math.floor(math.log10(abs(float(word)) or 1)) - max(digits - 1, 0))
        slack = max(slack, 0.0051 if "." in word and "e" not in word else 0)
        assert any(abs(float(word) - value) <= slack for value in values), word


def test_charts_hold_the_numbers(report):
    out, numbers, _, _ = report
    html = (out / "report.html").read_text(encoding="utf-8")
    found = re.search(r'\["spectrum", (\[.*\])\], \["comparison", (\[.*\])\]\]\) \{', html)
    spectrum, comparison = (json.loads(text) for text in found.groups())
    drawn = {x: y for trace in spectrum[0] for x, y in zip(trace["x"], trace["y"], strict=True)}
    assert [drawn[i + 1] for i in range(len(drawn))] == numbers["eigenvalues"]
    bound, error = comparison[0]
    assert bound["y"] == [row["bound"] for row in numbers["orders"]]
    assert error["y"] == [row["error"] for row in numbers["orders"]]


def test_figures_are_not_blank(report):
    out, _, _, _ = report
    figures = sorted(out.glob("*.png"))
    assert [path.stem for path in figures] == [
        "attention", "comparison", "filtered", "modes", "responses", "segments", "spectrum"
    ]  # fmt: skip
    for path in figures:
        pixels = images.load_photo(path)
        assert min(pixels.shape[:2]) > 150
        assert pixels.std() > 0.03
        assert len(np.unique(pixels[:, :, 0])) > 50


# --- analysis -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": "dot"},
        {"kernel": "cosine", "normalization": "symmetric"},
        {"kernel": "rbf", "sigma": 0.1, "normalization": "bistochastic"},
        {"rank": 1},
        {"rank": 2, "response": "smooth_high_pass(0.5)"},
        {"response": "low_pass(0.5)", "orders": "0,3"},
        {"patch": 1.0, "position": 0.0, "max_nodes": 200},
    ],
)
def test_checks_pass_with_other_settings(tmp_path, options):
    path = picture(tmp_path / "photo.png", 18, 24)
    numbers = write_report(path, tmp_path / "out", Settings(**{"orders": "1:3"} | options))
    json.loads((tmp_path / "out" / "report.json").read_text(), parse_constant=no_constant)
    assert all(check["passed"] for check in numbers["checks"])


def test_a_photo_of_one_colour_has_rank_one_and_one_segment(tmp_path):
    Image.fromarray(np.full((6, 8, 3), 99, dtype=np.uint8)).save(tmp_path / "flat.png")
    settings = Settings(rank=4, position=0.0, orders="1,2")
    numbers = write_report(tmp_path / "flat.png", tmp_path / "out", settings)
    assert numbers["rank"] == 1
    assert [s["share"] for s in numbers["segments"]] == [1.0]


def test_a_photo_of_one_pixel_is_refused(tmp_path):
    Image.fromarray(np.zeros((1, 1, 3), dtype=np.uint8)).save(tmp_path / "dot.png")
    with pytest.raises(InputError, match="has 1 pixel, and a graph needs 2 nodes"):
        write_report(tmp_path / "dot.png", tmp_path / "out")


def test_scaling_down_is_logged_and_pixels_are_mapped(tmp_path):
    path = picture(tmp_path / "photo.png", 60, 80)
    settings = Settings(rank=8, orders="1", max_nodes=300, pixels=((79, 59),))
    with logged() as lines:
        analysis = analyse(path, settings, Clock())
    assert analysis.shape == (15, 20)
    assert analysis.nodes == [15 * 20 - 1]
    assert any("80 × 60 pixels were scaled down to 20 × 15" in line for line in lines)


def test_the_pixel_of_a_node_belongs_to_it():
    rng = np.random.default_rng(0)
    for _ in range(500):
        small = rng.integers(1, 40, 2)
        full = small + rng.integers(0, 100, 2)
        node = int(rng.integers(small.prod()))
        x, y = _pixel(node, tuple(full), tuple(small))
        assert 0 <= x < full[1]
        assert 0 <= y < full[0]
        assert _node((x, y), tuple(full), tuple(small)) == node


def test_well_separated_clusters_are_segments():
    rng = np.random.default_rng(0)
    truth = rng.permutation(np.repeat([0, 1, 2], [60, 30, 10]))
    modes = np.array([[0.0, 0], [5, 0], [0, 5]])[truth] + 0.1 * rng.standard_normal((100, 2))
    colours = rng.random((100, 3))
    found = segment(modes, colours, seed=0)
    np.testing.assert_array_equal(found.labels, truth)  # the largest first
    np.testing.assert_allclose(found.shares, [0.6, 0.3, 0.1])
    for label in range(3):
        np.testing.assert_allclose(found.colours[label], colours[truth == label].mean(axis=0))


def test_innermost_is_farthest_from_the_border():
    labels = np.zeros((9, 9), dtype=int)
    labels[2:7, 2:7] = 1
    found = segment(labels.reshape(-1, 1).astype(float), np.zeros((81, 3)), seed=0)
    assert found.innermost(1, (9, 9)) == 4 * 9 + 4


def test_false_colours_are_in_range():
    colours = false_colour(np.random.default_rng(0).standard_normal((100, 3)))
    assert colours.shape == (100, 3)
    assert 0 <= colours.min() < colours.max() <= 1
    assert (false_colour(np.ones((5, 1))) == 0).all()


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "achors"}, "unknown kernel 'achors'; did you mean 'anchors'"),
        ({"kernel": "concatenation"}, "needs embedding vectors, which a photo does not bring"),
        ({"kernel": "dot", "rank": 5}, "rank=5 is the number of anchors"),
        ({"kernel": "dot", "sigma": 1.0}, "sigma=1.0 belongs to kernel='anchors' or 'rbf'"),
        ({"sigma": math.nan}, "sigma=nan must be a finite number > 0"),
        ({"rank": 0}, "rank=0 must be a whole number ≥ 1"),
        ({"seed": -1}, "seed=-1 must be a whole number ≥ 0"),
        ({"max_nodes": 1}, "max_nodes=1 must be a whole number ≥ 2"),
        ({"pixels": ((-1, 0),)}, "pixel=-1,0 must be X,Y with X ≥ 0"),
        ({"normalization": "random_wlk"}, "did you mean 'random_walk'"),
        ({"response": "heet(3)"}, "did you mean 'heat'"),
        ({"response": "heat(3"}, r"is not of the form name\(number"),
        ({"orders": "one"}, "orders='one' is no list of whole numbers; pass for example"),
        ({"orders": ""}, "orders='' is no list of whole numbers"),
        ({"orders": "1:2:0"}, "orders='1:2:0' is no list"),
        ({"orders": "5:1"}, "its first order is above its last"),
        ({"orders": "-3,2"}, "must lie between 0 and 10000"),
        ({"orders": "1:5000"}, "are 5000 filters of the photo; ask for at most 1000"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Settings(**options)


def test_orders_and_pixels_are_parsed():
    assert parse_orders("2:8:3") == (2, 5, 8)
    assert parse_orders("7") == (7,)
    assert parse_orders("3,1,3") == (1, 3)
    assert parse_pixel("10, 20") == (10, 20)
    for text in ("10", "1,2,3", "a,b", ""):
        with pytest.raises(InputError, match="is not of the form X,Y, as --pixel 250,190"):
            parse_pixel(text)


# --- the folder -----------------------------------------------------------------------------------


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
