"""Nine architectures of four libraries: all heads found, no bit of an output changed.

Makes a virtual environment of its own in ``--venv`` (default: a temporary folder; 1.3 GB with a
torch for the CPU) with torch, torchvision, timm, transformers and this checkout, and runs in it.
Weights are random. Writes ``docs/results/attention_networks.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path

from _attention_venv import PACKAGES, ROOT, run_in

PAGE = ROOT / "docs" / "results" / "attention_networks.md"
COLUMNS = {
    "network": "",
    "settings": "",
    "bits": "outputs",
    "layers": "layers found",
    "heads": "heads found",
    "error": "largest error of A",
    "maps": "W_V, W_O",
    "twin": "names of the twin",
    "seconds": "time, observed / plain",
}
HEADER = """---
orphan: true
---
# Attention of nine architectures, observed

Written by `benchmarks/attention_networks.py`, in a virtual environment of its own: {packages}.
{machine}. Gaussian weights of size 1.5/√fan-in, so that attention is far from uniform; evaluation
mode, no gradients.

"outputs": every bit of the network's outputs, observed and afterwards, against those before.
"largest error of A": observed attention matrices against softmax(s q kᵀ + mask) in NumPy float64,
computed from the inputs and the parameters of the module. "W_V, W_O": layers whose value and output
projections were found, equal to those cut from the parameters by hand; XCiT's 12 layers over
channels have none. "names of the twin": whether the hand-written networks of the tests have the
module and parameter names of the real ones. Times are those of single passes.{remark}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--venv", type=Path, help="folder of the environment (default: temporary)")
    parser.add_argument("--out", type=Path, default=PAGE, help="page to write")
    parser.add_argument("--here", action="store_true", help="run in this environment as it is")
    given = parser.parse_args()
    if not (ROOT / "tests" / "support" / "nn_networks").is_dir():
        raise SystemExit("this benchmark needs the formulas in tests/; run it in a checkout")
    if given.here:
        compare(given.out)
        return
    with contextlib.ExitStack() as stack:
        folder = given.venv or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        run_in(folder.resolve(), Path(__file__), "--here", "--out", str(given.out.resolve()))


def compare(out: Path) -> None:
    """Observe all networks; print the table and write the page."""
    from _attention_cases import of_timm, of_torchvision, of_transformers, own, without_operations
    from _attention_more import more
    from _attention_observed import observed
    from _measure import machine, report

    bare = without_operations()
    rows = []
    for group in (own, of_timm, of_torchvision, of_transformers):
        for case in group():
            rows.append(observed(case))
            print(" | ".join(rows[-1].values()), flush=True)
    lines = ["| " + " | ".join(title or name for name, title in COLUMNS.items()) + " |"]
    lines.append("|" + ":--|" * len(COLUMNS))
    lines += ["| " + " | ".join(row[name] for name in COLUMNS) + " |" for row in rows]
    remark = (
        " torchvision's C++ operations did not load (its wheel is built for CUDA, this torch for "
        "the CPU); two of them were declared, and its models run without them."
    )
    header = HEADER.format(
        packages=", ".join(PACKAGES), machine=machine(), remark=remark if bare else ""
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(header + "\n" + "\n".join(lines) + "\n\n" + more() + "\n", encoding="utf-8")
    report(
        "Attention of nine architectures",
        [(row["network"], f"{row['bits']}, {row['heads']} heads") for row in rows],
    )


if __name__ == "__main__":
    main()
