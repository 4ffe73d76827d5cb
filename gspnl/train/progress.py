"""Report the progress of a run: log lines, metrics.jsonl, TensorBoard, result.json."""

from __future__ import annotations

import json
import logging
import statistics
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gspnl._base import extras
from gspnl._base.files import make_folder, replace
from gspnl.train.checkpoints import State
from gspnl.train.run import METRICS, RESULT

log = logging.getLogger(__name__)

SCALARS = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "learning_rate")


class Progress:
    """Reports of one run; none unless ``active``."""

    every = 10.0  # seconds between two lines within an epoch

    def __init__(self, out: Path, epochs: int, steps: int, active: bool) -> None:
        self.out, self.epochs, self.steps, self.active = out, epochs, steps, active
        self.last, self.shown = time.perf_counter(), 0
        self.board = _board(out / "tensorboard") if active else None

    def log(self, line: str) -> None:
        """Log a line, on the first rank only."""
        if self.active:
            log.info(line)

    def step(self, state: State) -> None:
        """Log a line, if the last one is long ago."""
        now = time.perf_counter()
        if now - self.last < self.every:
            return
        self.last = now
        rate = statistics.median(state.rates) if state.rates else 0.0
        left = (self.epochs - state.epoch) * self.steps - state.step
        self.log(
            f"epoch {state.epoch + 1}/{self.epochs}, step {state.step}/{self.steps}: "
            f"loss {state.loss / max(state.count, 1):.4f}, "
            f"accuracy {100 * state.correct / max(state.count, 1):.2f} %, {rate:.0f} images/s, "
            f"ETA {_clock(left * state.seconds / max(state.step, 1))}"
        )

    def epoch(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the metrics of an epoch, and log a line."""
        self.write(rows)
        row, self.last = rows[-1], time.perf_counter()
        left = (self.epochs - row["epoch"]) * statistics.median(r["seconds"] for r in rows)
        self.log(
            f"epoch {row['epoch']}/{self.epochs}: loss {row['train_loss']:.4f}, "
            f"accuracy {100 * row['train_accuracy']:.2f} %, "
            f"test accuracy {100 * row['test_accuracy']:.2f} %, "
            f"{row['images_per_second']:.0f} images/s, {row['seconds']:.1f} s"
            f"{f', ETA {_clock(left)}' if row['epoch'] < self.epochs else ''}"
        )

    def end(self, result: Mapping[str, Any]) -> None:
        """Write the result."""
        if self.board is not None:
            self.board.close()
        if self.active:
            content = json.dumps(result, allow_nan=False, indent=2) + "\n"
            replace(self.out / RESULT, content.encode())

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write metrics.jsonl whole, and new rows to TensorBoard."""
        if self.active:
            lines = (json.dumps(row, allow_nan=False) + "\n" for row in rows)
            replace(self.out / METRICS, "".join(lines).encode())
        if self.board is not None:
            for row in rows[self.shown :]:
                for name in SCALARS:
                    self.board.add_scalar(name, row[name], row["epoch"])
            self.board.flush()
        self.shown = len(rows)


def _board(folder: Path) -> Any:
    """A new TensorBoard writer for a folder; None where TensorBoard is not installed."""
    if extras.spec("tensorboard") is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        from torch.utils.tensorboard import SummaryWriter
    make_folder(folder, "move it away")
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    return SummaryWriter(str(folder))


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
