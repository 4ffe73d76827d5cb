"""Registries of named objects, which suggest the nearest name for an unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from gspnl.errors import InputError

T = TypeVar("T")


class Registry(Generic[T]):
    """A table from names to objects.

    Parameters
    ----------
    kind : str
        Kind of object for error messages ("kernel", "response", ...).

    Examples
    --------
    >>> colours = Registry("colour")
    >>> _ = colours.register("crimson")("#dc143c")
    >>> colours["crimsom"]
    Traceback (most recent call last):
    ...
    gspnl.errors.InputError: unknown colour 'crimsom'; did you mean 'crimson'? Available: crimson.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers its argument; a duplicate name is an error."""

        def file(item: T) -> T:
            if name in self._items:
                raise InputError(f"the {self.kind} {name!r} is registered already")
            self._items[name] = item
            return item

        return file

    def unregister(self, name: str) -> None:
        """Remove ``name``, as tests and notebooks do to clean up."""
        del self._items[name]

    def __getitem__(self, name: str) -> T:
        if isinstance(name, str) and name in self._items:
            return self._items[name]
        near = difflib.get_close_matches(str(name), self._items, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise InputError(f"unknown {self.kind} {name!r}{hint} Available: {', '.join(self)}.")

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._items))

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __len__(self) -> int:
        return len(self._items)
