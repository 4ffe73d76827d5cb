"""What a run says on the way, and what it writes for TensorBoard."""

from __future__ import annotations

import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gspnl.train.checkpoints import State

NUMBERS = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "learning_rate")


class Progress:
    """Lines on where a run is.

    Parameters
    ----------
    say : callable
        Takes a line.
    epochs, steps : int
        Of the run, and of an epoch.
    every : float
        Seconds between two lines.
    """

    def __init__(
        self, say: Callable[[str], None], epochs: int, steps: int, every: float = 10.0
    ) -> None:
        self.say, self.epochs, self.steps, self.every = say, epochs, steps, every
        self.last = time.perf_counter()

    def step(self, state: State) -> None:
        """Say a line, if the last one is long ago."""
        now = time.perf_counter()
        if now - self.last < self.every:
            return
        self.last = now
        rate = statistics.median(state.rates) if state.rates else 0.0
        left = (self.epochs - state.epoch) * self.steps - state.step
        each = state.seconds / max(state.step, 1)
        self.say(
            f"epoch {state.epoch + 1}/{self.epochs}, step {state.step}/{self.steps}: "
            f"loss {state.loss / max(state.count, 1):.4f}, "
            f"accuracy {100 * state.correct / max(state.count, 1):.2f} %, {rate:.0f} images/s, "
            f"ETA {clock(left * each)}"
        )

    def epoch(self, row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        """Say how an epoch went."""
        self.last = time.perf_counter()
        each = statistics.median(r["seconds"] for r in rows)
        eta = f", ETA {clock((self.epochs - row['epoch']) * each)}"
        self.say(
            f"epoch {row['epoch']}/{self.epochs}: loss {row['train_loss']:.4f}, "
            f"accuracy {100 * row['train_accuracy']:.2f} %, "
            f"test accuracy {100 * row['test_accuracy']:.2f} %, "
            f"{row['images_per_second']:.0f} images/s, {row['seconds']:.1f} s"
            f"{eta if row['epoch'] < self.epochs else ''}"
        )


def clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class Board:
    """Metrics for TensorBoard, in a folder; nothing where it is not installed.

    Parameters
    ----------
    folder : Path
    rows : sequence of dict
        Of the epochs done. They are written anew: a run that was killed has perhaps lost some.
    """

    def __init__(self, folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        self.writer: Any = None
        if importlib.util.find_spec("tensorboard") is None:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own dependencies
            from torch.utils.tensorboard import SummaryWriter
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self.writer = SummaryWriter(str(folder))
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, Any]) -> None:
        """Write an epoch."""
        if self.writer is None:
            return
        for name in NUMBERS:
            self.writer.add_scalar(name, row[name], row["epoch"])
        self.writer.flush()

    def close(self) -> None:
        """Finish the file."""
        if self.writer is not None:
            self.writer.close()
