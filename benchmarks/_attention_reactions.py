"""Fifty textbook reactions whose atoms are known by construction.

Molecules are written as fragments with holes (*): ``acyl = Part("CC(=O)*")`` is ``acyl("Cl")``
before and ``acyl(amine())`` after, so every atom of a fragment keeps its identity.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import count

from _attention_models import SMILES

Tokens = list[tuple[str, Hashable]]  # token, and what it is: the same atom has the same key
_numbers = count()


class Part:
    """A fragment: called with what fills its holes, it gives tokens with the keys of its atoms."""

    def __init__(self, smiles: str) -> None:
        number = next(_numbers)
        self.tokens = [
            (token, (number, token if token.isdigit() else at))
            for at, token in enumerate(SMILES.findall(smiles))
        ]

    def __call__(self, *filling: str | Tokens) -> Tokens:
        fills = iter(filling)
        out: Tokens = []
        for token, key in self.tokens:
            out += literal(next(fills)) if token == "*" else [(token, key)]
        if next(fills, None) is not None:
            raise ValueError("more fillings than holes")
        return out


def literal(filling: str | Tokens) -> Tokens:
    """Tokens of atoms that are in one side of the reaction only."""
    return Part(filling)() if isinstance(filling, str) else filling


def spelled(tokens: Tokens, text: str) -> Tokens:
    """One atom written otherwise, as [N+] for N."""
    ((_, key),) = tokens
    return [(text, key)]


def rings(tokens: Tokens) -> Tokens:
    """Number ring closures by the least free digit within a molecule."""
    out: Tokens = []
    opened: dict[Hashable, int] = {}
    for token, key in tokens:
        if token.isdigit():
            if key in opened:
                token = str(opened.pop(key))
            else:
                free = next(n for n in count(1) if n not in opened.values())
                opened[key], token = free, str(free)
        out.append((token, key))
    if opened:
        raise ValueError(f"open rings in {''.join(token for token, _ in tokens)}")
    return out


def is_atom(token: str) -> bool:
    return token[0].isalpha() or token[0] == "["


def element(token: str) -> str:
    """Symbol of an atom's token: [N+], n and N are N."""
    symbol = re.match(r"\[?\d*([A-Z][a-z]?|[a-z])", token)
    if symbol is None:
        raise ValueError(f"{token!r} is no atom")
    return symbol[1].capitalize()


@dataclass(frozen=True)
class Reaction:
    """A reaction.

    Parameters
    ----------
    kind : str
    tokens : tuple of str
    origin : dict of int to int
        Position of a product's atom among the tokens → of the same atom among the reactants.
    atoms : tuple of int
        Positions of all atoms before the arrow.
    """

    kind: str
    tokens: tuple[str, ...]
    origin: dict[int, int]
    atoms: tuple[int, ...]

    @property
    def smiles(self) -> str:
        return "".join(self.tokens)

    def element(self, at: int) -> str:
        return element(self.tokens[at])


def reaction(kind: str, before: list[str | Tokens], after: list[str | Tokens]) -> Reaction:
    """Join molecules before and after the arrow."""
    sides: list[Tokens] = []
    for molecules in (before, after):
        side: Tokens = []
        for molecule in molecules:
            side += [(".", None)] * bool(side) + rings(literal(molecule))
        sides.append(side)
    left, right = sides
    place = {key: at for at, (token, key) in enumerate(left) if is_atom(token)}
    origin = {
        len(left) + 1 + at: place[key]
        for at, (token, key) in enumerate(right)
        if is_atom(token) and key in place
    }
    tokens = (*(token for token, _ in left), ">>", *(token for token, _ in right))
    for new, old in origin.items():
        if element(tokens[new]) != element(tokens[old]):
            raise ValueError(f"{tokens[old]} became {tokens[new]} in {''.join(tokens)}")
    return Reaction(kind, tokens, origin, tuple(place.values()))


def coupled(
    kind: str, first: str, leaving: str, second: str, other: str, bond: str, *more: str
) -> Reaction:
    """A-X + Y-B → A-B; ``first`` has one hole, ``second`` begins with one."""
    a, b = Part(first), Part(second)
    return reaction(kind, [a(leaving), b(other), *more], [a(b(bond))])


def changed(kind: str, smiles: str, before: str, after: str, *more: str) -> Reaction:
    """A fragment with one hole, filled before and after."""
    part = Part(smiles)
    return reaction(kind, [part(before), *more], [part(after)])
