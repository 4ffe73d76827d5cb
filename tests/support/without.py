"""Run commands and library doors in a process where some packages cannot be imported.

``python without.py FOLDER MODE PACKAGE ...`` prints JSON: for each command its status and stderr,
for each door the type and text of its error. The folder has a photo, features and weights.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
import traceback
from pathlib import Path


class Blocker:
    """A finder that hides packages from others, as if not installed, or (``loud``) breaks them."""

    def __init__(self, finder, packages, loud):
        self.finder, self.packages, self.loud = finder, packages, loud

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in self.packages:
            return self.finder.find_spec(name, path, target)
        if self.loud:
            raise ImportError(f"{name} is broken")
        return None


def commands(folder):
    return {
        "train": ["train", "mini", "--data", str(folder / "none"), "--out", str(folder / "run")],
        "tables": ["tables", "--list"],
        "tables so far": ["tables", "--no-run", "--out", str(folder / "tables"), "--quiet"],
        "audit": ["audit", str(folder / "w.pt")],
        "figures": ["figures", str(folder / "w.pt"), "--out", str(folder / "figures")],
        "report": ["report", str(folder / "photo.png"), "--rank", "6", "--quiet", "--out",
                   str(folder / "report")],
        "verify": ["verify", "--features", str(folder / "X.npy"), "--quiet"],
        "verify photo": ["verify", "--features", str(folder / "photo.png"), "--quiet"],
        "bench": ["bench", "--list"],
        **{f"{name} --help": [name, "--help"] for name in ("train", "report", "tables", "audit")},
    }  # fmt: skip


def saved():
    from gspnl import nn as gnn

    gnn.save(gnn.create("snl", 4), Path("/nonexistent/b"))


def graph():
    import numpy as np

    import gspnl

    return gspnl.feature_graph(np.random.default_rng(0).standard_normal((9, 3)), kernel="dot")


def doors(folder):
    import gspnl

    names = "nn nn.parallel nn.auditing train train.backbones train.data train.figures train.tables"
    names += " train.recipes train.checkpoints report plotting images graph theory"
    return {
        **{f"gspnl.{n}": lambda n=n: reached(n) for n in names.split()},
        "gspnl.train.train": lambda: importlib.import_module("gspnl.train").train,
        "gspnl.train.recipe": lambda: importlib.import_module("gspnl.train").recipe("mini"),
        "gnn.save": saved,
        "load_photo": lambda: gspnl.images.load_photo(folder / "photo.png"),
        "default_photo": gspnl.images.default_photo,
        "to_networkx": lambda: gspnl.to_networkx(graph()),
        "to_pygsp": lambda: gspnl.to_pygsp(graph()),
        "plot": lambda: gspnl.plotting.spectrum(graph().spectrum()),
        "write_report": lambda: gspnl.report.write_report(folder / "photo.png", folder / "page"),
    }


def reached(name):
    """Import a module, or get the attribute of that name."""
    try:
        return importlib.import_module(f"gspnl.{name}")
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("gspnl"):
            raise
    import gspnl

    return getattr(gspnl, name)


def run(folder, loud, packages):
    sys.meta_path[:] = [Blocker(finder, packages, loud) for finder in sys.meta_path]
    from gspnl.cli import main
    from gspnl.errors import GspnlError

    found = {"commands": {}, "doors": {}}
    for name, words in commands(folder).items():
        text = io.StringIO()
        with contextlib.redirect_stderr(text), contextlib.redirect_stdout(io.StringIO()):
            try:
                status = main(words)
            except BaseException:
                status = traceback.format_exc()
        found["commands"][name] = [status, text.getvalue()]
    for name, door in doors(folder).items():
        try:
            door()
        except GspnlError as error:
            found["doors"][name] = [type(error).__name__, str(error)]
        except Exception as error:
            found["doors"][name] = [type(error).__name__, traceback.format_exc()]
        else:
            found["doors"][name] = ["", ""]
    print(json.dumps(found))


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2] == "loud", set(sys.argv[3:]))
