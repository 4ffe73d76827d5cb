"""Counter-based random numbers, keyed by seed, epoch and sample."""

from __future__ import annotations

import numpy as np

ORDER, DRAWS = 0, 1  # purposes; streams of one key and several purposes do not overlap


def _raw(seed: int, epoch: int, count: int, purpose: int) -> np.ndarray:
    """The first numbers of a stream, 64 bits each; NumPy guarantees its bit streams."""
    key = np.array([seed, epoch], np.uint64)
    counter = np.array([0, 0, 0, purpose], np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(count)


def uniforms(seed: int, epoch: int, samples: int, draws: int) -> np.ndarray:
    """Draw uniforms in [0, 1), float32 of shape (samples, draws), for an epoch.

    Row i is sample i's in every batch, process and resumed run, whatever ``samples`` is: Philox
    (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) encrypts a counter with
    the key (seed, epoch). The numbers are multiples of 2⁻²⁴, exact as float32.
    """
    raw = _raw(seed, epoch, samples * draws, DRAWS) >> np.uint64(40)
    return (raw.astype(np.float32) * np.float32(2.0**-24)).reshape(samples, draws)


def order(seed: int, epoch: int, samples: int) -> np.ndarray:
    """Draw an order of the samples, (samples,), by sorting random numbers."""
    return np.argsort(_raw(seed, epoch, samples, ORDER), kind="stable")
