"""Every file that the package writes goes through the atomic writer of ``_base/files.py``."""

from __future__ import annotations

import ast

from support.paths import ROOT

WRITING = {
    "write_bytes",
    "write_text",
    "tofile",
    "to_csv",
    "save_file",
    "savetxt",
    "savez",
    "mknod",
}
ALLOWED = {
    "gspnl/_base/files.py": "the writer itself",
    "gspnl/report/folder.py": "into a new folder with a random name, which is then renamed",
    "gspnl/train/cost.py": "/proc/self/clear_refs",
}


def writes(call):
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in WRITING:
        return True
    given = [*call.args, *(each.value for each in call.keywords)]
    modes = [each.value for each in given if isinstance(each, ast.Constant)]
    return name == "open" and any(
        isinstance(mode, str) and len(mode) < 4 and set(mode) & set("wax+") for mode in modes
    )


def found(source):
    return [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call) and writes(n)]


def test_the_search_sees_writing_and_no_reading():
    for text in ("p.write_text('')", "open(p, 'w')", "p.open('ab')", "p.open(mode='x')"):
        assert found(text), text
    for text in ("p.read_text()", "open(p)", "p.open('rb')", "session.open(folder)"):
        assert not found(text), text


def test_files_are_written_in_one_place():
    places = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "gspnl").rglob("*.py")
        if found(path.read_text(encoding="utf-8"))
    }
    assert places <= set(ALLOWED)
    assert "gspnl/_base/files.py" in places
