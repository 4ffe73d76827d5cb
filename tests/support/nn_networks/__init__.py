"""Small networks with attention after published architectures, with the layers of each.

Random weights, tiny widths, seeded. Module names are those of timm 1.0, torchvision 0.28 and
transformers 5 ("_v4": of transformers 4), so that projections can be found by name and structure.
"""

from support.nn_networks import (
    albert,
    bert,
    encoders,
    gpt2,
    hf_vit,
    llama,
    swin,
    torchvision_vit,
    vit,
    xcit,
)
from support.nn_networks.network import Keeper, Layer, Network, attention_of, run

__all__ = ["NETWORKS", "Keeper", "Layer", "Network", "attention_of", "run"]

NETWORKS: dict[str, Network] = {
    network.name: network
    for module in (encoders, vit, hf_vit, swin, xcit, torchvision_vit, bert, albert, gpt2, llama)
    for network in module.NETWORKS
}
