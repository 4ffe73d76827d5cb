"""The errors gspnl raises. Each message says what was given, what is wrong and what to do."""

from __future__ import annotations


class GspnlError(Exception):
    """Base of every error that gspnl raises on purpose."""


class InputError(GspnlError, ValueError):
    """An argument has a wrong value, shape, dtype or name."""


class DegreeError(InputError):
    """Degrees vanish, are negative or overflow, so the normalised graph is undefined."""


class NonsymmetricError(InputError):
    """A real spectrum was asked of a graph that is not similar to a symmetric one."""


class SizeError(GspnlError, MemoryError):
    """An array would not fit in memory; raised before it is allocated."""


class ConvergenceError(GspnlError, RuntimeError):
    """An iteration did not reach its tolerance."""


class ProcessError(GspnlError, RuntimeError):
    """Another process of a distributed run has failed, or does not answer."""


class FileError(GspnlError, OSError):
    """A file is missing, damaged or of the wrong kind, or a folder cannot be written."""


class MissingExtraError(GspnlError, ImportError):
    """An optional dependency is not installed."""


class BusyError(InputError):
    """Another process is at work on the same thing."""
