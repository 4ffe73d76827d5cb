"""The paper's figures 1, 2, 4 and 5 of any network with blocks, with their numbers.

Each is a function of a network and a batch of images that returns arrays with a ``plot`` method;
:func:`write_figures` draws all of them for one network or several side by side. The paper is
L. Zhu, Q. She, L. Zhang and P. Guo, "A spectral nonlocal block for neural networks",
arXiv:1911.01059.
"""

from gspnl.nn.auditing.maps import channel_maps
from gspnl.train.figures.attention_range import (
    AttentionRange,
    attention_ranges,
    draw_attention_ranges,
)
from gspnl.train.figures.channel_weights import ChannelWeights, channel_weights
from gspnl.train.figures.feature_maps import FeatureMaps, draw_feature_maps, feature_maps
from gspnl.train.figures.files import audit_numbers, write_audit, write_figures
from gspnl.train.figures.power_histograms import PowerHistograms, power_histograms

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
