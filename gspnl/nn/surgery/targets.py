"""Find the modules of a network that a block can follow, and attach blocks to them."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gspnl.errors import InputError
from gspnl.nn.block import Block

# Under its target the block is not called "nonlocal": that is a keyword of Python, and the code
# that torch.export writes would not compile.
CHILD = "nonlocal_"
HANDLE = "_nonlocal_handle"
LISTS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
WRAPPERS = {
    "DistributedDataParallel": "its processes would not share the gradients of new parameters",
    "FullyShardedDataParallel": "its shards are laid out already",
    "FSDPModule": "its shards are laid out already",
    "OptimizedModule": "its names are not those of the network",
    "ScriptModule": "its code is fixed already",
}


@dataclass(frozen=True, eq=False)
class Target:
    """A module that a block follows or can follow.

    Attributes
    ----------
    name : str
        Its full name in the network.
    module : Module
    sources : tuple of Module
        Modules whose output may be the target's: the module that the caller named, then those that
        the Sequentials around it call before it, the nearest first.
    """

    name: str
    module: nn.Module
    sources: tuple[nn.Module, ...] = ()

    @property
    def occupied(self) -> bool:
        """True if a block follows the module already."""
        return HANDLE in vars(self.module)

    def attach(self, block: Block, hook: Callable[..., Any] | None = None) -> None:
        """Add ``block`` as a child of the module, called on the module's output by a hook."""
        self.module.add_module(CHILD, block)
        # Kept with the module, so that loading a pickle reserves the number of the hook.
        setattr(self.module, HANDLE, self.module.register_forward_hook(hook or _call_block))

    def detach(self) -> None:
        """Remove the block and its hook, if there are any."""
        handle = vars(self.module).pop(HANDLE, None)
        if handle is not None:
            handle.remove()
            delattr(self.module, CHILD)


def _call_block(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
    """Forward hook; at module level, so that it can be pickled and copied."""
    result: Tensor = getattr(module, CHILD)(output)
    return result


def check_model(model: nn.Module) -> None:
    """Raise InputError unless the modules of ``model`` can be changed."""
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    for name, module in model.named_modules():
        for kind in type(module).__mro__:
            if kind.__name__ in WRAPPERS and kind.__module__.startswith("torch."):
                raise InputError(
                    f"{repr(name) if name else 'the model'} is a {kind.__name__}, and "
                    f"{WRAPPERS[kind.__name__]}; change the network itself, before it is wrapped"
                )


def reset_compiled() -> None:
    """Drop the code that torch.compile has cached: it does not notice new hooks."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


def outer_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield every module under each of its names: blocks, but not the modules inside blocks."""
    inside = "\n"  # a prefix that no name has
    for name, module in model.named_modules(remove_duplicate=False):
        if name.startswith(inside):
            continue
        yield name, module
        if isinstance(module, Block):
            inside = f"{name}." if name else ""


def named_blocks(model: nn.Module) -> dict[str, Block]:
    """Return the blocks of a network by their full names."""
    return {name: module for name, module in outer_modules(model) if isinstance(module, Block)}


def label(name: str) -> str:
    """Return the name of the module that a block follows, or its own if it was not inserted."""
    return name.removesuffix(CHILD).removesuffix(".")


def title(module: str, kind: str) -> str:
    """Return the name of a block in tables and figures."""
    return f"{module} ({kind})" if module else kind


def find(model: nn.Module, name: str) -> Target:
    """Return the module to which a block after ``name`` is attached.

    After a plain Sequential, which calls all its children, that is its last child.

    Raises
    ------
    InputError
        If there is no such module, if it is a list that nothing calls or whose own forward may call
        every child, the block included, or if it has several names.
    """
    modules = {
        path: module for path, module in outer_modules(model) if path.rpartition(".")[2] != CHILD
    }
    if name not in modules:
        raise InputError(f"the network has no module {name!r}; {nearest(name, modules)}")
    path, module = name, modules[name]
    while _is_plain(module):
        children = _children(path, modules)
        if not children:
            raise InputError(f"{path!r} is an empty Sequential; name the module before it")
        path, module = children[-1], modules[children[-1]]
    if isinstance(module, LISTS):
        raise InputError(
            f"{path!r} is a {type(module).__name__} whose children are called by other code, which "
            f"would call the block too, or never; {_alternatives(path, modules)}"
        )
    names = [each for each, other in modules.items() if other is module]
    if len(names) > 1:
        raise InputError(
            f"{path!r} is one module under {len(names)} names ({', '.join(map(repr, names))}), and "
            "the block would follow it under each; name a module that holds only one of them, or "
            "give each place a module of its own"
        )
    if isinstance(module, Block):
        raise InputError(
            f"{path!r} is a block itself; make it with more units, or replace it by a Sequential "
            "of two blocks"
        )
    return Target(path, module, (modules[name], *_predecessors(name, modules)))


def occupied_targets(model: nn.Module) -> list[Target]:
    """Return every module of the network that an inserted block follows."""
    targets = (Target(name, module) for name, module in model.named_modules())
    return [target for target in targets if target.occupied]


def _is_plain(module: nn.Module) -> bool:
    """Return whether a module is a Sequential that calls its children one after another."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _children(path: str, modules: Mapping[str, nn.Module]) -> list[str]:
    return [each for each in modules if each and each.rpartition(".")[0] == path]


def _predecessors(path: str, modules: Mapping[str, nn.Module]) -> Iterator[nn.Module]:
    """Yield the modules that Sequentials around ``path`` call before it, the nearest first."""
    while path and _is_plain(modules[path.rpartition(".")[0]]):
        parent = path.rpartition(".")[0]
        siblings = _children(parent, modules)
        yield from (modules[each] for each in reversed(siblings[: siblings.index(path)]))
        path = parent


def nearest(name: str, modules: Mapping[str, nn.Module]) -> str:
    """Suggest names of modules for one that does not exist."""
    near = difflib.get_close_matches(str(name), filter(None, modules), n=3, cutoff=0.4)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"it has {', '.join(repr(path) for path in modules if path and '.' not in path)}"


def _alternatives(path: str, modules: dict[str, nn.Module]) -> str:
    """Suggest modules to name in place of a list of modules."""
    children = _children(path, modules)
    others = [f"one of its children, as {children[-1]!r}"] if children else []
    if path:
        others.append(f"the module that holds it, {path.rpartition('.')[0]!r}")
    return f"name {', or '.join(others) or 'another module'}"
