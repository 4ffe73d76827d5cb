"""Name attention that could not be seen, with the remedy."""

from __future__ import annotations

from collections.abc import Iterable

from gspnl.nn.attention_calls.recorder import Recorder

LOOKED_FOR = (
    "torch's scaled_dot_product_attention (also inside of nn.MultiheadAttention and "
    "nn.TransformerEncoder), and a softmax over keys that is multiplied into values by matmul, "
    "bmm, baddbmm, @ or einsum"
)


def remedy(name: str) -> str:
    """Say how to give the attention of a module."""
    return (
        f"pass attention={{{name!r}: function}}, a function of (module, args, output) that returns "
        "the weights (B, H, N, M) or a mapping with q and k"
    )


def unseen(seen: Recorder, layers: Iterable[str]) -> tuple[str, ...]:
    """Return a sentence for each module that may have attention that was not seen.

    Parameters
    ----------
    seen : Recorder
        After the run.
    layers : iterable of str
        Names of the modules whose attention was seen.
    """
    known = [*layers, *seen.modules.given]
    notes = {name: f"{_label(name)}: {what}; {remedy(name)}" for name, what in seen.remarks.items()}
    silent = {
        name: kind
        for name, kind in seen.modules.suspects.items()
        if not any(_inside(each, name) or _inside(name, each) for each in known)
    }
    for name, kind in silent.items():
        if not any(_inside(other, name) for other in {*silent, *notes} if other != name):
            notes.setdefault(
                name,
                f"{_label(name)} ({kind}): no attention was seen in it; it may use a kernel of its "
                f"own, or none; {remedy(name)}",
            )
    return tuple(notes.values())


def nothing_seen(notes: Iterable[str] = ()) -> str:
    """Say what was looked for in a model whose attention was not seen."""
    found = "; ".join(notes)
    return f"no attention was seen when the model ran; looked for: {LOOKED_FOR}" + (
        f". Found instead: {found}" if found else f"; if it has another kind, {remedy('name')}"
    )


def _inside(name: str, outer: str) -> bool:
    return name == outer or outer == "" or name.startswith(outer + ".")


def _label(name: str) -> str:
    return repr(name) if name else "the model"
