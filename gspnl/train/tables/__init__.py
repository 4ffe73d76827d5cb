"""The paper's tables 2 to 9 and the controls of its reviewers: grids, runs, statistics, pages."""

from gspnl.train.tables import controls as controls
from gspnl.train.tables import grids as grids
from gspnl.train.tables.base import GRIDS, Grid, Row, Statement
from gspnl.train.tables.planning import Plan, Tables, plan_tables
from gspnl.train.tables.protocols import PROTOCOLS, Protocol
from gspnl.train.tables.running import run_tables, tables_so_far

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
