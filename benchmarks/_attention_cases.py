"""Networks of torch, timm, torchvision and transformers, with the attention that each contains.

Plain formulas, projections and names are those of the twins in ``tests/support/nn_networks``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.nn_networks import NETWORKS, bert, encoders, gpt2, hf_vit, swin, vit, xcit
from support.nn_networks.network import Network, noise


@dataclass(frozen=True)
class Expected:
    """Attention of one module: its name and heads, A by a plain formula, W_V and W_O."""

    name: str
    heads: int
    attention: Callable[..., Any]
    projections: Callable[[nn.Module, str], Any] | None


@dataclass(frozen=True)
class Case:
    """A network with random weights, a batch, and what is expected.

    Parameters
    ----------
    name, settings : str
    build, batch : callable
    layers : tuple of Expected
    twin : Network
    fast : bool
        Whether torch may take the fast path of its own layers.
    """

    name: str
    settings: str
    build: Callable[[], nn.Module]
    batch: Callable[[], Any]
    layers: tuple[Expected, ...]
    twin: Network
    fast: bool = True


def _layers(
    names: Iterable[str], heads: int, formulas: tuple[Callable[..., Any], Any]
) -> tuple[Expected, ...]:
    return tuple(Expected(name, heads, *formulas) for name in names)


OWN = (encoders.attention, encoders.projections)


def own() -> list[Case]:
    """nn.TransformerEncoder, on its fast path and not, and nn.MultiheadAttention."""

    def encoder() -> nn.Module:
        return nn.TransformerEncoder(nn.TransformerEncoderLayer(128, 8, 512, batch_first=True), 6)

    def tokens() -> torch.Tensor:
        return noise(2, 64, 128)

    layers = _layers((f"layers.{i}.self_attn" for i in range(6)), 8, OWN)
    settings, twin = "6 layers, 8 heads, 2 × 64 tokens", NETWORKS["encoder"]
    mask = {"src_key_padding_mask": torch.arange(64) >= torch.tensor([64, 40])[:, None]}
    return [
        Case("nn.TransformerEncoder, fast path", settings, encoder, tokens, layers, twin),
        Case(
            "nn.TransformerEncoder, fast path, padded",
            settings,
            encoder,
            lambda: {"src": tokens(), **mask},
            layers,
            twin,
        ),
        Case("nn.TransformerEncoder", settings, encoder, tokens, layers, twin, fast=False),
        Case(
            "nn.MultiheadAttention",
            "8 heads, 2 × 64 tokens",
            lambda: nn.MultiheadAttention(128, 8, batch_first=True),
            lambda: (tokens(),) * 3,
            _layers([""], 8, OWN),
            NETWORKS["multihead"],
        ),
    ]


def of_timm() -> list[Case]:
    """ViT, Swin and XCiT of timm."""
    import timm

    def image() -> torch.Tensor:
        return noise(1, 3, 224, 224)

    def case(title: str, name: str, layers: tuple[Expected, ...], twin: str, fused: bool) -> Case:
        def build() -> nn.Module:
            timm.layers.set_fused_attn(fused, experimental=fused)
            return timm.create_model(name)

        title += ", SDPA" if fused else ", eager"
        return Case(title, name, build, image, layers, NETWORKS[twin])

    blocks = tuple(f"blocks.{i}.attn" for i in range(12))
    windows: tuple[Expected, ...] = ()
    for stage, (depth, heads) in enumerate(zip((2, 2, 6, 2), (3, 6, 12, 24), strict=True)):
        names = (f"layers.{stage}.blocks.{i}.attn" for i in range(depth))
        windows += _layers(names, heads, (swin.attention, vit.timm_projections))
    classes = (f"cls_attn_blocks.{i}.attn" for i in range(2))
    channels = _layers(blocks, 4, (xcit.channels_attention, None))
    channels += _layers(classes, 4, (xcit.class_attention, xcit.class_projections))
    plain = _layers(blocks, 3, (vit.timm_attention, vit.timm_projections))
    kinds = (
        ("timm ViT", "vit_tiny_patch16_224", plain, "timm_vit"),
        ("timm Swin", "swin_tiny_patch4_window7_224", windows, "timm_swin"),
        ("timm XCiT", "xcit_nano_12_p16_224", channels, "timm_xcit"),
    )
    return [case(*kind, fused) for kind in kinds for fused in (True, False)]


def of_torchvision() -> list[Case]:
    """ViT of torchvision."""
    from torchvision.models import vit_b_16

    names = (f"encoder.layers.encoder_layer_{i}.self_attention" for i in range(12))
    layers, twin = _layers(names, 12, OWN), NETWORKS["torchvision_vit"]
    return [
        Case("torchvision ViT", "vit_b_16", vit_b_16, lambda: noise(1, 3, 224, 224), layers, twin)
    ]


def of_transformers() -> list[Case]:
    """BERT by SDPA and eager, ViT and GPT-2 of transformers, in their default sizes."""
    import transformers

    def case(kind: str, name: str, how: str, formulas: Any, batch: Any, twin: str) -> Case:
        def build() -> nn.Module:
            config = getattr(transformers, f"{kind}Config")()
            return transformers.AutoModel.from_config(config, attn_implementation=how)

        layers = _layers((name.format(i) for i in range(12)), 12, formulas)
        settings = f"{kind}Model, default sizes"
        return Case(f"Hugging Face {kind}, {how}", settings, build, batch, layers, NETWORKS[twin])

    def ids(*lengths: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        shape = (len(lengths), max(lengths))
        mask = torch.arange(shape[1]) < torch.tensor(lengths)[:, None]
        drawn = torch.randint(1000, 20000, shape, generator=generator)
        return {"input_ids": drawn} | ({"attention_mask": mask.long()} if len(lengths) > 1 else {})

    names, pairs = "encoder.layer.{}.attention.self", (bert.attention, bert.projections)
    image = {"pixel_values": noise(1, 3, 224, 224)}
    ours = (hf_vit.attention, hf_vit.projections)
    causal = (gpt2.attention, gpt2.projections)
    return [
        case("Bert", names, "sdpa", pairs, lambda: ids(32, 24), "bert_sdpa"),
        case("Bert", names, "eager", pairs, lambda: ids(32, 24), "bert_eager"),
        case("ViT", "layers.{}.attention", "sdpa", ours, lambda: image, "hf_vit"),
        case("GPT2", "h.{}.attn", "sdpa", causal, lambda: ids(32), "gpt2_sdpa"),
        case("GPT2", "h.{}.attn", "eager", causal, lambda: ids(32), "gpt2_eager"),
    ]


def without_operations() -> bool:
    """Import torchvision; where its C++ operations do not load, declare the two it asks for.

    The wheel for CUDA finds no libraries beside a torch for the CPU. Its models do not need them.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        import torchvision
    return not _has_operations(torchvision)


def _has_operations(torchvision: ModuleType) -> bool:
    return bool(torchvision.extension._has_ops())


_KEPT: list[Any] = []
