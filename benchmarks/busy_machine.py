"""Core operations beside busy processes: default BLAS threads against a single one.

Every core of the machine runs another process: a Python loop, or products of NumPy with threads of
its own. Threads that wait for each other at every small product then take many times as long as one
thread. OMP_WAIT_POLICY=PASSIVE is set for torch, whose threads spin otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from _measure import SEED, report

import gspnl

LIMIT = 2.5  # largest time beside busy processes, in those of one BLAS thread
REPEATS, LEAST = 3, 0.05  # samples of each operation, of at least so many seconds
ONE = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
MANY = {"OMP_WAIT_POLICY": "PASSIVE"}  # torch's waiting threads sleep, as under `gspnl train`
ALIVE = "import os; parent = os.getppid()\n"  # a neighbour ends with this process
NEIGHBOURS = {
    "Python": f"{ALIVE}while os.getppid() == parent: sum(range(10_000))",
    "NumPy": f"{ALIVE}import numpy as np; a = np.ones((700, 700))\n"
    "while os.getppid() == parent: a @ a",
}
Run = Callable[[], Any]


def operations() -> Iterator[tuple[str, Run]]:
    """Yield the name of each operation, and a function that runs it once on a new graph."""
    rng = np.random.default_rng(SEED)
    heat = gspnl.responses.heat(3.0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    X, pair = normal(100_000, 8), (normal(8, 16), normal(8, 16))
    Z = normal(100_000, 16)
    low = partial(gspnl.feature_graph, X, "dot", embed=pair)
    wide = (X.astype(np.float64), [part.astype(np.float64) for part in pair])
    wide_signals = Z.astype(np.float64)
    yield "low rank: degrees", lambda: low().degrees
    yield "low rank: apply", lambda: low().apply(Z)
    yield "low rank: order 8", lambda: low().filter(Z, heat, order=8)
    yield "low rank: exact filter", lambda: low().filter(Z, heat)
    yield "low rank: spectrum", lambda: low().spectrum()
    yield "low rank: spectrum, gft", lambda: low().spectrum().gft(Z)
    yield "low rank, float64: spectrum, gft", lambda: (
        gspnl.feature_graph(wide[0], "dot", embed=wide[1]).spectrum().gft(wide_signals)
    )  # fmt: skip
    small = partial(gspnl.feature_graph, X[:4096], "dot", embed=pair)
    yield "low rank, 4,096 nodes: exact filter", lambda: small().filter(Z[:4096], heat)
    yield "low rank, 4,096 nodes: modes", lambda: small().spectrum().modes(20)
    yield "total variation, 20,000", lambda: gspnl.total_variation(
        gspnl.feature_graph(X[:20_000], "dot", embed=pair), Z[:20_000, :2]
    )  # fmt: skip

    P = normal(3_000, 8)
    points = partial(gspnl.feature_graph, P, "rbf", sigma=2.0)
    signals = Z[:3_000]
    for storage in ("dense", "tiled"):
        graph = partial(points, storage=storage)
        yield f"rbf {storage}, 3,000: apply", partial(lambda g: g().apply(signals), graph)
        yield (
            f"rbf {storage}, 3,000: order 8",
            partial(lambda g: g().filter(signals, heat, order=8), graph),
        )
    yield "rbf dense, 3,000: tol", lambda: points(storage="dense").filter(signals, heat, tol=1e-3)
    yield "rbf dense, 3,000: exact filter", lambda: points(storage="dense").filter(signals, heat)
    yield "rbf dense, 3,000: 20 modes", lambda: points(storage="dense").spectrum(20)
    yield "rbf, 400: spectrum", lambda: gspnl.feature_graph(P[:400], "rbf").spectrum()
    yield "rbf, 1,200: spectrum", lambda: gspnl.feature_graph(P[:1200], "rbf").spectrum()
    attention = (normal(8, 8) / 4, normal(8, 8) / 4)
    tiled = partial(gspnl.feature_graph, P, "embedded_gaussian", embed=attention, storage="tiled")
    yield "embedded Gaussian, tiled, 3,000: order 8", lambda: tiled().filter(signals, heat, order=8)
    scalars = (normal(8), normal(8))
    ramps = partial(gspnl.feature_graph, X[:50_000], "concatenation", embed=scalars)
    yield "concatenation, 50,000: order 8", lambda: ramps().filter(Z[:50_000, :4], heat, order=8)
    yield "Cholesky, rank 64, 10,000", lambda: gspnl.feature_graph(
        X[:10_000], "rbf", sigma=4.0, rank=64
    )  # fmt: skip
    yield "Cholesky, rank 64, 10,000: exact filter", lambda: gspnl.feature_graph(
        X[:10_000], "rbf", sigma=4.0, rank=64
    ).filter(Z[:10_000], heat)  # fmt: skip
    batch = rng.standard_normal((8, 256, 8))
    yield "batch of 8 × 256: order 8", lambda: gspnl.feature_graph(batch, "rbf").filter(
        batch, heat, order=8
    )  # fmt: skip

    half = partial(gspnl.feature_graph, P[:1500], "rbf", sigma=2.0)
    yield "clusters, 1,500", lambda: gspnl.spectral_clustering(half(), 5)
    labels = np.full(1500, -1)
    labels[:60] = rng.integers(0, 4, 60)
    yield "labels, 1,500", lambda: gspnl.propagate_labels(half(), labels)
    known = rng.random(1500) < 0.5
    noisy = rng.standard_normal((1500, 3)).astype(np.float32)
    yield "denoise, 1,500", lambda: gspnl.denoise(half(), noisy, strength=2.0)
    few = partial(gspnl.feature_graph, P[:500], "rbf", sigma=2.0)
    yield "choose_strength, 500", lambda: gspnl.choose_strength(few(), noisy[:500], sigma=1.0)
    yield "inpaint, 1,500", lambda: gspnl.inpaint(half(), noisy, known)
    yield "spectral density, 1,500", lambda: gspnl.spectral_density(half())
    yield "total variation, rbf, 1,500", lambda: gspnl.total_variation(half(), noisy)
    yield "Dirichlet energy, 1,500", lambda: gspnl.dirichlet_energy(half(), noisy)
    sparse = _ring(3000)
    yield "sparse, 3,000: order 30", lambda: gspnl.graph_from_weights(sparse).filter(
        signals.astype(np.float64), heat, order=30
    )  # fmt: skip
    image = rng.random((96, 96, 3))
    yield "image features, 96 × 96", lambda: gspnl.images.photo_features(image)
    try:
        import torch
    except ImportError:
        return
    yield from _blocks(torch)


def _ring(n: int) -> Any:
    from scipy.sparse import diags_array

    return diags_array([np.ones(n - 1)] * 2 + [np.ones(1)] * 2, offsets=[1, -1, n - 1, 1 - n])


def _blocks(torch: Any) -> Iterator[tuple[str, Run]]:
    torch.manual_seed(SEED)
    x = torch.randn(4, 64, 24, 24)

    def step(block: Any) -> None:
        block(x).square().mean().backward()

    for name in ("snl", "gsnl", "nl", "cgnl"):
        yield f"torch block {name}, forward and backward", partial(step, gspnl.nn.create(name, 64))
    features = torch.randn(2000, 8)
    yield "torch rbf, 2,000: order 8", lambda: gspnl.feature_graph(features, "rbf").filter(
        features, gspnl.responses.heat(3.0), order=8
    )  # fmt: skip


def measure(names: list[str]) -> None:
    """Print the median seconds of each operation, run in this process, as JSON."""
    found = {}
    for name, run in operations():
        if names and not any(part in name for part in names):
            continue
        start = time.perf_counter()
        run()
        # A turn of the scheduler is some ms: shorter operations are repeated.
        number = max(1, round(LEAST / (time.perf_counter() - start)))
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            for _ in range(number):
                run()
            times.append((time.perf_counter() - start) / number)
        found[name] = statistics.median(times)
    print(json.dumps(found))


def in_a_process(names: list[str], **environment: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--measure", *names],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


@contextmanager
def busy(code: str | None) -> Iterator[None]:
    """Keep every core busy with another process."""
    others = [] if code is None else [
        subprocess.Popen([sys.executable, "-c", code]) for _ in range(os.cpu_count() or 1)
    ]  # fmt: skip
    try:
        time.sleep(0.5 if others else 0)
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def main(names: list[str], rounds: int, environment: dict[str, str]) -> None:
    known = [name for name, _ in operations()]
    unknown = [part for part in names if not any(part in name for name in known)]
    if unknown:
        raise SystemExit(
            f"no operation is named {', '.join(unknown)}; there are: {'; '.join(known)}"
        )
    states = {"alone": None, **NEIGHBOURS}
    seconds: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(rounds):
        for state, code in states.items():
            with busy(code):
                print(f"measuring {state}", file=sys.stderr, flush=True)
                seconds.setdefault((state, "one"), []).append(in_a_process(names, **ONE))
                seconds.setdefault((state, "default"), []).append(
                    in_a_process(names, **environment)
                )
    median = {
        key: {name: statistics.median(found[name] for found in runs) for name in runs[0]}
        for key, runs in seconds.items()
    }
    alone = median["alone", "one"]
    rows, above = [], []
    for name in alone:
        ratios = [median[s, "default"][name] / median[s, "one"][name] for s in states]
        quiet = max(median[s, "default"][name] for s in NEIGHBOURS) / alone[name]
        rows.append((
            name,
            " ".join(f"{ratio:6.2f}" for ratio in ratios)
            + f" {quiet:6.2f}  {alone[name] * 1e3:8.1f} ms",
        ))  # fmt: skip
        if max(ratios) > LIMIT:
            above.append(f"{name} ({max(ratios):.1f})")
    rows.append((f"above {LIMIT}", ", ".join(above) or "none"))
    report(
        f"Default BLAS threads / one thread: alone, beside Python, beside NumPy on "
        f"{os.cpu_count()} of {os.cpu_count()} cores; the slower of these / one thread alone; "
        "one thread alone",
        rows,
    )


if __name__ == "__main__":
    if "--measure" in sys.argv:
        measure(sys.argv[2:])
    else:
        parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
        parser.add_argument("names", nargs="*", help="parts of names of operations; default: all")
        parser.add_argument("--rounds", type=int, default=2)
        parser.add_argument(
            "--spin", action="store_true", help="leave torch's waiting threads spin"
        )
        given = parser.parse_args()
        main(given.names, given.rounds, {} if given.spin else MANY)
