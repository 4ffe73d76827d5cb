"""The paper's tables 2 to 9 and the controls of its reviewers: grids, runs, statistics, pages."""

from gspnl.train.tables import grids as grids
from gspnl.train.tables.grid import GRIDS, Grid, Row, Statement
from gspnl.train.tables.grids import PROTOCOLS, Protocol
from gspnl.train.tables.plan import Plan, plan_tables
from gspnl.train.tables.runner import run_tables, tables_so_far
from gspnl.train.tables.table import Tables

__all__ = [
    "GRIDS",
    "PROTOCOLS",
    "Grid",
    "Plan",
    "Protocol",
    "Row",
    "Statement",
    "Tables",
    "plan_tables",
    "run_tables",
    "tables_so_far",
]
