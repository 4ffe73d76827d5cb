"""The interface of a checkpoint format, and the registry of formats."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from gspnl._base.registry import Registry
from gspnl._base.validate import one_of, whole_number
from gspnl.errors import InputError
from gspnl.nn.checkpoints.peers.state_dict import Layout, under_prefix


@dataclass(frozen=True)
class Rebuilt:
    """A block as ``create(name, channels, **options)`` and the state to load into it."""

    name: str
    channels: int
    options: dict[str, Any]
    state: dict[str, Tensor]


class Source(ABC):
    """The checkpoints of one published code; subclass and register an instance to add one.

    Attributes
    ----------
    options : tuple of str
        Options of ``from_peer`` that this source takes.
    """

    options: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def looks(self, keys: Collection[str]) -> bool:
        """Whether the keys resemble this source's; for hints, so a few typical keys suffice."""

    @abstractmethod
    def layout(self, keys: Collection[str], options: Mapping[str, Any]) -> Layout:
        """Keys that a checkpoint of this source must have, with their shapes."""

    @abstractmethod
    def rebuild(
        self, values: Mapping[str, Tensor], sizes: Mapping[str, int], options: Mapping[str, Any]
    ) -> Rebuilt:
        """Map a checkpoint that fits the layout to a block; 1×1 convolutions come as matrices."""


SOURCES: Registry[Source] = Registry("source")


def choice(options: Mapping[str, Any], name: str, allowed: tuple[str, ...]) -> str | None:
    """Return an option that must be one of ``allowed``, or None where it is not passed."""
    return one_of(name, options[name], allowed) if name in options else None


def flag(options: Mapping[str, Any], name: str, default: bool) -> bool:
    """Return a boolean option."""
    value = options.get(name, default)
    if not isinstance(value, bool):
        raise InputError(f"{name} must be True or False, not {value!r}")
    return value


def count(options: Mapping[str, Any], name: str) -> int | None:
    """Return an option that must be a whole number ≥ 1, or None where it is not passed."""
    return whole_number(name, options[name], 1) if name in options else None


def renamed_norm(values: Mapping[str, Tensor], name: str, to: str) -> dict[str, Tensor]:
    """Return the entries of a norm layer under a new name; torch adds a missing counter."""
    return {f"{to}.{entry}": value for entry, value in under_prefix(values, f"{name}.").items()}
