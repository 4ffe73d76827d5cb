"""Further architectures of transformers and timm: attention observed against what they report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from _attention_observed import tensors
from support.nn_networks.network import Keeper, noise, run, seeded
from support.nn_networks.plain import weights_of
from torch import nn

from gspnl.nn.attention_calls import observe

SMALL = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 100,
}
GPT = {"n_embd": 48, "n_layer": 2, "n_head": 4, "vocab_size": 100}
BOTH = {
    "d_model": 48,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "vocab_size": 100,
}
IMAGE = {key: SMALL[key] for key in SMALL if key != "vocab_size"}
IMAGE |= {"image_size": 32, "patch_size": 8}
STAGES = {"embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
STAGES |= {"image_size": 32, "patch_size": 2}
GROUPS = SMALL | {"num_key_value_heads": 2}
ATTENTIONS = ("encoder_attentions", "attentions", "decoder_attentions", "cross_attentions")

TEXT: dict[str, Mapping[str, Any]] = {
    "Bert": SMALL,
    "Roberta": SMALL | {"pad_token_id": 1},
    "Albert": SMALL | {"embedding_size": 16},
    "DistilBert": {"dim": 48, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": 100},
    "Electra": SMALL | {"embedding_size": 16},
    "DebertaV2": SMALL | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "MPNet": SMALL,
    "XLNet": {"d_model": 48, "n_layer": 2, "n_head": 4, "d_inner": 64, "vocab_size": 100},
    "ModernBert": SMALL | {"local_attention": 4, "pad_token_id": 0},
    "Longformer": SMALL | {"attention_window": 4, "pad_token_id": 1},
    "Nystromformer": SMALL,
    "GPT2": GPT,
    "GPTNeoX": SMALL,
    "GPTJ": GPT | {"rotary_dim": 4},
    "OPT": SMALL | {"ffn_dim": 64, "word_embed_proj_dim": 48},
    "Bloom": {"hidden_size": 48, "n_layer": 2, "n_head": 4, "vocab_size": 100},
    "Falcon": SMALL,
    "Llama": GROUPS,
    "Mistral": GROUPS | {"sliding_window": 4},
    "Qwen3": GROUPS | {"head_dim": 12},
    "Gemma2": GROUPS | {"head_dim": 12},
    "Phi": SMALL,
}
TRANSLATION: dict[str, Mapping[str, Any]] = {
    "T5": {"d_model": 48, "num_layers": 2, "num_heads": 4, "d_kv": 12, "vocab_size": 100},
    "Bart": BOTH,
}
VISION: dict[str, Mapping[str, Any]] = {
    "ViT": IMAGE,
    "DeiT": IMAGE,
    "Beit": IMAGE | {"use_relative_position_bias": True},
    "Dinov2": IMAGE,
    "CLIPVision": IMAGE,
    "Swin": STAGES,
    "Swinv2": STAGES,
    "Segformer": {},
}
TIMM = (
    "beit_base_patch16_224", "botnet26t_256", "cait_xxs24_224", "coat_tiny", "coatnet_0_rw_224",
    "crossvit_9_240", "davit_tiny", "deit_tiny_distilled_patch16_224", "edgenext_xx_small",
    "efficientformerv2_s0", "eva02_tiny_patch14_224", "fastvit_sa12", "gcvit_xxtiny",
    "halonet26t", "hiera_tiny_224", "levit_128s", "maxvit_pico_rw_256", "mobilevit_xxs",
    "mvitv2_tiny", "nest_tiny", "nextvit_small", "pit_ti_224", "pvt_v2_b0", "swin_s3_tiny_224",
    "swinv2_tiny_window8_256", "tiny_vit_5m_224", "tnt_s_patch16_224", "twins_svt_small",
    "visformer_tiny", "vit_small_patch16_dinov3", "vitamin_small_224", "volo_d1_224",
)  # fmt: skip
COLUMNS = ("network", "outputs", "layers of attention", "seen", "W_V, W_O")
WORDS = """
## More architectures

Small ones of transformers, eager: the attention matrices that the network itself reports, with
`output_attentions=True` (Swin: one a stage), and how many of them were seen, equal to 1e-5. Those
of timm do not report: the modules called that declare heads. Longformer computes bands of A and not
its rows; in CaiT and EfficientFormerV2 a layer mixes the heads after the softmax, so their A is not
stochastic: `gnn.audit` names these modules. "W_V, W_O": of the attention seen.
"""


def more() -> str:
    """Markdown of both tables."""
    parts = [WORDS]
    for rows in (of_transformers(), of_timm()):
        lines = ["| " + " | ".join(COLUMNS) + " |", "|" + ":--|" * len(COLUMNS)]
        for row in rows:
            print(" | ".join(row), flush=True)
            lines.append("| " + " | ".join(row) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(part.strip() for part in parts)


def of_transformers() -> Iterator[tuple[str, ...]]:
    """Rows of the networks of transformers."""
    import transformers

    transformers.logging.set_verbosity_error()
    ids = torch.randint(3, 99, (2, 12), generator=torch.Generator().manual_seed(0))
    padded = {"input_ids": ids, "attention_mask": (ids >= 0).long()}
    padded["attention_mask"][1, 9:] = 0
    groups = (
        (TEXT, padded),
        (TRANSLATION, padded | {"decoder_input_ids": ids[:, :7]}),
        (VISION, {"pixel_values": noise(2, 3, 32, 32)}),
    )
    for kinds, batch in groups:
        for kind, settings in kinds.items():
            config = getattr(transformers, f"{kind}Config")(**settings)
            build = getattr(transformers, f"{kind}Model")._from_config
            model = seeded(build(config, attn_implementation="eager"))
            same, calls = seen(model, batch)
            with torch.no_grad():
                output = model(**batch, output_attentions=True)
            reported = [a for name in ATTENTIONS for a in getattr(output, name, None) or ()]
            found = [weights_of(call) for call in calls]
            equal = sum(
                any(b.shape == a.shape and np.abs(b - a.numpy()).max() < 1e-5 for b in found)
                for a in reported
            )
            yield (f"{kind}Model", same, str(len(reported)), str(equal), maps(calls))


def of_timm() -> Iterator[tuple[str, ...]]:
    """Rows of the networks of timm."""
    import timm

    for name in TIMM:
        model = seeded(timm.create_model(name))
        image = noise(1, *model.pretrained_cfg["input_size"])
        declared = called(model, image)
        same, calls = seen(model, image)
        layers = {call.layer.removeprefix("model.") + "." for call in calls}
        found = sum(any(layer.startswith(f"{each}.") for layer in layers) for each in declared)
        yield name, same, str(len(declared)), str(found), maps(calls)


def called(model: nn.Module, image: torch.Tensor) -> set[str]:
    """Names of the modules of attention that declare heads and are called."""
    names: set[str] = set()
    hooks = []
    for name, module in model.named_modules():
        heads = getattr(module, "num_heads", getattr(module, "heads", None))
        if isinstance(heads, int) and "att" in type(module).__name__.lower():

            def note(module: nn.Module, args: Any, name: str = name) -> None:
                names.add(name)

            hooks.append(module.register_forward_pre_hook(note))
    with torch.no_grad():
        run(model, image)
    for hook in hooks:
        hook.remove()
    return names


def seen(model: nn.Module, batch: Any) -> tuple[str, list[Any]]:
    """Observe, and compare every bit of the outputs."""
    with torch.no_grad():
        before = tensors(run(model, batch))
    keeper = Keeper(model)
    calls = observe(keeper, batch)
    during = tensors(keeper.output)
    same = len(before) == len(during) and all(map(torch.equal, before, during))
    return "equal" if same else "**changed**", calls


def maps(calls: list[Any]) -> str:
    """Count calls with both projections."""
    both = [c for c in calls if c.value_weight is not None and c.output_weight is not None]
    return f"{len(both)} of {len(calls)}"
