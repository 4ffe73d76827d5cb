"""The report: the whole analysis of one photo, as a page, pictures and numbers."""

from gspnl.report.settings import Settings
from gspnl.report.write import write_report

__all__ = ["Settings", "write_report"]
