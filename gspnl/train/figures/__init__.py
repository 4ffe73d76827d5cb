"""The paper's figures 1, 2, 4 and 5, of any network with blocks, with the numbers they stand for.

Each is a function of a network and a batch of images, which returns arrays that can draw
themselves; :func:`write_figures` makes all of them for one network or several side by side.
"""

from gspnl.train.figures.added import FeatureMaps, feature_maps
from gspnl.train.figures.audited import audit_numbers, write_audit
from gspnl.train.figures.channels import ChannelWeights, channel_maps, channel_weights
from gspnl.train.figures.overlaid import draw_feature_maps
from gspnl.train.figures.powers import PowerHistograms, power_histograms
from gspnl.train.figures.ranges import AttentionRange, attention_ranges
from gspnl.train.figures.reached import draw_attention_ranges
from gspnl.train.figures.writing import write_figures

__all__ = [
    "AttentionRange",
    "ChannelWeights",
    "FeatureMaps",
    "PowerHistograms",
    "attention_ranges",
    "audit_numbers",
    "channel_maps",
    "channel_weights",
    "draw_attention_ranges",
    "draw_feature_maps",
    "feature_maps",
    "power_histograms",
    "write_audit",
    "write_figures",
]
