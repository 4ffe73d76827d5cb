"""Analyse one photo as a graph: a page, figures and numbers in a folder."""

from gspnl.report.settings import Settings
from gspnl.report.write import write_report

__all__ = ["Settings", "write_report"]
