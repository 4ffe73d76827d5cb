"""A figure that is drawn and saved under fixed settings; imports matplotlib."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from gspnl.plotting._style import fixed_style


class FixedFigure(Figure):
    """A figure whose pixels do not depend on the settings that hold when it is drawn or saved."""

    def draw(self, renderer: Any) -> None:
        """Draw all artists under the fixed style."""
        with fixed_style():
            super().draw(renderer)

    def savefig(self, fname: Any, **options: Any) -> None:
        """Save under the fixed style; options are those of matplotlib."""
        with fixed_style():
            super().savefig(fname, **options)
