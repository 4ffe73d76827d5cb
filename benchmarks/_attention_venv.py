"""Make a virtual environment with the libraries whose networks are compared, and run in it."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("torch==2.13.0", "torchvision==0.28.0", "timm==1.0.31", "transformers==5.24.0")


def python_of(folder: Path) -> Path:
    """Python of the environment in a folder, which is made if it is not there."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        print(f"a virtual environment with {', '.join(PACKAGES)} in {folder}", flush=True)
        venv.create(folder, with_pip=True)
    wanted = [*PACKAGES, "--editable", str(ROOT)]
    command = [str(python), "-m", "pip", "install", "--quiet", *wanted]
    constraints = ROOT / "constraints.txt"
    if subprocess.run([*command, "--constraint", str(constraints)], check=False).returncode:
        raise SystemExit(
            f"pip could not install {', '.join(PACKAGES)} into {str(folder)!r} (no network?); "
            "install them there by hand, and name the folder with --venv"
        )
    return python


def run_in(folder: Path, script: Path, *arguments: str) -> None:
    """Run a script of this folder in the environment."""
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([str(python_of(folder)), str(script), *arguments], env=clean, check=False)
    if done.returncode:
        sys.exit(done.returncode)
