"""The layout of the package: rooms, circles, the picture of the rooms, first lines of modules."""

from __future__ import annotations

import ast
import importlib.util
import tomllib

from support.imports import PACKAGE, circles, imports, modules
from support.paths import ROOT


def layers():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return settings["tool"]["importlinter"]["contracts"][0]["layers"]


def first_line(path):
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


def test_the_rooms_are_those_of_the_contract():
    entries = {p.name.removesuffix(".py") for p in PACKAGE.iterdir() if not p.name.startswith("__")}
    assert entries - {"py.typed"} == set(layers())
    assert len(layers()) <= 14


def test_a_circle_is_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"e"}}
    assert circles(graph) == [["a", "b", "c"], ["e"]]


def test_no_two_files_import_each_other():
    assert circles(imports()) == []


def test_the_picture_of_the_rooms_is_current():
    spec = importlib.util.spec_from_file_location("draw_rooms", ROOT / "docs" / "draw_rooms.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    picture = (ROOT / "docs" / "_static" / "rooms.svg").read_text()
    assert picture == script.draw(), "run python docs/draw_rooms.py"


def test_every_module_says_in_its_first_line_what_it_does():
    openings = ("What ", "Whether ", "Where ", "How ", "Which ")
    for name, path in modules().items():
        line = first_line(path)
        assert line, f"{name} has no docstring"
        assert not line.startswith(openings), f"{name}: {line}"


def test_the_architecture_page_names_every_room():
    page = (ROOT / "docs" / "architecture.md").read_text()
    for room in layers():
        assert f"| `{room}" in page, room
