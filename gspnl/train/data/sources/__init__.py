"""Files of a data set by their names, in a folder, a zip or a tar.gz."""

from gspnl.train.data.sources.base import Source
from gspnl.train.data.sources.choice import open_source

__all__ = ["Source", "open_source"]
