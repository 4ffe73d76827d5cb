"""What a source of checkpoints is: how its keys look, and which block they make."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from gspnl._base.registry import Registry
from gspnl.errors import InputError
from gspnl.nn.peers.layout import Layout
from gspnl.nn.peers.values import below


@dataclass(frozen=True)
class Rebuilt:
    """A block as ``create(name, channels, **options)`` and the state to load into it."""

    name: str
    channels: int
    options: dict[str, Any]
    state: dict[str, Tensor]


class Source(ABC):
    """One published code; subclass and register an instance to add one.

    Attributes
    ----------
    options : tuple of str
        Options of ``from_peer`` that this source takes.
    """

    options: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def looks(self, keys: Collection[str]) -> bool:
        """Whether the keys look like this source's; for hints, so a few telling keys suffice."""

    @abstractmethod
    def layout(self, keys: Collection[str], options: Mapping[str, Any]) -> Layout:
        """Keys that a checkpoint of this kind must have, with their shapes."""

    @abstractmethod
    def rebuild(
        self, values: Mapping[str, Tensor], sizes: Mapping[str, int], options: Mapping[str, Any]
    ) -> Rebuilt:
        """The block of a checkpoint that fits the layout; its 1×1 convolutions come as matrices."""


SOURCES: Registry[Source] = Registry("source")


def roots(keys: Collection[str]) -> set[str]:
    """First parts of dotted keys."""
    return {key.partition(".")[0] for key in keys}


def choice(options: Mapping[str, Any], name: str, allowed: tuple[str, ...]) -> str | None:
    """Return the option, None where it was not given; other values than ``allowed`` are errors."""
    value = options.get(name)
    if value is not None and value not in allowed:
        names = ", ".join(repr(one) for one in allowed)
        raise InputError(f"{name} must be one of {names}, not {value!r}")
    return value


def flag(options: Mapping[str, Any], name: str, default: bool) -> bool:
    """Return a yes-or-no option."""
    value = options.get(name, default)
    if not isinstance(value, bool):
        raise InputError(f"{name} must be True or False, not {value!r}")
    return value


def count(options: Mapping[str, Any], name: str, least: int) -> int | None:
    """Return a whole-number option, or None where it was not given."""
    value = options.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return value


def renamed_norm(values: Mapping[str, Tensor], name: str, to: str) -> dict[str, Tensor]:
    """The entries of a norm layer under a new name; torch adds the counter that old ones lack."""
    return {f"{to}.{entry}": value for entry, value in below(values, f"{name}.").items()}
