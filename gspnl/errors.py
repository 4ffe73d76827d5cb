"""Errors and warnings of gspnl. Each message names the value given, what is wrong, and the fix."""

from __future__ import annotations

from typing import Any


class GspnlError(Exception):
    """Base class of the errors of gspnl."""


class InputError(GspnlError, ValueError):
    """An argument has a wrong value, shape, dtype or name."""


class DegreeError(InputError):
    """Degrees vanish, are negative or overflow, so the normalised graph is undefined."""


class NonsymmetricError(InputError):
    """A real spectrum does not exist: the affinity is not similar to a symmetric matrix."""


class ReducibleError(InputError):
    """A graph has several closed classes, so its stationary distribution is not unique.

    Attributes
    ----------
    classes : list of arrays
        The nodes of each closed class.
    """

    def __init__(self, message: str, classes: list[Any] | None = None) -> None:
        super().__init__(message)
        self.classes = classes or []


class KernelError(InputError):
    """A user's kernel breaks what it declares, or returns wrong shapes or dtypes."""


class SizeError(GspnlError, MemoryError):
    """An array does not fit in memory; raised before it is allocated."""


class ConvergenceError(GspnlError, RuntimeError):
    """An iteration did not reach its tolerance."""


class EffortError(GspnlError, RuntimeError):
    """Work would take too long by its estimate; raised before or early in it."""


class ToleranceError(InputError):
    """A tolerance that no approximation of the kind that was asked for can certify."""


class ProcessError(GspnlError, RuntimeError):
    """Another process of a distributed run has failed or does not respond."""


class FileError(GspnlError, OSError):
    """A file is missing, damaged or of the wrong format, or a folder cannot be written."""


class MissingExtraError(GspnlError, ImportError):
    """An optional dependency is not installed."""


class BusyError(InputError):
    """Another process holds the lock."""


class PrecisionWarning(UserWarning):
    """A result has fewer digits than its dtype; the message says how few, and what to do."""


class AveragingWarning(UserWarning):
    """A graph only averages, so a verb that needs its structure says little; see the remedy."""


class DisconnectedWarning(UserWarning):
    """A graph has several components, between which nothing flows; see the remedy."""


class DuplicatesWarning(UserWarning):
    """Nodes have more copies than neighbours, so their distances say little; see the remedy."""


class DependenceWarning(UserWarning):
    """A graph was built from noisy signals, and an estimate takes it as independent of them."""


class EstimateWarning(UserWarning):
    """A number that was not given is estimated; the message says how, and what it is."""
