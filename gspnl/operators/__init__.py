"""Signals and operators of the field on a feature graph; no edge is held in memory."""

from gspnl.operators.clustering import spectral_clustering
from gspnl.operators.denoising import denoise
from gspnl.operators.energy import dirichlet_energy, local_variation, smoothness
from gspnl.operators.inpainting import inpaint
from gspnl.operators.labels import PropagatedLabels, propagate_labels
from gspnl.operators.localization import localize
from gspnl.operators.strength import choose_strength
from gspnl.operators.variation import total_variation

__all__ = [
    "PropagatedLabels",
    "choose_strength",
    "denoise",
    "dirichlet_energy",
    "inpaint",
    "local_variation",
    "localize",
    "propagate_labels",
    "smoothness",
    "spectral_clustering",
    "total_variation",
]
