"""Check the names of modules whose attention gets a response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from gspnl.errors import InputError
from gspnl.nn.attention_calls.filtered_forward import CHILD
from gspnl.nn.attention_responses import AttentionResponse
from gspnl.nn.surgery.targets import nearest

CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


def check_names(modules: Mapping[str, nn.Module], names: Mapping[str, Any]) -> None:
    """Raise InputError for unknown, uncalled and nested modules, and for one under two names."""
    for name in names:
        if name not in modules:
            raise InputError(f"the network has no module {name!r}; {nearest(name, dict(modules))}")
        module = modules[name]
        if isinstance(module, (*CONTAINERS, AttentionResponse)):
            children = [path for path in modules if path.rpartition(".")[0] == name and path]
            raise InputError(
                f"{name!r} is a {type(module).__name__}, which computes no attention; name a "
                f"module of attention, inside of {', '.join(map(repr, children[:3])) or 'another'}"
            )
    filtered = {path for path, module in modules.items() if CHILD in module._modules}
    for name in names:
        for other in sorted({*names, *filtered}):
            same = modules[other] is modules[name]
            if other != name and same and other in names:
                raise InputError(f"{name!r} and {other!r} are one module; name it once")
            inside = f"{name}." if name else ""
            if other != name and not same and other.startswith(inside) and _stays(other, names):
                raise InputError(
                    f"{other!r} is inside of {name!r}, and its attention would be filtered twice; "
                    f"name one of them, or set {other!r} to 'nl' first"
                )
            around = f"{other}." if other else ""
            if other != name and not same and name.startswith(around) and other not in names:
                raise InputError(
                    f"{other!r} has a response, and {name!r} is inside of it; set {other!r} to "
                    "'nl' first"
                )


def _stays(name: str, names: Mapping[str, Any]) -> bool:
    """Return whether a module has a response after the call."""
    spec = names.get(name)
    return spec is None or (spec if isinstance(spec, str) else spec[0]) != "nl"
