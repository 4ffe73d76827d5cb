"""Open exported programs (.pt2) after a check that nothing in them would be unpickled."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gspnl._base.files import refuse_endless
from gspnl._base.programs import archive_kind
from gspnl.errors import FileError

WEIGHTS, CONSTANTS, SAMPLES = "data/weights/", "data/constants/", "data/sample_inputs/"
# Sizes of dynamic shapes, which torch evaluates as expressions of these functions.
FUNCTIONS = {
    "Abs", "Add", "And", "CeilDiv", "CeilToInt", "CleanDiv", "Eq", "Float", "FloatTrueDiv",
    "FloorDiv", "FloorToInt", "Ge", "Gt", "Identity", "IntTrueDiv", "Integer", "Le", "Lt",
    "Max", "Min", "Mod", "ModularIndexing", "Mul", "Ne", "Not", "Or", "Pow", "PowByNatural",
    "PythonMod", "Rational", "Symbol", "ToFloat", "TruncToInt", "Where", "ceiling", "floor",
}  # fmt: skip
QUOTED = re.compile(r"'[\w.]*'")  # names of symbols
PLAIN = re.compile(r"[\w\s+\-*/%(),<>=!&|~.]*")
CALLED = re.compile(r"([A-Za-z_]\w*)\s*\(")


def open_exported(path: Path) -> tuple[nn.Module, Any]:
    """Load an exported program; return its module, and its example inputs or None.

    Raises
    ------
    FileError
        For a file that is missing, damaged, written before torch 2.8, or holds objects that only
        unpickling could read.
    """
    refuse_endless(path)
    if not path.is_file():
        raise FileError(f"there is no file {str(path)!r}; check the path")
    if archive_kind(path) != "exported":
        raise FileError(
            f"{str(path)!r} is no archive of torch.export.save of torch 2.8 or later; export the "
            "network again"
        )
    content = path.read_bytes()  # once, so that what is loaded is what was checked
    try:
        check_archive(content)
        program: Any = torch.export.load(io.BytesIO(content))
        # Guards are code of the file, which is left out: the batch is tried instead.
        module: nn.Module = program.module(check_guards=False)
    except FileError as error:
        raise FileError(f"{str(path)!r} {error}") from None
    except Exception as error:  # a damaged file can make it raise anything
        reason = " ".join(str(error).split())[:200]
        raise FileError(f"{str(path)!r} is damaged, as an exported program ({reason})") from error
    return module, _arguments(program.example_inputs)


def check_archive(content: bytes) -> None:
    """Raise FileError for an archive with objects that torch would unpickle, or with code."""
    reader: Any = torch._C.PyTorchFileReader(io.BytesIO(content))
    names: list[str] = reader.get_all_records()
    for name in names:
        if name.startswith((WEIGHTS, CONSTANTS)) and name.endswith(".json"):
            for key, entry in json.loads(reader.get_record(name))["config"].items():
                stored = entry.get("path_name", "")
                if entry.get("use_pickle") or not stored.startswith(("weight_", "tensor_")):
                    raise FileError(f"holds {key!r} as a pickled object, and nothing is unpickled")
        elif name.startswith((WEIGHTS, CONSTANTS)) and name.endswith(".pt"):
            raise FileError("is of an older format that is unpickled; export the network again")
        elif name.startswith(SAMPLES):
            _check_samples(reader.get_record(name))
        elif name.startswith("models/"):
            for text in expressions(json.loads(reader.get_record(name))):
                bare = QUOTED.sub("", text)
                called = set(CALLED.findall(bare))
                if "__" in text or not PLAIN.fullmatch(bare) or not called <= FUNCTIONS:
                    raise FileError(f"has code in the place of a size: {text[:60]!r}")
        elif name.startswith("data/aotinductor"):
            raise FileError("holds compiled code; save the program by torch.export.save alone")


def _check_samples(content: bytes) -> None:
    """Raise FileError for example inputs that torch would unpickle after its safe reader fails."""
    if content:
        try:
            torch.load(io.BytesIO(content), weights_only=True)
        except Exception as error:
            raise FileError(
                "holds example inputs that are not tensors, and nothing is unpickled; export it "
                "without them: torch.export.save of program.run_decompositions({}) with "
                "example_inputs = None"
            ) from error


def expressions(value: Any) -> Iterator[str]:
    """Yield the symbolic sizes in a program's JSON."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key in ("expr_str", "as_sym_expr") and isinstance(each, str):
                yield each
            elif key in ("range_constraints", "dims") and isinstance(each, dict):
                yield from each
                yield from expressions(each)
            elif key == "derived" and isinstance(each, list):
                yield from map(str, each)
            else:
                yield from expressions(each)
    elif isinstance(value, list):
        for each in value:
            yield from expressions(each)


def _arguments(inputs: Any) -> Any:
    """Return example inputs (args, kwargs) as one batch; None where there are none."""
    if not inputs:
        return None
    args, kwargs = inputs
    if kwargs:
        return None if args else dict(kwargs)
    return args[0] if len(args) == 1 else (tuple(args) or None)
