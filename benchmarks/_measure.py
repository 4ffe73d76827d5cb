"""What the benchmark scripts share: interleaved medians, and the machine they ran on."""

from __future__ import annotations

import json
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy

SEED = int(os.environ.get("GSPNL_BENCH_SEED", "0"))  # of `gspnl bench --seed`


def interleaved(
    rounds: int, in_turn: int = 1, **runs: Callable[[], Any]
) -> tuple[dict[str, float], dict[str, Any]]:
    """Median seconds of each run, taken in turns so that a busy neighbour slows all alike.

    Each runs ``in_turn`` times at its turn: more than once where what a peer leaves of the memory
    allocator would be paid by the next, as it is not in a loop of training steps.

    Returns the medians and the last result of each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    results: dict[str, Any] = {}
    for _ in range(rounds):
        for name, run in runs.items():
            for _ in range(in_turn):
                results.pop(name, None)
                start = time.perf_counter()
                results[name] = run()
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}, results


def resident() -> int:
    """Bytes of this process in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_beyond(run: Callable[[], Any]) -> int:
    """Bytes that a run takes beyond what was resident before it, sampled every millisecond."""
    before = peak = resident()
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.001):
            peak = max(peak, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = run()
    peak = max(peak, resident())
    over.set()
    watcher.join()
    del result
    return peak - before


def machine() -> str:
    """One line for the head of a table of figures."""
    overrides = [name for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") if name in os.environ]
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, SciPy {scipy.__version__}"
        + (f"; {', '.join(overrides)} set" if overrides else "; OPENBLAS_* unset")
    )


def report(title: str, rows: list[tuple[str, str]]) -> None:
    """Print a titled list of figures, the machine under the title; to `gspnl bench` as JSON too."""
    print(f"\n{title}\n{machine()}")
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"  {name:<{width}}  {value}", flush=True)
    if (results := os.environ.get("GSPNL_BENCH_RESULTS")) is not None:
        table = {
            "title": title,
            "machine": machine(),
            "rows": [{"name": name, "value": value.strip()} for name, value in rows],
        }
        with Path(results).open("a", encoding="utf-8") as file:
            file.write(json.dumps(table) + "\n")
