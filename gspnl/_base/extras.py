"""Name the extra to install for optional packages that are missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from importlib.machinery import ModuleSpec

from gspnl.errors import MissingExtraError

# Module → (what pip calls it, the extra that has it).
PACKAGES = {
    "torch": ("torch", "torch"),
    "safetensors": ("safetensors", "torch"),
    "pydantic": ("pydantic", "train"),
    "tabulate": ("tabulate", "train"),
    "tomli_w": ("tomli-w", "train"),
    "matplotlib": ("matplotlib", "plot"),
    "PIL": ("Pillow", "plot"),
    "jinja2": ("Jinja2", "report"),
    "plotly": ("plotly", "report"),
    "networkx": ("networkx", "graphs"),
    "pygsp": ("pygsp", "graphs"),
    "av": ("av", "video"),
    "sklearn": ("scikit-learn", "sklearn"),
    "finufft": ("finufft", "fourier"),
}


def require(door: str, extra: str, *modules: str) -> None:
    """Raise MissingExtraError, with the line that installs them, unless modules can be imported.

    Nothing is imported.

    Examples
    --------
    >>> require("gspnl.train", "train", "json", "no_such_module")
    Traceback (most recent call last):
    ...
    gspnl.errors.MissingExtraError: gspnl.train needs no_such_module; pip install 'gspnl[train]'
    """
    missing = [PACKAGES.get(each, (each,))[0] for each in modules if spec(each) is None]
    if missing:
        raise MissingExtraError(f"{door} needs {', '.join(missing)}; pip install 'gspnl[{extra}]'")


def fix(error: ImportError, extra: str) -> str:
    """Return what to install for an import that failed, in a command of an extra."""
    module = (error.name or "").partition(".")[0]
    package, own = PACKAGES.get(module, (module, extra))
    if not package:
        return f"{error}; pip install 'gspnl[{extra}]'"
    return f"needs {package}, which cannot be imported; pip install 'gspnl[{extra or own}]'"


def spec(module: str) -> ModuleSpec | None:
    """Return the spec of a module, without importing it; None where it cannot be imported."""
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):  # ValueError: sys.modules has None in its place
        return None


def older(module: str, oldest: str) -> str | None:
    """Return the version of an installed package where it is older than ``oldest``, else None."""
    found = importlib.metadata.version(PACKAGES.get(module, (module,))[0])

    def numbers(version: str) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", version)[:2]]

    return found if numbers(found) < numbers(oldest) else None
