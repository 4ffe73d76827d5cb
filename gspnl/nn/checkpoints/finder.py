"""Find the weights in a checkpoint as training scripts write them.

A checkpoint holds a state dict, itself or under names such as ``model_state_dict`` or ``ema``,
beside an optimiser, an epoch and arguments. A candidate is a mapping from names to arrays; the
caller says which candidates hold what it wants, and under which prefixes.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gspnl.errors import InputError

log = logging.getLogger(__name__)

DEPTH = 4  # of mappings in mappings
MOST = 1_000_000  # mappings and lists; more is no checkpoint
USUAL = {"model_state_dict", "state_dict", "model", "net", "network", "weights", "module", "params"}
# Parts of a name that say: an average, a frozen copy or an earlier state of the model.
COPY = {
    "ema",
    "swa",
    "average",
    "averaged",
    "avg",
    "teacher",
    "momentum",
    "target",
    "shadow",
    "best",
}
WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}
PARALLEL = "module."  # of DataParallel, DistributedDataParallel and AveragedModel
AVERAGED = "n_averaged"  # the counter of AveragedModel
SHOWN = 6

Fit = Callable[[dict[str, Any]], list[str]]  # prefixes under which a candidate holds it


@dataclass(frozen=True)
class Found:
    """Weights in a checkpoint.

    Parameters
    ----------
    name : str
        Keys from the outside in, joined by dots; "" for the checkpoint itself.
    entries : dict
        Names and values, without the names of wrappers.
    others : tuple of str
        Names of other weights that fit.
    left : tuple of str
        Names beside the prefix, which are not used.
    """

    name: str
    entries: dict[str, Any]
    others: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def fitting(content: object, fit: Fit) -> list[Found]:
    """Return the weights in a checkpoint, or parts of them under a prefix, that fit."""
    return [_under(each, prefix) for each in candidates(content) for prefix in fit(each.entries)]


def choose(found: list[Found]) -> Found:
    """Choose one of several weights; raise InputError, which lists them, where that is unclear.

    The model itself is preferred to averages of it, and the usual names to others. What else
    there is, and what is left out, is logged.
    """
    if not found:
        raise InputError("its content is not names of tensors; save a state_dict()")
    distinct = _distinct(found)
    best = [each for each in distinct if _rank(each) == _rank(distinct[0])]
    if len(best) > 1:
        raise InputError(
            f"it holds several weights, {names(distinct)}; pass key= with the name of one, or save "
            "that one alone"
        )
    chosen = replace(best[0], others=tuple(each.name for each in distinct[1:]))
    if chosen.others:
        log.warning(
            f"loading {_label(chosen)} of a checkpoint that also holds {names(distinct[1:])}; "
            "pass key= to take another"
        )
    if chosen.left:
        log.warning(f"loading {_label(chosen)} of a checkpoint, without {_listed(chosen.left)}")
    return chosen


def named(content: object, key: str) -> Found:
    """Return the weights of a name, or the part of weights under a prefix: "model.encoder"."""
    if not isinstance(key, str) or not key:
        raise InputError(f"key={key!r} must be the name of weights in the checkpoint, as 'model'")
    everything = candidates(content)
    for each in everything:
        if each.name == key:
            return each
    for each in everything:
        start = f"{each.name}." if each.name else ""
        if key.startswith(start):
            part = _under(each, f"{key[len(start) :]}.")
            if part.entries:
                return replace(part, left=())
    raise InputError(
        f"the checkpoint has no weights named key={key!r}; it holds {names(everything)}"
    )


def candidates(content: object) -> list[Found]:
    """Return the mappings from names to arrays in a checkpoint, outer ones last."""
    return list(_candidates(content, "", DEPTH, iter(range(MOST))))


def _candidates(content: object, name: str, depth: int, steps: Iterator[int]) -> Iterator[Found]:
    if next(steps, None) is None:
        raise InputError(
            f"it holds more than {MOST} mappings and lists; save the state_dict() alone"
        )
    if isinstance(content, (list, tuple)):
        inner = {str(i): value for i, value in enumerate(content)}
    elif isinstance(content, Mapping) and not {"state", "param_groups"} <= set(content):
        inner = {str(each): value for each, value in content.items() if "optim" not in str(each)}
    else:
        return
    for each, value in inner.items() if depth else ():
        if isinstance(value, (Mapping, list, tuple)):
            yield from _candidates(value, f"{name}.{each}" if name else each, depth - 1, steps)
    if not isinstance(content, Mapping) or not all(isinstance(each, str) for each in content):
        return
    if any(_is_floating(value) for value in content.values()):
        yield Found(name, plain_names(content))


def plain_names(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the names of wrappers: torch.compile and FSDP anywhere, DDP before all keys."""
    keys = {key: ".".join(p for p in key.split(".") if p not in WRAPPERS) for key in entries}
    if len(set(keys.values())) < len(keys):
        keys = {key: key for key in entries}
    found = {keys[key]: value for key, value in entries.items()}
    while found and all(key.startswith(PARALLEL) or key == AVERAGED for key in found):
        inner = {k.removeprefix(PARALLEL): v for k, v in found.items() if k != AVERAGED}
        if not inner:
            break
        found = inner
    return found


def names(found: list[Found]) -> str:
    """List the names of weights."""
    return ", ".join(map(_label, found[:SHOWN])) + _more(found) if found else "none"


def _label(found: Found) -> str:
    return repr(found.name) if found.name else "the outermost names"


def _under(found: Found, prefix: str) -> Found:
    """Return the part of a candidate whose keys begin with a prefix."""
    if not prefix:
        return found
    entries = {k[len(prefix) :]: v for k, v in found.entries.items() if k.startswith(prefix)}
    left = tuple(k for k in found.entries if not k.startswith(prefix))
    return Found(".".join(filter(None, (found.name, prefix[:-1]))), entries, left=left)


def _rank(found: Found) -> int:
    parts = re.sub(r"([a-z])([A-Z])", r"\1_\2", found.name).lower()
    if COPY & set(re.split(r"[^a-z]+", parts)):
        return 3
    if not found.name:
        return 2  # beside others, arrays at the outermost level are losses and the like
    return 0 if found.name.lower().split(".")[0] in USUAL else 1


def _distinct(found: list[Found]) -> list[Found]:
    """Return the candidates without those that are equal to a better one."""
    kept: list[Found] = []
    for each in sorted(found, key=_rank):
        if not any(_equal(each.entries, other.entries) for other in kept):
            kept.append(each)
    return kept


def _equal(one: dict[str, Any], two: dict[str, Any]) -> bool:
    if one.keys() != two.keys():
        return False
    pairs = ((value, two[key]) for key, value in one.items())
    return all(
        a is b or (isinstance(a, Tensor) and isinstance(b, Tensor) and _equal_tensors(a, b))
        for a, b in pairs
    )


def _equal_tensors(a: Tensor, b: Tensor) -> bool:
    try:
        return a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
    except (RuntimeError, NotImplementedError):  # quantised, sparse, on the meta device
        return False


def _is_floating(value: object) -> bool:
    if isinstance(value, Tensor):
        return value.is_floating_point()
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind == "f"


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(map(repr, parts[:SHOWN])) + _more(parts)


def _more(parts: Sequence[object]) -> str:
    return f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
