"""Draw under fixed settings of matplotlib, whatever the user's matplotlibrc says."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from gspnl.errors import InputError, MissingExtraError

P = ParamSpec("P")
T = TypeVar("T")

# Beyond matplotlib's own defaults: figures are saved as they were made.
OURS: dict[Any, Any] = {"figure.dpi": 120, "savefig.dpi": "figure", "savefig.bbox": None}
# What a picture shows depends on these, also on the axes of a user.
MEANING: dict[Any, Any] = {
    "image.origin": "upper",
    "image.aspect": "equal",
    "image.interpolation": "auto",
    "image.resample": True,
    "axes.autolimit_mode": "data",
    "axes.xmargin": 0.05,
    "axes.ymargin": 0.05,
}
# Settings of the session, of windows and of dates, which change no pixel of ours.
SESSION = (
    "backend", "interactive", "toolbar", "timezone", "date.epoch", "docstring.hardcopy", "tk.",
    "webagg.", "keymap.", "savefig.directory", "figure.max_open_warning", "figure.raise_window",
)  # fmt: skip
_depth = 0


@contextmanager
def fixed_style() -> Iterator[None]:
    """Set matplotlib's defaults and :data:`OURS`, and restore the user's settings afterwards."""
    global _depth
    if _depth:  # set already
        yield
        return
    try:
        import matplotlib
        import matplotlib.figure
    except ImportError as error:
        raise MissingExtraError(
            "plots need matplotlib, which is not installed: pip install 'gspnl[report]'"
        ) from error
    except (OSError, ValueError) as error:  # it reads the user's settings at its import
        reason = " ".join(str(error).split())
        raise InputError(
            f"matplotlib does not start with your settings ({reason}); correct or unset MPLBACKEND "
            "and MATPLOTLIBRC, or correct your matplotlibrc"
        ) from error

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore", matplotlib.MatplotlibDeprecationWarning)
        defaults = matplotlib.rcParamsDefault
        fixed: dict[Any, Any] = {k: defaults[k] for k in defaults if not k.startswith(SESSION)}
        matplotlib.rcParams.update({**fixed, **OURS})
        _depth += 1
        try:
            yield
        finally:
            _depth -= 1


@contextmanager
def users_style() -> Iterator[None]:
    """Keep the user's settings, except those on which the meaning of a picture depends."""
    import matplotlib

    with matplotlib.rc_context(MEANING):
        yield


def styled(plot: Callable[P, T]) -> Callable[P, T]:
    """Draw a plot ``f(..., ax=None)`` in the fixed style, or on a user's axes in the user's."""

    @wraps(plot)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        with users_style() if kwargs.get("ax") is not None and not _depth else fixed_style():
            return plot(*args, **kwargs)

    return drawn


def colours(name: str) -> Any:
    """Return a colour map by name, of 256 colours whatever ``image.lut`` was at the import."""
    from matplotlib import colormaps

    return colormaps[name].resampled(256)
