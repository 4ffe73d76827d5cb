"""Page on the heads of two trained transformers: tables, and the rule for the mapping head."""

from __future__ import annotations

import numpy as np
from _attention_numbers import NUMBERS, RULES, Rule, best_rule, separation
from _attention_reactions import Reaction
from _attention_trained_text import HEADER, MAPPING, READING, RULE, SINKS

HEAD = (10, 5)  # layer and head, from 0, that rxnmapper reads
HEADS = {"MiniLM": 12, "ALBERT": 8}
FIXED = 10  # reactions on which the rule is fixed; the others test it
MAPS = 0.9  # share of atoms from which a head counts as one that maps
SHOWN = tuple(name for name in NUMBERS if name not in ("Dobrushin", "‖A⁴ − A‖", "σ₁ of W_V W_O"))

Rows = list[tuple[str, str]]


def page(
    language: np.ndarray,
    texts: dict[int, np.ndarray],
    atoms: np.ndarray,
    right: np.ndarray,
    known: list[Reaction],
    machine: str,
) -> tuple[str, Rows]:
    """Markdown, and its main figures as rows.

    Parameters
    ----------
    language, atoms : array of shape (inputs, heads, numbers)
        MiniLM on sentences, ALBERT on reactions.
    texts : dict of int to array of shape (heads, numbers)
        MiniLM on longer texts, by their tokens.
    right : array of shape (reactions, heads)
        Shares of atoms mapped.
    known : list of Reaction
    machine : str
    """
    order = np.random.default_rng(0).permutation(len(atoms))
    fixed, rest = order[:FIXED], order[FIXED:]
    head = HEAD[0] * HEADS["ALBERT"] + HEAD[1]
    mapping = right[fixed].mean(axis=0) >= MAPS
    rule = best_rule(atoms[fixed], head)
    rows = _figures(language, atoms) + _tests(rule, atoms, right, fixed, rest, head, mapping, known)
    parts = [
        HEADER.format(machine=machine),
        _two_columns(("number", "value"), rows),
        "## Which heads map atoms\n\n" + MAPPING,
        _grid(right.mean(axis=0)),
        "## By which numbers the head stands out\n\n" + RULE.format(fixed=FIXED, rest=len(rest)),
        _rules(atoms[fixed], atoms[rest], head, mapping),
        READING.format(head=HEAD, **_reading(atoms, right, mapping, head)),
        "## All heads of the ALBERT of rxnmapper\n\nMedians over the reactions.\n",
        _all_heads(atoms, HEADS["ALBERT"]),
        "## Sinks of MiniLM\n\n" + SINKS,
        _sinks(texts),
        "## All heads of MiniLM\n\nMedians over the sentences.\n",
        _all_heads(language, HEADS["MiniLM"]),
        "## The reactions\n\n`*`: the rule was fixed on these.\n",
        "\n".join(
            f"- {'`*` ' if at in fixed else ''}{each.kind}: `{each.smiles}`"
            for at, each in enumerate(known)
        ),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n", rows


def _figures(language: np.ndarray, atoms: np.ndarray) -> Rows:
    """Medians of heads: over inputs, then over heads."""

    def of(table: np.ndarray, name: str) -> np.ndarray:
        return np.nanmedian(table[..., list(NUMBERS).index(name)], axis=0)

    turning, norm = of(atoms, "largest |Im μ|"), of(atoms, "σ₁ of A")
    return [
        ("ALBERT: largest |Im μ|, median head", f"{np.median(turning):.2f}"),
        ("ALBERT: largest |Im μ|, largest head", f"{turning.max():.2f}"),
        ("ALBERT: |μ₂|, median head", f"{np.median(of(atoms, '|μ₂|')):.2f}"),
        ("ALBERT: σ₁ of A, largest head", f"{norm.max():.1f}"),
        ("MiniLM: sink mass, median head", f"{np.median(of(language, 'sink mass')):.2f}"),
        ("MiniLM: |μ₂|, median head", f"{np.median(of(language, '|μ₂|')):.2f}"),
    ]


def _tests(
    rule: Rule,
    atoms: np.ndarray,
    right: np.ndarray,
    fixed: np.ndarray,
    rest: np.ndarray,
    head: int,
    mapping: np.ndarray,
    known: list[Reaction],
) -> Rows:
    size = HEADS["ALBERT"]
    layer = slice(HEAD[0] * size, (HEAD[0] + 1) * size)
    ranks, inside = rule.ranks(atoms), rule.ranks(atoms[:, layer])[:, HEAD[1]]
    count = int(mapping.sum())
    top = np.array([mapping[np.argsort(each)[:count]].mean() for each in ranks])
    missed = sorted({known[at].kind for at in rest if inside[at] > 1})
    own = [
        best_rule(atoms[fixed], at).ranks(atoms[rest])[:, at].mean() for at in range(len(mapping))
    ]
    name = f"head {HEAD}"
    return [
        (f"{name}: atoms mapped", f"{right[:, head].mean():.0%}"),
        (f"rule fixed on {len(fixed)} reactions", str(rule)),
        (f"{name}: first of its layer, fixing", f"{(inside[fixed] == 1).sum()} of {len(fixed)}"),
        (f"{name}: first of its layer, testing", f"{(inside[rest] == 1).sum()} of {len(rest)}"),
        ("not first in", ", ".join(missed) or "none"),
        (
            f"{name}: mean rank of {len(ranks[0])}",
            f"{ranks[fixed, head].mean():.1f} fixing, {ranks[rest, head].mean():.1f} testing",
        ),
        ("heads that map atoms", f"{count}, {_names(mapping)}"),
        (f"share of them in the first {count}, testing", f"{top[rest].mean():.0%}"),
        (
            "heads whose own best rule ranks them as high",
            f"{sum(rank <= own[head] for rank in own)} of {len(own)}",
        ),
    ]


def _reading(
    atoms: np.ndarray, right: np.ndarray, mapping: np.ndarray, head: int
) -> dict[str, str]:
    median = np.median(atoms, axis=0)
    told = {
        "real": "largest |Im μ|",
        "least": "least Re μ",
        "cube": "‖A³ − A‖",
        "square": "‖A² − A‖",
        "distance": "distance",
        "flow": "irreversible",
        "curl": "curl",
    }
    columns = {key: median[:, list(NUMBERS).index(name)] for key, name in told.items()}
    best = int(right.mean(axis=0).argmax())
    return {
        **{key: f"{at[head]:.2f} ({np.median(at[~mapping]):.2f})" for key, at in columns.items()},
        "best": str(divmod(best, HEADS["ALBERT"])),
        "atoms": f"{100 * right[:, best].mean():.0f}",
    }


def _names(heads: np.ndarray) -> str:
    pairs = [divmod(int(at), HEADS["ALBERT"]) for at in np.flatnonzero(heads)]
    return " ".join(f"({layer}, {head})" for layer, head in pairs)


def _rules(fixed: np.ndarray, rest: np.ndarray, head: int, mapping: np.ndarray) -> str:
    """A row for each number, in the better of its two directions."""
    size = HEADS["ALBERT"]
    layer = slice(HEAD[0] * size, (HEAD[0] + 1) * size)
    best = sorted(RULES, key=lambda rule: rule.ranks(fixed)[:, head].mean())
    seen: dict[str, Rule] = {}
    for rule in best:
        seen.setdefault(rule.number, rule)
    lines = [
        "| rule | mean rank, fixing | testing | worst, testing | first of its layer, testing "
        "| area, fixing | testing |",
        "|:--|--:|--:|--:|--:|--:|--:|",
    ]
    for rule in seen.values():
        before, after = rule.ranks(fixed)[:, head], rule.ranks(rest)[:, head]
        first = (rule.ranks(rest[:, layer])[:, HEAD[1]] == 1).sum()
        areas = " | ".join(f"{separation(table, mapping, rule):.2f}" for table in (fixed, rest))
        lines.append(
            f"| {_cell(rule)} | {before.mean():.1f} | {after.mean():.1f} | {after.max()} "
            f"| {first} | {areas} |"
        )
    return "\n".join(lines)


def _grid(right: np.ndarray) -> str:
    size = HEADS["ALBERT"]
    lines = ["| layer | " + " | ".join(f"head {at}" for at in range(size)) + " |"]
    lines.append("|--:|" + "--:|" * size)
    for at, row in enumerate(right.reshape(-1, size)):
        lines.append(f"| {at} | " + " | ".join(f"{100 * value:.0f}" for value in row) + " |")
    return "\n".join(lines)


def _all_heads(table: np.ndarray, size: int) -> str:
    columns = [list(NUMBERS).index(name) for name in SHOWN]
    lines = [
        "| layer, head | " + " | ".join(map(_cell, SHOWN)) + " |",
        "|:--|" + "--:|" * len(SHOWN),
    ]
    for at, row in enumerate(np.nanmedian(table[..., columns], axis=0)):
        told = " | ".join(f"{value:.2f}" for value in row)
        lines.append("| {}, {} | ".format(*divmod(at, size)) + told + " |")
    return "\n".join(lines)


def _sinks(texts: dict[int, np.ndarray]) -> str:
    names = ("sink mass", "|μ₂|", "σ₁ of A", "entropy")
    lines = ["| tokens | " + " | ".join(map(_cell, names)) + " |", "|--:|" + "--:|" * len(names)]
    for tokens, table in texts.items():
        medians = np.median(table[:, [list(NUMBERS).index(name) for name in names]], axis=0)
        lines.append(f"| {tokens} | " + " | ".join(f"{value:.2f}" for value in medians) + " |")
    return "\n".join(lines)


def _two_columns(head: tuple[str, str], rows: Rows) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|:--|:--|"]
    return "\n".join(lines + [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows])


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|")
