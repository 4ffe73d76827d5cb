"""Fourier sums of signals on a GPU, by cufinufft; nothing is copied to the host."""

from __future__ import annotations

from typing import Any

from gspnl._base.array import Array, device, like, namespace
from gspnl._base.extras import spec
from gspnl.affinity.approximation.fourier.transform import WIDEST, Transform
from gspnl.errors import MissingExtraError


def on_device(x: Array) -> bool:
    """Tell whether an array lies elsewhere than in the memory of the CPU."""
    return "cpu" not in str(device(x)).lower()


def check_device(X: Array) -> None:
    """Raise MissingExtraError for features on a GPU where cufinufft is not installed."""
    if on_device(X) and spec("cufinufft") is None:
        raise MissingExtraError(
            f"approximation='fourier' of features on {str(device(X))!r} needs cufinufft; pip "
            "install cufinufft, pass X.cpu() and signals on the CPU, or take "
            "approximation='random_features'"
        )


def device_sums(transform: Transform, Z: Array) -> Array:
    """Compute the Gaussian sums of a transform for float64 columns Z (N, c) on a GPU."""
    xp = namespace(Z)
    coefficients = like(transform.coefficients, Z)
    found = []
    for first in range(0, Z.shape[1], 2 * WIDEST):
        part = Z[:, first : first + 2 * WIDEST]
        if part.shape[1] % 2:
            part = xp.concat([part, 0 * part[:, :1]], axis=1)
        packed = (part[:, 0::2] + 1j * part[:, 1::2]).T.contiguous()
        spread, gather = plans(transform, packed, Z)
        sums = gather.execute(spread.execute(packed) * coefficients)
        pairs = xp.stack([sums.real, sums.imag], axis=1)  # (pairs, 2, N)
        found.append(xp.reshape(pairs, (-1, Z.shape[0])).T)
    return xp.concat(found, axis=1)[:, : Z.shape[1]]


def plans(transform: Transform, packed: Array, Z: Array) -> tuple[Any, Any]:
    """Return cufinufft's plans of types 1 and 2; they are made once a device and column count."""
    import cufinufft

    key = (str(device(Z)), packed.shape[0])
    if key not in transform.on_devices:
        angles = [like(x, Z) for x in transform.angles]
        where = {"gpu_device_id": getattr(device(Z), "index", None) or 0}
        made = []
        for kind, sign in ((1, -1), (2, 1)):
            plan = cufinufft.Plan(
                kind, transform.modes, packed.shape[0], transform.eps, sign, "complex128", **where
            )
            plan.setpts(*angles)
            made.append(plan)
        transform.on_devices[key] = made
    spread, gather = transform.on_devices[key]
    return spread, gather
