"""Encoders of BERT and ALBERT (Devlin et al. 2019, Lan et al. 2020), checkpoints and tokens.

The state dicts are those of Hugging Face; nothing of transformers is needed to run them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMILES = re.compile(r"\[[^\]]+\]|Br|Cl|%\d\d|>>|.")
State = dict[str, Tensor]


class Attention(nn.Module):
    """Self-attention with its output projection, by SDPA."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.dense = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        return self.dense(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and MLP, each followed by its residual sum and layer norm."""

    def __init__(self, dim: int, heads: int, width: int) -> None:
        super().__init__()
        self.attention, self.attention_norm = Attention(dim, heads), nn.LayerNorm(dim, eps=1e-12)
        self.up, self.down = nn.Linear(dim, width), nn.Linear(width, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention_norm(x + self.attention(x))
        return self.norm(x + self.down(F.gelu(self.up(x))))


class Encoder(nn.Module):
    """Token ids (B, N) → features (B, N, C).

    Parameters
    ----------
    words, embedding, dim, heads, width, depth : int
        Vocabulary, width of embeddings, of features, heads, width of the MLP, layers.
    """

    def __init__(
        self, words: int, embedding: int, dim: int, heads: int, width: int, depth: int
    ) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(words, embedding), nn.Embedding(512, embedding)
        self.kinds, self.embedding_norm = (
            nn.Embedding(2, embedding),
            nn.LayerNorm(embedding, eps=1e-12),
        )
        self.widen = nn.Identity() if embedding == dim else nn.Linear(embedding, dim)
        self.layers = nn.ModuleList(Block(dim, heads, width) for _ in range(depth))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.positions.weight[: ids.shape[1]] + self.kinds.weight[0]
        x = self.widen(self.embedding_norm(x))
        for layer in self.layers:
            x = layer(x)
        return x


EMBEDDINGS = {
    "words": "word_embeddings",
    "positions": "position_embeddings",
    "kinds": "token_type_embeddings",
    "embedding_norm": "LayerNorm",
}


def _layers(depth: int, source: dict[str, str], prefix: str) -> dict[str, str]:
    return {
        f"layers.{i}.{ours}": prefix.format(i) + theirs
        for i in range(depth)
        for ours, theirs in source.items()
    }


def _load(model: Encoder, names: dict[str, str], state: State) -> Encoder:
    """Load tensors by our name of the module → theirs; missing ones raise."""
    found = {
        key: state[names[module] + "." + kind]
        for key in model.state_dict()
        for module, _, kind in [key.rpartition(".")]
    }
    model.load_state_dict(found)
    return model.eval()


def minilm(state: State) -> Encoder:
    """all-MiniLM-L6-v2: 6 layers of 12 heads."""
    names = {ours: f"embeddings.{theirs}" for ours, theirs in EMBEDDINGS.items()}
    attention = {
        f"attention.{part}": f"attention.self.{part}" for part in ("query", "key", "value")
    }
    attention |= {
        "attention.dense": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "norm": "output.LayerNorm",
    }
    names |= _layers(6, attention, "encoder.layer.{}.")
    return _load(Encoder(30522, 384, 384, 12, 1536, 6), names, state)


def albert(state: State) -> Encoder:
    """The ALBERT of rxnmapper: 12 layers of 8 heads, which share one set of weights."""
    names = {ours: f"albert.embeddings.{theirs}" for ours, theirs in EMBEDDINGS.items()}
    names["widen"] = "albert.encoder.embedding_hidden_mapping_in"
    shared = {
        f"attention.{part}": f"attention.{part}" for part in ("query", "key", "value", "dense")
    }
    shared |= {
        "attention_norm": "attention.LayerNorm",
        "up": "ffn",
        "down": "ffn_output",
        "norm": "full_layer_layer_norm",
    }
    names |= _layers(12, shared, "albert.encoder.albert_layer_groups.0.albert_layers.0.")
    return _load(Encoder(591, 128, 256, 8, 512, 12), names, state)


def numbered(tokens: Iterable[str], vocabulary: str) -> Tensor:
    """Ids (1, N) of [CLS], the tokens and [SEP], from a vocabulary with one token a line."""
    known = {token: index for index, token in reversed([*enumerate(vocabulary.splitlines())])}
    ids = [known.get(token, known["[UNK]"]) for token in ("[CLS]", *tokens, "[SEP]")]
    return torch.tensor([ids])


def word_pieces(text: str, vocabulary: str) -> list[str]:
    """Uncased WordPiece: words and marks, each cut into its longest known pieces from the left."""
    known, pieces = set(vocabulary.splitlines()), []
    plain = unicodedata.normalize("NFD", text.lower())
    plain = "".join(c for c in plain if unicodedata.category(c) != "Mn")
    for word in re.findall(r"\w+|[^\w\s]", plain):
        start, cut = 0, []
        while start < len(word):
            mark = "##" if start else ""
            ends = (end for end in range(len(word), start, -1) if mark + word[start:end] in known)
            end = next(ends, None)
            if end is None:
                cut = ["[UNK]"]
                break
            cut.append(mark + word[start:end])
            start = end
        pieces += cut
    return pieces
