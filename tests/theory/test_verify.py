"""`gspnl verify`: rows, exit statuses, features from files, one-line errors."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gspnl import cli, theory
from gspnl.errors import FileError
from gspnl.theory import lowrank_filters, read_subject, tables
from gspnl.theory.claims import Claim

FULL = Path("/dev/full")


def refuse_constant(name):
    raise AssertionError(f"{name} is no JSON")


@pytest.fixture
def features(tmp_path):
    path = tmp_path / "features.npy"
    np.save(path, np.random.default_rng(0).standard_normal((40, 3)))
    return path


def broken(name, monkeypatch, **formulas):
    """Replace the formula of a claim."""
    check = theory.CLAIMS[name].check
    kept = {**vars(theory.CLAIMS[name]), "check": lambda subject: check(subject, **formulas)}
    kept["check"].__module__ = check.__module__
    monkeypatch.setitem(theory.CLAIMS._items, name, Claim(**kept))


# --- rows -----------------------------------------------------------------------------------------


def test_json_has_a_row_per_claim(capsys):
    assert cli.main(["verify", "--json", "--seed", "3"]) == 0
    captured = capsys.readouterr()
    numbers = json.loads(captured.out, parse_constant=refuse_constant)
    claims = numbers["claims"]
    assert len(claims) >= 28
    assert [row["id"] for row in claims] == [each.id for each in theory.ordered()]
    promised = {"id", "claim", "source", "value", "tolerance", "passed"}
    assert all(promised <= set(row) for row in claims)
    assert all(row["passed"] is True for row in claims)
    assert all(isinstance(row["value"], float) for row in claims)
    assert all(row["source"] for row in claims)
    errata = {row["erratum"]: row for row in claims if "erratum" in row}
    assert {f"E{i}" for i in range(1, 11)} <= set(errata)
    for row in errata.values():
        assert row["holds"] == "corrected"
        assert row["printed"]["value"] > row["corrected"]["value"]
        assert row["printed"]["reading"] != row["corrected"]["reading"]
    assert numbers["subject"] == {
        "name": "random features", "nodes": 160, "columns": 6, "sample": 160, "seed": 3
    }  # fmt: skip
    assert 0 < numbers["seconds"] < 60


def test_the_same_seed_gives_the_same_numbers(capsys):
    runs = []
    for seed in ("1", "1", "2"):
        assert cli.main(["verify", "--json", "--quiet", "--seed", seed]) == 0
        rows = json.loads(capsys.readouterr().out)["claims"]
        runs.append([(row["id"], row["value"]) for row in rows])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_the_table_has_every_claim_with_source_and_tolerance(features, capsys):
    assert cli.main(["verify", "--features", str(features), "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert lines[0] == "features.npy: 40 nodes, 3 columns, centred and scaled, seed 0"
    assert lines[-1].startswith(f"{len(theory.CLAIMS)} of {len(theory.CLAIMS)} claims hold; ")
    for each in theory.ordered():
        line = next(line for line in lines if f" {each.id} " in line and line[0] != " ")
        assert line.startswith("holds")
        assert each.source in line
        assert f"≤ {each.tolerance:.1e}" in line
        assert each.claim.split()[0] in captured.out
    printed = [line for line in lines if line.strip().startswith("printed: ")]
    assert len(printed) == sum(bool(each.erratum) for each in theory.ordered())
    flat = " ".join(captured.out.split())
    assert flat.count("does not hold") == len(printed)


def test_a_failed_claim_exits_with_status_1(features, capsys, monkeypatch):
    broken("one-pass", monkeypatch, recurrence=lambda G, k: lowrank_filters.small_matrices(-G, k))
    words = ["verify", "--features", str(features), "--quiet"]
    assert cli.main(words) == 1
    captured = capsys.readouterr()
    assert "FAILS  one-pass" in captured.out
    assert ", 1 fail; " in captured.out.splitlines()[-1]
    assert captured.err.startswith("gspnl verify: a claim failed: one-pass: every Chebyshev")
    assert len(captured.err.splitlines()) == 1
    assert cli.main([*words, "--json"]) == 1
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)["claims"]}
    assert rows["one-pass"]["passed"] is False


def test_nan_is_null_in_json(features, capsys, monkeypatch):
    broken("memory", monkeypatch, rate=lambda graph, k: np.nan)
    assert cli.main(["verify", "--features", str(features), "--quiet", "--json"]) == 1
    numbers = json.loads(capsys.readouterr().out, parse_constant=refuse_constant)
    row = next(row for row in numbers["claims"] if row["id"] == "memory")
    assert (row["value"], row["passed"]) == (None, False)


def test_undecided_claims_are_reported(tmp_path, capsys):
    np.save(tmp_path / "alike.npy", np.ones((9, 2)))
    assert cli.main(["verify", "--features", str(tmp_path / "alike.npy"), "--quiet"]) == 0
    captured = capsys.readouterr().out
    assert "n/a    E5  e5-transpose" in captured
    assert "not decided: here both readings agree" in " ".join(captured.split())
    assert "cannot be decided on these features" in captured.splitlines()[-1]


# --- features -------------------------------------------------------------------------------------


def test_features_of_the_default_photo(capsys):
    assert cli.main(["verify", "--features", "--json"]) == 0
    captured = capsys.readouterr()
    numbers = json.loads(captured.out)
    assert numbers["subject"]["nodes"] == 307_200
    assert numbers["subject"]["sample"] == 160
    assert all(row["passed"] is True for row in numbers["claims"])
    assert max(row["nodes"] for row in numbers["claims"]) == 307_200
    first = captured.err.splitlines()[0]
    assert first.startswith("checking claims on grace_hopper.jpg: 307,200 nodes, 5 columns")
    assert "dense checks on a sample of 160 nodes, linear ones on all" in first
    assert numbers["seconds"] < 60


def test_features_of_a_photo(tmp_path, capsys):
    path = tmp_path / "photo.png"
    values = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    subject = read_subject(str(path), seed=2)
    assert (subject.n_nodes, subject.seed, subject.name) == (192, 2, "photo.png")


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint16", "bool", ">f8"])
def test_features_of_any_real_dtype(dtype, tmp_path):
    X = (np.random.default_rng(0).random((30, 3)) * 2).astype(dtype)
    np.save(tmp_path / "x.npy", X)
    subject = read_subject(str(tmp_path / "x.npy"))
    assert subject.features.dtype == np.float64
    truth = X.astype(float) - X.astype(float).mean(0)
    np.testing.assert_allclose(subject.features * np.sqrt((truth**2).mean()), truth, atol=1e-12)


def test_arrays_are_recognised_without_the_npy_suffix(features, tmp_path):
    other = tmp_path / "features.dat"
    other.write_bytes(features.read_bytes())
    np.testing.assert_array_equal(
        read_subject(str(other)).features, read_subject(str(features)).features
    )


class Evil:
    """Exits the interpreter if it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


def spoil(kind, path):
    X = np.random.default_rng(0).standard_normal((40, 3))
    if kind == "objects":
        np.save(path, np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Evil()))
    elif kind == "cut":
        np.save(path, X)
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "header":
        np.save(path, X)
        path.write_bytes(path.read_bytes()[:40])
    elif kind == "garbled":
        np.save(path, X)
        path.write_bytes(path.read_bytes().replace(b"descr", b"'('('"))
    elif kind == "text":
        path.write_text("1 2 3\n")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path.mkdir()
    elif kind == "record":
        np.save(path, np.zeros(4, dtype=[("a", float), ("b", int)]))
    elif kind != "missing":
        made = {
            "words": np.array(["a", "b"]), "complex": X + 1j, "one axis": X[:, 0],
            "image": X.reshape(4, 10, 3), "one node": X[:1], "no columns": X[:, :0],
            "nan": np.where(X > 2, np.nan, X), "scalar": np.array(1.0),
            "dates": np.array([["2020-01-01"]] * 3, dtype="M8[D]"),
        }  # fmt: skip
        np.save(path, made[kind])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("objects", "holds Python objects, which are not loaded"),
        ("pickle", "is damaged or no .npy file: it does not begin as a .npy file"),
        ("cut", "is damaged or no .npy file"),
        ("header", "is damaged or no .npy file"),
        ("garbled", "is damaged or no .npy file"),
        ("text", "it does not begin as a .npy file; save it again with np.save(file, X)"),
        ("empty", "it does not begin as a .npy file"),
        ("folder", "is a folder; pass a .npy file in it"),
        ("missing", "there is no file"),
        ("record", "save real numbers"),
        ("words", "holds <U1; save real numbers"),
        ("complex", "holds complex128; save real numbers"),
        ("dates", "save real numbers"),
        ("one axis", "has shape (40,); features have shape (N, C)"),
        ("image", "has shape (4, 10, 3); features have shape (N, C)"),
        ("scalar", "has shape (); features have shape (N, C)"),
        ("one node", "with N ≥ 2 nodes"),
        ("no columns", "C ≥ 1 columns"),
        ("nan", "value(s) that are not finite"),
    ],
)
def test_bad_features_give_one_line_and_status_2(kind, message, tmp_path, capsys):
    path = tmp_path / "x.npy"
    spoil(kind, path)
    assert cli.main(["verify", "--features", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("gspnl verify: ")
    assert message in captured.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "-1"], "gspnl verify: seed=-1 must be a whole number ≥ 0"),
        (["--seed", "x"], "gspnl verify: argument --seed: invalid int value: 'x'"),
        (["--features", "nowhere.jpg"], "gspnl verify: there is no file 'nowhere.jpg'"),
        (["photo.jpg"], "unrecognized arguments: photo.jpg"),
        (["--feat", "x"], "unrecognized arguments: --feat"),
    ],
)
def test_bad_usage_gives_one_line_and_status_2(words, message, capsys):
    assert cli.main(["verify", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert message in captured.err


def test_a_damaged_photo_is_refused(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    with pytest.raises(FileError, match=r"photo\.jpg' is "):
        read_subject(str(tmp_path / "photo.jpg"))


def test_help_is_ascii_and_shows_the_defaults(capsys):
    assert cli.main(["verify", "--help"]) == 0
    captured = " ".join(capsys.readouterr().out.split())
    assert captured.isascii()
    assert "(default: random features)" in captured
    assert "(default: 0)" in captured


def test_text_wraps_to_the_terminal():
    verdicts = theory.verify(theory.Subject.random(), ["e5-transpose"])
    lines = tables.text(verdicts, width=60).splitlines()
    assert max(map(len, lines[3:])) <= 60


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
@pytest.mark.parametrize("how", [[], ["--json"]])
def test_a_full_disk_exits_with_status_2(how):
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gspnl", "verify", "--quiet", *how],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == cli.BAD_INPUT
    assert done.stderr.startswith("gspnl verify: ")
    assert len(done.stderr.splitlines()) == 1
