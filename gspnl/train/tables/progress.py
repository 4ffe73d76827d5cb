"""What is done of some runs, and how long the rest may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from gspnl.train.recipes import Recipe
from gspnl.train.tables.folder import Folder


@dataclass(frozen=True)
class Progress:
    """Runs by key.

    Parameters
    ----------
    states : dict of str to str
        "done", "failed: …", "7 of 12 epochs" or "to do".
    seconds_left : float or None
        By the runs that are done; None while none is, or if all have another backbone.
    """

    states: dict[str, str]
    seconds_left: float | None

    @classmethod
    def of(cls, runs: Mapping[str, Recipe], folder: Folder) -> Progress:
        """Read what there is."""
        results = {name: folder.result(run) for name, run in runs.items()}
        paces: dict[tuple[str, ...], list[float]] = {}
        for name, run in runs.items():
            result = results[name]
            if result is not None and result.get("seconds"):
                pace = result["seconds"] / run.epochs
                for alike in _alike(run):
                    paces.setdefault(alike, []).append(pace)
        states, left = {}, 0.0
        unknown = False
        for name, run in runs.items():
            if results[name] is not None:
                states[name] = "done"
                continue
            epochs = len(folder.metrics(run)) if folder.begun(run) else 0
            reason = folder.failure(run)
            if reason is not None:
                states[name] = f"failed: {reason}"
            else:
                states[name] = f"{epochs} of {run.epochs} epochs" if epochs else "to do"
            known = next((paces[alike] for alike in _alike(run) if alike in paces), None)
            if known is None:
                unknown = True
            else:
                left += fmean(known) * max(run.epochs - epochs, 0)
        return cls(states, None if unknown else left)

    @property
    def done(self) -> int:
        """How many runs are done."""
        return sum(state == "done" for state in self.states.values())

    @property
    def left(self) -> str:
        """Done, and the time left, in words."""
        done = f"{self.done} of {len(self.states)} runs done"
        if self.done == len(self.states):
            return done
        if self.seconds_left is None:
            return f"{done}, time left unknown yet"
        return f"{done}, about {duration(self.seconds_left)} left"


def _alike(run: Recipe) -> tuple[tuple[str, ...], ...]:
    """What a run's pace is taken from, the most alike first."""
    size = (run.data, run.backbone)
    units, place = str(run.units), str(run.place)
    return (*size, str(run.block), place, units), (*size, str(run.block)), size


def duration(seconds: float) -> str:
    """A time that people can read.

    Examples
    --------
    >>> duration(40), duration(300), duration(9000), duration(400_000)
    ('40 s', '5 min', '2 h 30 min', '4 d 15 h')
    """
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{round(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = minutes // 60
    return f"{hours // 24} d {hours % 24} h"
