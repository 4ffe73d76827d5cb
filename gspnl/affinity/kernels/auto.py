"""Choose a kernel for kernel="auto", the default of feature_graph, from its options and features.

The options choose first:

- ``embed=`` or ``feature_map=``: "dot"; with ``temperature=``: "embedded_gaussian";
- ``sigma=``, or ``rank=``, ``tol=`` or ``approximation=``: "rbf", by default with sigma="median"
  for the three, since a low rank needs one σ;
- ``anchors=``, or ``seed=`` without an approximation, or ``storage="lowrank"``: "anchors".

Without them the number of nodes does:

- up to :data:`EXACT`: "rbf" with sigma="adaptive", whose dense W takes at most 32 MB;
- above: "anchors" with :data:`ANCHORS` anchors and sigma="adaptive", whose cost is linear in N.

Both have few effective neighbours a node, and were chosen by labels, clusters and denoising on ten
data sets (docs/results/ten_data_sets.md).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from gspnl._base.array import Array, constant
from gspnl.affinity.kernels.anchors import Anchors
from gspnl.affinity.kernels.bandwidth import bandwidths
from gspnl.affinity.kernels.base import KERNELS, Kernel
from gspnl.affinity.kernels.rbf import RBF
from gspnl.errors import InputError

EXACT = 2_000
ANCHORS = 256
TAKERS = ("rbf", "anchors", "embedded_gaussian", "dot")  # in the order in which options choose


@dataclass(frozen=True)
class Adaptive(RBF):
    """The rbf kernel with sigma="adaptive", for any features: equal nodes get σ = 1."""

    sigma: float | str = "adaptive"

    def fit(self, X: Array) -> RBF:
        return RBF("adaptive", bandwidths("adaptive", constant(X), equal=1.0))


def choose_kernel(
    X: Array, options: dict[str, Any], *, embedded: bool, approximated: bool, storage: str
) -> tuple[Kernel, str]:
    """Return the kernel for features X (..., N, C), not yet fitted, and the reason.

    Raises
    ------
    InputError
        For options that no kernel has, or no kernel has together.
    """
    if options or embedded or approximated:
        name = _taker(options, embedded=embedded)
        given = sorted(options) + ["embed"] * embedded
        if approximated and name == "rbf":
            options = {"sigma": "median", **options}
            given = given or ["rank or tol"]
        if storage == "lowrank" and name == "rbf" and not approximated:
            name = "anchors"
        kernel = KERNELS[name](**options)
        return kernel, f"kernel='auto' took {name!r} for the option {', '.join(given)}"
    n = X.shape[-2]
    if storage == "lowrank" or n > EXACT:
        why = "storage='lowrank'" if storage == "lowrank" else f"more than {EXACT:,} nodes"
        return Anchors(ANCHORS, "adaptive"), f"kernel='auto' took 'anchors' for {why}"
    why = f"kernel='auto' took 'rbf' with sigma='adaptive' for at most {EXACT:,} nodes"
    return Adaptive(), why


def _taker(options: dict[str, Any], *, embedded: bool) -> str:
    """Return the first kernel that takes all of the options."""
    takers = [name for name in TAKERS if not embedded or KERNELS[name].embedding == "matrices"]
    if embedded and "temperature" not in options:
        takers = ["dot"]
    own = {name: {f.name for f in fields(KERNELS[name]) if not f.name.startswith("_")}
           for name in takers}  # fmt: skip
    for name in takers:
        if set(options) <= own[name]:
            return name
    known = set().union(*own.values())
    unknown = sorted(set(options) - known)
    with_embed = " with embed=" if embedded else ""
    if unknown:
        raise InputError(
            f"kernel='auto'{with_embed} has no option {', '.join(map(repr, unknown))}; it takes "
            f"{', '.join(map(repr, sorted(known)))}, or pass the kernel that has it as kernel="
        )
    raise InputError(
        f"the options {', '.join(map(repr, sorted(options)))} belong to different kernels"
        f"{with_embed}; pass kernel= and its own options"
    )
