"""Numbers of the attention of a whole network: depth, rollout, verdicts and advice."""

from gspnl.nn.auditing.network.depth import LayerDepth, depth
from gspnl.nn.auditing.network.rollout import rollout
from gspnl.nn.auditing.network.verdicts import Verdict

__all__ = ["LayerDepth", "Verdict", "depth", "rollout"]
