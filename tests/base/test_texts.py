"""Files of anyone are parsed within limits: one line for a fault, no traceback, no hang."""

import contextlib
import io
import math
import time

import pytest

from gspnl import cli
from gspnl._base.texts import parse_json, parse_toml
from gspnl._base.validate import number, whole_number
from gspnl.errors import FileError, InputError
from gspnl.train import Recipe, recipes
from gspnl.train.run import finished

DOTS = "a" + ".a" * 50_000
TOML = {
    "digits": ("a = 1" + "0" * 400, "about 401 digits"),
    "too many digits": ("a = 1" + "0" * 5000, "too many digits"),
    "hexadecimal": ("a = 0x" + "f" * 5000, "digits"),
    "octal": ("a = 0o" + "7" * 500, "digits"),
    "brackets": ("a = " + "[" * 20_000, "levels deep"),
    "closed brackets": ("a = " + "[" * 20_000 + "]" * 20_000, "levels deep"),
    "tables": ("a = " + "{a = " * 20_000, "levels deep"),
    "dots": (f"{DOTS} = 1", "50001 parts"),
    "header": (f"[{DOTS}]", "50001 parts"),
    "array of tables": (f"[[{DOTS}]]", "50001 parts"),
    "inline": (f"x = {{{DOTS} = 1}}", "50001 parts"),
    "quoted": ('"a"' + '."a"' * 50_000 + " = 1", "50001 parts"),
    "spaced": ("a" + " . a" * 50_000 + " = 1", "50001 parts"),
    "behind a comment": (f'# """\n{DOTS} = 1\n# """', "50001 parts"),
    "utf-16": ("a = 1".encode("utf-16"), "no text in UTF-8"),
    "latin": (b"a = '\xe9'", "no text in UTF-8, from byte 5"),
    "twice": ("a = 1\na = 2", "Cannot overwrite"),
    "nul": ("a = '\0'", "invalid character"),
}
JSON = {
    "digits": ('{"a": 1' + "0" * 400 + "}", "401 digits"),
    "too many digits": ('{"a": 1' + "0" * 5000 + "}", "5001 digits"),
    "infinite": ('{"a": 1e999}', "1e999 is infinite"),
    "infinity": ('{"a": Infinity}', "Infinity is no number of JSON"),
    "nan": ('{"a": NaN}', "NaN is no number of JSON"),
    "brackets": ("[" * 20_000, "levels deep"),
    "objects": ('{"a":' * 500 + "1" + "}" * 500, "levels deep"),
    "twice": ('{"a": 1, "a": 2}', "'a' is given twice"),
    "bytes": (b"\xff\xfe", "no text in UTF-8"),
    "nul": ('{"a": "\0"}', "Invalid control character"),
    "empty": ("", "Expecting value"),
}


@pytest.mark.parametrize("name", TOML)
def test_toml_beyond_the_limits_raises_at_once(name):
    content, message = TOML[name]
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message) as caught:
        parse_toml(content)
    assert time.perf_counter() - start < 5
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", JSON)
def test_json_beyond_the_limits_raises_at_once(name):
    content, message = JSON[name]
    with pytest.raises(ValueError, match=message) as caught:
        parse_json(content)
    assert len(str(caught.value)) < 200


def test_ordinary_files_are_read():
    text = '# don\'t. "\na.b = 1\n[t]\nx = """..\n...."""\ny = [0.5, 1_0]\nz = "a.b.c"  # {[\n'
    assert parse_toml(text) == {"a": {"b": 1}, "t": {"x": "..\n....", "y": [0.5, 10], "z": "a.b.c"}}
    assert parse_toml("\ufeffa = 1".encode()) == {"a": 1}
    assert parse_toml(f"a = {2**63 - 1}") == {"a": 2**63 - 1}
    assert parse_json(b'\xef\xbb\xbf{"a": [1, -2.5, null]}') == {"a": [1, -2.5, None]}
    assert parse_json('{"a": NaN, "b": 1e999}', finite=False) == {"a": None, "b": None}
    kept = parse_json('{"a": NaN, "b": -Infinity}', finite=None)
    assert math.isnan(kept["a"])
    assert kept["b"] == -math.inf


@pytest.mark.parametrize("name", TOML)
def test_recipes_beyond_the_limits_are_one_line_and_status_2(name, tmp_path):
    content = TOML[name][0]
    path = tmp_path / "recipe.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FileError, match=r"recipe\.toml"):
        recipes.read(path)
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        assert cli.main(["train", str(path), "--out", str(tmp_path / "run")]) == 2
    assert errors.getvalue().count("\n") == 1
    assert len(errors.getvalue()) < 2200


@pytest.mark.parametrize(
    "change",
    [
        "epochs=1" + "0" * 400, "epochs=1" + "0" * 5000, "epochs=" + "[" * 20_000, "seed=-1",
        f"seed={2**70}", f"epochs={2**62}", "units=2147483647", "learning_rate=1e999",
        "learning_rate=inf", f"{DOTS}=1", f"block_options.{DOTS}=1", "block=" + "n" * 100_000,
        "epochs=1\nblock='snl'", "epochs", "=3",
    ],
    ids=lambda change: change[:24],
)  # fmt: skip
def test_changes_beyond_the_limits_are_one_line_and_status_2(change, tmp_path):
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        assert cli.main(["train", "mini", "--set", change, "--out", str(tmp_path / "run")]) == 2
    assert errors.getvalue().count("\n") == 1
    assert len(errors.getvalue()) < 2200
    assert "--data" not in errors.getvalue()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["block=nope"], "unknown block 'nope'"),
        (["backbone=nope"], "unknown backbone 'nope'"),
        (["block=snl", "place=nope"], "no place 'nope'"),
        (["block=snl", "block_options.nope=1"], "no option 'nope'"),
        (["block=snl", "block_options.kernel=nope"], "unknown kernel 'nope'"),
        (["block=chebyshev", f"block_options.order={2**62}"], "from 0 to 1000"),
        (["augmentation=['nope']"], "unknown augmentation 'nope'"),
        (["backbone_options.nope=1"], "no option 'nope'"),
    ],
)
def test_names_of_a_recipe_are_checked_before_its_data(changes, message, tmp_path):
    words = [word for change in changes for word in ("--set", change)]
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        assert cli.main(["train", "mini", *words, "--out", str(tmp_path / "run")]) == 2
    assert message in errors.getvalue()


@pytest.mark.parametrize("name", JSON)
def test_damaged_results_of_a_run_are_file_errors(name, tmp_path):
    content = JSON[name][0]
    (tmp_path / "metrics.jsonl").write_text("")
    (tmp_path / "result.json").write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    with pytest.raises(FileError, match=r"cannot be read .*delete result\.json"):
        finished(tmp_path, Recipe())
    (tmp_path / "result.json").write_text("[1, 2]")
    with pytest.raises(FileError, match="no numbers by name"):
        finished(tmp_path, Recipe())


@pytest.mark.parametrize(
    "words",
    [
        ["report", "--response", "tikhonov(1" + "0" * 400 + ")"],
        ["report", "--response", "tikhonov(1" + "0" * 5000 + ")"],
        ["report", "--orders", f"0:{2**80}"],
        ["report", "--sigma", "1e999"],
        ["tables", "5", "--seeds", str(2**70), "--list"],
        ["tables", "5", "--seed", str(2**70), "--list"],
        ["tables", "5", "--out", __file__, "--list"],
    ],
    ids=lambda words: " ".join(words)[:30],
)
def test_absurd_options_are_one_line_and_status_2(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        assert cli.main(words) == 2
    assert errors.getvalue().count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [10**400, 10**5000, -(10**5000)], ids=["400", "5000", "-5000"])
def test_numbers_of_hundreds_of_digits_raise(value):
    with pytest.raises(InputError, match=r"sigma=.* must be a finite number") as caught:
        number("sigma", value, above=0)
    assert len(str(caught.value)) < 200
    with pytest.raises(InputError, match=r"order=.* must be a whole number"):
        whole_number("order", value, 0, 10)
