"""The page: self-contained, escaped, and every number in it is in report.json."""

import json
import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gspnl import images
from gspnl.report.page import render


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


def test_the_pictures_of_a_report_do_not_depend_on_a_matplotlibrc(report, tmp_path):
    folder, _, _, path = report
    rc = "image.origin: lower\nimage.cmap: jet\nfont.size: 30\nsavefig.dpi: 40\nfigure.dpi: 30\n"
    rc += "savefig.bbox: tight\nsavefig.transparent: True\naxes.facecolor: yellow\n"
    rc += "lines.linewidth: 9\nimage.interpolation: bicubic\nimage.lut: 7\nbackend: svg\n"
    (tmp_path / "matplotlibrc").write_text(rc)
    code = (
        "import sys; from support.reports import SMALL; from gspnl.report import write_report; "
        "write_report(sys.argv[1], sys.argv[2], SMALL)"
    )
    root = Path(__file__).parents[1]
    environment = os.environ | {
        "MATPLOTLIBRC": str(tmp_path / "matplotlibrc"),
        "PYTHONPATH": os.pathsep.join([str(root), *sys.path]),
    }
    subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "out")], env=environment, check=True
    )
    pictures = sorted(file.name for file in folder.glob("*.png"))
    assert "filtered.png" in pictures
    for name in pictures:
        if name != "comparison.png":  # which shows seconds
            one, other = (np.asarray(Image.open(f / name)) for f in (folder, tmp_path / "out"))
            assert np.array_equal(one, other), name
