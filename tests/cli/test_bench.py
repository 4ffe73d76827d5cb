"""Test gspnl bench: finding scripts, missing peers, and the collected tables."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

from gspnl import cli
from gspnl._base import effort
from gspnl.cli import scripts
from gspnl.errors import FileError

GOOD = '''"""Counts to two.

More about it."""
import json
import numpy as np
from _measure import SEED, report

def main():
    import a_package_that_is_nowhere_else  # wanted, not needed

if __name__ == "__main__":
    report("Counting", [("one", "  1.00"), ("seed", str(SEED))])
'''
PEERLESS = '"""Needs a peer."""\nimport no_such_peer.sub\nfrom _measure import report\n'
FAILING = '"""Fails."""\nraise SystemExit(3)\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    place = tmp_path / "scripts"
    place.mkdir()
    (place / "_measure.py").write_text((ROOT / "benchmarks" / "_measure.py").read_text())
    (place / "good.py").write_text(GOOD)
    monkeypatch.setattr(scripts, "INSTALLED", place)
    return place


def test_every_script_of_the_checkout_is_listed(capsys):
    assert cli.main(["bench", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["benchmarks"]
    there = sorted(path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py"))
    assert [each["name"] for each in listed] == there
    assert all(each["about"].endswith(".") for each in listed)
    needs = {each["name"]: each["needs"] for each in listed}
    assert {"pygsp", "scipy", "numpy"} == set(needs["against_pygsp"])
    assert "torch" in needs["nonlocal_blocks"]
    assert "torch" not in needs["tiled_kernels"]  # which does without


def test_list_prints_names_and_missing_peers(folder, capsys):
    (folder / "peerless.py").write_text(PEERLESS)
    assert cli.main(["bench", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split(maxsplit=1) == ["good", "Counts to two."]
    assert lines[1].endswith("(not installed: no_such_peer)")


def test_json_has_the_tables_of_the_scripts(folder, capfd):
    assert cli.main(["bench", "good", "--json", "--seed", "7"]) == 0
    output = capfd.readouterr()
    found = json.loads(output.out)
    (table,) = found["tables"]
    assert (table["benchmark"], table["title"]) == ("good", "Counting")
    assert table["rows"] == [{"name": "one", "value": "1.00"}, {"name": "seed", "value": "7"}]
    assert "cores" in table["machine"]
    assert found["failed"] == []
    assert "running good: Counts to two." in output.err
    assert "Counting" in output.err  # what the script printed


def test_tables_are_printed_as_text(folder, capfd):
    assert cli.main(["bench", "--quiet"]) == 0
    output = capfd.readouterr()
    assert "Counting" in output.out
    assert "one " in output.out
    assert output.err == ""


def test_a_script_that_takes_long_is_shown_by_lines(folder, capfd, monkeypatch):
    for name in ("WAIT", "EVERY"):
        monkeypatch.setattr(effort, name, 0.01)
    monkeypatch.setattr("gspnl.cli.log.FIRST", 0.05)
    assert cli.main(["bench", "good"]) == 0
    assert re.search(r"^good: 0 s$", capfd.readouterr().err, re.MULTILINE)
    assert cli.main(["bench", "good", "--quiet"]) == 0
    assert capfd.readouterr().err == ""


def test_a_failing_script_is_reported(folder, capfd):
    (folder / "bad.py").write_text(FAILING)
    assert cli.main(["bench", "--json", "--quiet"]) == 1
    output = capfd.readouterr()
    found = json.loads(output.out)
    assert found["failed"] == ["bad"]
    assert [table["benchmark"] for table in found["tables"]] == ["good"]
    assert "bad failed with exit status 3" in output.err


def test_a_missing_peer_is_an_error_before_anything_runs(folder, capfd):
    (folder / "peerless.py").write_text(PEERLESS)
    assert cli.main(["bench"]) == 2
    output = capfd.readouterr()
    assert "peerless needs no_such_peer; pip install no_such_peer" in output.err
    assert output.err.count("\n") == 1
    assert output.out == ""
    assert cli.main(["bench", "good", "--quiet"]) == 0


@pytest.mark.parametrize("more", [[], ["--list"]])
def test_an_unknown_name_is_an_error_with_the_nearest_one(folder, capfd, more):
    assert cli.main(["bench", "god", *more]) == 2
    assert "there is no benchmark 'god'; did you mean 'good'?" in capfd.readouterr().err


def test_a_negative_seed_is_an_error(folder, capfd):
    assert cli.main(["bench", "--seed", "-1"]) == 2
    assert "seed" in capfd.readouterr().err


def test_a_script_with_a_syntax_error_is_an_error(folder, capfd):
    (folder / "odd.py").write_text("def (:")
    assert cli.main(["bench", "good"]) == 2
    assert "odd.py' cannot be read" in capfd.readouterr().err


def test_a_missing_folder_of_scripts_raises(tmp_path, monkeypatch):
    monkeypatch.setattr(scripts, "INSTALLED", tmp_path / "a")
    monkeypatch.setattr(scripts, "CHECKOUT", tmp_path / "b")
    with pytest.raises(FileError, match="not here"):
        scripts.scripts()


def test_the_wheel_puts_the_scripts_in_the_folder_of_the_command():
    """The folder in pyproject.toml is the one that the command searches."""
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    forced = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert forced == {"benchmarks": f"gspnl/{scripts.INSTALLED.name}"}
    assert scripts.INSTALLED.parent == Path(cli.__file__).parent.parent


def test_a_script_runs_without_the_command():
    """`python benchmarks/x.py` imports its helper from its own folder."""
    code = "import runpy, sys; sys.path.insert(0, 'benchmarks'); import chebyshev_orders"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GSPNL")}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean, check=False)
    assert done.returncode == 0
