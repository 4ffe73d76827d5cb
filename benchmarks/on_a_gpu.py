"""Blocks and graphs on a CUDA device: correct, then against dense, SDPA and torch.compile.

``python benchmarks/on_a_gpu.py [--out on_a_gpu.json] [--seconds 330] [--device cuda]``: prints the
tables and writes them to one JSON file. Parts that would begin after ``--seconds`` are named as
skipped. With ``--device cpu --small`` the script runs anywhere, at sizes that say nothing of speed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _measure import SEED, interleaved, machine, report
from nonlocal_blocks import DenseSNL, PlainAttention, live, peer_of, square, step
from torch import Tensor, nn

import gspnl
from gspnl import nn as gnn

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
KERNELS = ("dot", "cosine", "embedded_gaussian", "rbf", "concatenation")


class Bench:
    """Device, sizes, and the rows of all tables.

    Attributes
    ----------
    device : str
    small : bool
        Sizes that only try the script.
    tables : list of dict
        {"title", "rows"} with the numbers of every row.
    """

    def __init__(self, device: str, small: bool) -> None:
        self.device, self.small = device, small
        self.tables: list[dict[str, Any]] = []

    def table(self, title: str, rows: list[dict[str, Any]]) -> None:
        self.tables.append({"title": title, "rows": rows})
        shown = []
        for row in rows:
            values = {k: v for k, v in row.items() if k != "name"}
            text = ", ".join(
                f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()
            )
            shown.append((row["name"], text))
        report(title, shown)

    def settled(self, run: Callable[[], Any]) -> Callable[[], Any]:
        """The run, with its kernels finished at its end."""

        def finished() -> Any:
            result = run()
            if self.device == "cuda":
                torch.cuda.synchronize()
            return result

        return finished

    def peak(self, run: Callable[[], Any]) -> float:
        """MiB of device memory beyond that held before."""
        run()
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20

    def compare(
        self, runs: dict[str, Callable[[], Any]]
    ) -> tuple[dict[str, float], dict[str, Any], dict[str, float]]:
        """Medians of seconds in turns, results and MiB; a run out of memory is left out."""
        able, memory = {}, {}
        for name, run in runs.items():
            try:
                for _ in range(2):  # the first call loads and tunes kernels
                    self.settled(run)()
                if self.device == "cuda":
                    memory[name] = self.peak(run)
                able[name] = self.settled(run)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
        seconds, results = interleaved(3 if self.small else 9, 3, **able)
        return seconds, results, memory


def largest(a: Tensor, b: Tensor) -> float:
    """The largest difference, over the largest entry of b."""
    return float((a.double().cpu() - b.double().cpu()).abs().max() / b.double().abs().max().cpu())


def under(dtype: torch.dtype, device: str, module: nn.Module) -> nn.Module:
    """The module under autocast to bfloat16, or as it is."""
    if dtype == torch.float32:
        return module

    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast(device, dtype):
                return self.inner(x)

    return Cast()


def correct(bench: Bench) -> None:
    """Outputs and gradients against the CPU's in float64, in float64, float32 and bfloat16."""
    rows = []
    cases: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in sorted(gnn.BLOCKS)]
    cases += [("snl", {"kernel": kernel}) for kernel in KERNELS]
    cases += [("snl", {"normalization": m}) for m in ("symmetric", "bistochastic", "softmax")]
    for name, options in cases:
        block = live(gnn.create(name, 16, zero_init=False, norm="none", **options)).double()
        x = torch.randn(2, 16, 12, 12, dtype=torch.float64)
        seed = torch.randn_like(x)

        def gradient(module: nn.Module, x: Tensor, seed: Tensor) -> tuple[Tensor, Tensor]:
            x = x.detach().requires_grad_()
            y = module(x)
            y.backward(seed.to(y.dtype))
            assert x.grad is not None
            return y.detach(), x.grad

        truth = gradient(block, x, seed)
        row: dict[str, Any] = {"name": " ".join([name, *options.values()])}
        for label, dtype in (
            ("float64", torch.float64),
            ("float32", torch.float32),
            ("bfloat16", torch.bfloat16),
        ):
            held = torch.float64 if dtype == torch.float64 else torch.float32
            module: nn.Module = deepcopy(block).to(bench.device, held)
            if dtype == torch.bfloat16:
                module = under(dtype, bench.device, module)
            y, g = gradient(module, x.to(bench.device, held), seed.to(bench.device, held))
            row[f"{label} output"], row[f"{label} gradient"] = (
                largest(y, truth[0]),
                largest(g, truth[1]),
            )
        rows.append(row)
    bench.table("Error against the CPU in float64, over the largest entry", rows)


def against_dense(bench: Bench) -> None:
    """SNL, forward and backward, against the authors' dense formula."""
    shapes = [(32, 64, 32, 1024), (8, 64, 32, 4096), (1, 64, 32, 16384), (8, 1024, 512, 196)]
    rows = []
    for batch, channels, inner, n in [(2, 16, 8, 256)] if bench.small else shapes:
        for label, dtype in DTYPES.items():
            x = torch.randn(batch, channels, *square(n), device=bench.device, requires_grad=True)
            seed = torch.randn_like(x) / x.numel()
            block, dense = live(gnn.create("snl", channels, inner=inner)), DenseSNL(channels, inner)
            peer_of(block, dense)
            runs = {
                key: step(under(dtype, bench.device, module.to(bench.device)), x, seed)
                for key, module in (("dense", dense), ("gspnl", block))
            }
            name = f"({batch}, {channels}, {inner}, {n}) {label}"
            rows.append(row_of(name, bench.compare(runs), "dense"))
    bench.table("SNL, forward and backward: dense / gspnl", rows)


def row_of(
    name: str,
    measured: tuple[dict[str, float], dict[str, Any], dict[str, float]],
    peer: str,
) -> dict[str, Any]:
    """Ratio first, ms, MiB and the difference; a peer that is out of memory has no ratio."""
    seconds, results, memory = measured
    row: dict[str, Any] = {"name": name}
    if peer in seconds:
        row["ratio"] = seconds[peer] / seconds["gspnl"]
        row["difference"] = largest(results[peer], results["gspnl"])
    else:
        row["ratio"] = f"{peer} out of memory"
    for key in seconds:
        row[f"{key} ms"] = seconds[key] * 1e3
        if key in memory:
            row[f"{key} MiB"] = memory[key]
    return row


def against_sdpa(bench: Bench) -> None:
    """Softmax and symmetrised attention blocks against SDPA with the same projections."""
    rows = []
    for n in (256,) if bench.small else (1024, 4096, 16384):
        for label, dtype in DTYPES.items():
            x = torch.randn(4, 64, *square(n), device=bench.device, requires_grad=True)
            seed = torch.randn_like(x) / x.numel()
            nl = live(gnn.create("nl", 64)).to(bench.device)
            joint = live(
                gnn.create("nl", 64, kernel="embedded_gaussian", normalization="random_walk")
            ).to(bench.device)
            for name, block in (("nl", nl), ("symmetrised", joint)):
                runs = {
                    key: step(under(dtype, bench.device, module), x, seed)
                    for key, module in (("sdpa", PlainAttention(nl)), ("gspnl", block))
                }
                row = row_of(f"{name}, N = {n} {label}", bench.compare(runs), "sdpa")
                if name != "nl":
                    row.pop("difference", None)  # another block
                rows.append(row)
    bench.table("(4, 64, 32, N), forward and backward: SDPA / block", rows)


def compiled(bench: Bench) -> None:
    """torch.compile of the block and of the dense formula."""
    rows = []
    batch, channels, inner, n = (2, 16, 8, 256) if bench.small else (32, 64, 32, 1024)
    for label, dtype in DTYPES.items():
        x = torch.randn(batch, channels, *square(n), device=bench.device, requires_grad=True)
        seed = torch.randn_like(x) / x.numel()
        block, dense = live(gnn.create("snl", channels, inner=inner)), DenseSNL(channels, inner)
        peer_of(block, dense)
        modules = {"gspnl": block.to(bench.device), "dense": dense.to(bench.device)}
        runs = {
            key: step(under(dtype, bench.device, module), x, seed)
            for key, module in modules.items()
        }
        for key, module in modules.items():
            fast = torch.compile(deepcopy(module))
            runs[f"{key}_compiled"] = step(under(dtype, bench.device, fast), x, seed)
        name = f"({batch}, {channels}, {inner}, {n}) {label}"
        rows.append(row_of(name, bench.compare(runs), "dense_compiled"))
    bench.table("torch.compile: compiled dense / eager gspnl", rows)


def graphs(bench: Bench) -> None:
    """The core with torch arrays: a low-rank graph, an exact filter and a Chebyshev filter."""
    rows = []
    heat = gspnl.responses.heat(3.0)
    for n in (2000,) if bench.small else (100_000, 1_000_000):
        X = torch.rand(n, 16)
        z = torch.randn(n, 16)

        def run(device: str, order: int | None, X: Tensor = X, z: Tensor = z) -> Tensor:
            graph = gspnl.feature_graph(X.to(device), "dot", storage="lowrank")
            return graph.filter(z.to(device), heat, **({} if order is None else {"order": order}))

        for name, order in (("exact", None), ("order 8", 8)):
            runs = {
                "cpu": partial(run, "cpu", order),
                "gspnl": partial(run, bench.device, order),
            }
            rows.append(row_of(f"N = {n}, {name}", bench.compare(runs), "cpu"))
    bench.table("Graph and filter, 16 signals, float32, transfers included: CPU / device", rows)


PARTS = {
    "correct": correct,
    "dense": against_dense,
    "sdpa": against_sdpa,
    "graphs": graphs,
    "compiled": compiled,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("on_a_gpu.json"))
    parser.add_argument("--seconds", type=float, default=330.0, help="begin no part after these")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="sizes that only try the script")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("on_a_gpu: torch sees no CUDA device, so nothing is measured")
        return
    torch.manual_seed(SEED)
    bench, start = Bench(options.device, options.small), time.monotonic()
    skipped, took = [], {}
    for name, part in PARTS.items():
        begun = time.monotonic()
        if begun - start > options.seconds:
            skipped.append(name)
            print(f"{name}: skipped, {begun - start:.0f} s are over")
            continue
        part(bench)
        took[name] = time.monotonic() - begun
    gpu = torch.cuda.get_device_name() if options.device == "cuda" else options.device
    found = {
        "machine": machine(),
        "device": gpu,
        "torch": torch.__version__,
        "seconds": took,
        "skipped": skipped,
        "tables": bench.tables,
    }
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"\n{gpu}, torch {torch.__version__}: {sum(took.values()):.0f} s, in {options.out}")


if __name__ == "__main__":
    main()
