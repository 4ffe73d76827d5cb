"""The pickles of published image sets, read as data: no import, no call."""

from gspnl.train.data.pickles.reading import unpickle

__all__ = ["unpickle"]
