"""``python -m gspnl``: the command line."""

import sys

from gspnl.cli import main

sys.exit(main())
