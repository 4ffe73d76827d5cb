"""Find the benchmark scripts, with their first lines and the peers they import."""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gspnl._base import extras
from gspnl.errors import FileError, InputError

INSTALLED = Path(__file__).parent.parent / "_benchmarks"  # in a wheel
CHECKOUT = Path(__file__).parent.parent.parent / "benchmarks"
PACKAGES = {  # installed under another name
    "PIL": "pillow",
    "pywt": "PyWavelets",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}


@dataclass(frozen=True)
class Script:
    """A measured comparison.

    Attributes
    ----------
    name : str
        Of the file, without its suffix.
    path : Path
    about : str
        The first line of its docstring.
    peers : tuple of str
        The packages that it imports at module level, beside gspnl and the standard library.
    """

    name: str
    path: Path
    about: str
    peers: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """The peers that are not installed, by the names that install them."""
        absent = [peer for peer in self.peers if extras.spec(peer) is None]
        return tuple(PACKAGES.get(peer, peer) for peer in absent)


def folder() -> Path:
    """The folder of the scripts, in the installed package or in the checkout."""
    for place in (INSTALLED, CHECKOUT):
        if (place / "_measure.py").is_file():
            return place
    raise FileError(
        "the benchmark scripts are not here: neither in the installed package nor beside it; "
        "install gspnl from its wheel, or run in a checkout"
    )


def scripts(place: Path | None = None) -> dict[str, Script]:
    """All scripts of a folder by name; those that begin with _ are parts of others."""
    place = folder() if place is None else place
    paths = sorted(place.glob("[!_]*.py"))
    return {path.stem: _read(path) for path in paths}


def by_name(names: Sequence[str], known: dict[str, Script]) -> list[Script]:
    """The scripts of these names, each once, or all where no name is given."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise InputError(f"there is no benchmark {name!r}; {hint}")
    return [known[name] for name in dict.fromkeys(names)] if names else list(known.values())


def runnable(picked: list[Script]) -> list[Script]:
    """The same scripts; an InputError where a peer is not installed."""
    lacking = {script.name: script.missing for script in picked if script.missing}
    if lacking:
        needs = "; ".join(f"{name} needs {', '.join(peers)}" for name, peers in lacking.items())
        names = " ".join(sorted({peer for peers in lacking.values() for peer in peers}))
        raise InputError(
            f"peers are not installed: {needs}; pip install {names}, or name other benchmarks"
        )
    return picked


def _read(path: Path) -> Script:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise FileError(f"benchmark {str(path)!r} cannot be read: {error}") from error
    about = (ast.get_docstring(tree) or "").partition("\n")[0]
    own = {"gspnl", "__future__", *sys.stdlib_module_names}
    own |= {other.stem for other in path.parent.glob("*.py")}
    peers: dict[str, None] = {}
    for node in tree.body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
            if node.module == "gspnl" and any(alias.name == "nn" for alias in node.names):
                names.append("torch")
        for name in names:
            if name.startswith(("gspnl.nn", "gspnl.train")):
                peers["torch"] = None
            top = name.partition(".")[0]
            if top not in own:
                peers[top] = None
    return Script(path.stem, path, about, tuple(peers))
