"""Audit a network on a batch: its blocks and its attention as filters on graphs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from gspnl._base.effort import Work
from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.nn.attention_calls.unseen import nothing_seen
from gspnl.nn.auditing.block_report import BlockAudit
from gspnl.nn.auditing.measures import AffinityAudit, audit_affinity
from gspnl.nn.auditing.network.ablation import Pass
from gspnl.nn.auditing.network.audit import Network, NetworkAudit, audit_attention
from gspnl.nn.auditing.observed import Observed, capture, observed
from gspnl.nn.auditing.report import Audit
from gspnl.nn.auditing.units import UnitAudit, audit_unit
from gspnl.nn.block import Block
from gspnl.nn.checkpoints.finder import candidates
from gspnl.nn.hooked import plain
from gspnl.nn.programs import Opened
from gspnl.nn.surgery.targets import label, named_blocks

__all__ = ["AffinityAudit", "Audit", "BlockAudit", "UnitAudit", "audit", "capture"]

SECONDS = 120.0  # of an audit's attention, by default


def audit(
    model: nn.Module,
    batch: Any,
    *,
    nodes: int = 1024,
    attention: Mapping[str, Callable[..., Any]] | None = None,
    seconds: float | None = SECONDS,
    k: int = 16,
    grid: tuple[int, int] | None = None,
    ablate: bool = True,
) -> Audit:
    r"""Measure the nonlocal blocks and the attention of any network on a batch.

    For each block and item: the eigenvalues of the affinity A, the spectral gap 1 − \|μ₂\|, and the
    defect of the stable hypothesis. For each unit: the singular values of the response W(λ); the
    CFL verdict of :math:`I + H(μ)` over all modes, with the norm's scale and W_g in H; damping, the
    eigenvalues of the symmetric part of W_g W; and the largest singular values of the weights.

    For each attention head: the spectrum of its row-stochastic A and of what makes it directed, its
    stationary distribution, entropy, rank, and what it writes (:attr:`Audit.attention`). For the
    network: smoothing by depth, rollout, and verdicts on the paper's hypotheses.

    Parameters
    ----------
    model : Module
        Any network, a block, TorchScript or the module of an exported program. It is run in
        evaluation mode, without gradients: once, and twice more without one head each for the
        verdict on the cause of smoothing. Its output, weights, modes, buffers and the random state
        are as before.
    batch : tensor, tuple or mapping
        Input of the model: one argument, all positional arguments, or keyword arguments.
    nodes : int
        The largest N for which N × N matrices are computed. Above it, values that need one are
        None, with a reason, or estimated from products in O(N) memory, which a reason says.
        Low-rank affinities (kernels "dot" and "cosine", blocks "a2" and "cgnl") take O(N r²).
    attention : mapping of str to callable, optional
        For attention that cannot be seen: by the name of a module, a function that is called after
        it with (module, args, output), or (module, args, kwargs, output). It returns the weights,
        (B, H, N, M) or (B, N, M), or a mapping with q, k, and optionally v, mask, causal and scale.
    seconds : float or None
        Limit on the time for attention. Expensive numbers beyond it are left out, and
        ``audit.notes`` says which. None: no limit.
    k : int
        Eigenvalues of largest modulus and singular values computed above ``nodes``.
    grid : pair of int, optional
        Height and width of the grid of the last tokens, for distances; default: a sequence.
    ablate : bool
        Whether to run the network without the head that the spectrum blames for smoothing.

    Returns
    -------
    Audit
        A record for each block, ``audit["layer3.4"]`` or ``audit[0]``, with the affinity on each
        item of the batch in ``items`` (empty if the batch does not reach the block) and each unit
        in ``units``; ``attention``, a record a layer and head; ``depth``, ``rollout``, ``verdicts``
        and ``notes``. Prints as tables, with reasons for missing values; ``plot()`` draws a figure.

    Raises
    ------
    InputError
        For a model without blocks and attention, for a batch that it cannot run or that reaches
        none of them, for features or scores that are not finite, for weights whose rows do not sum
        to 1, and for a map that computes more than the product with its weight.

    Notes
    -----
    All is computed in float64 from the weights and the features that reach the block; heads above
    ``nodes`` tokens take some products in float32. The numbers
    are those of the core's graph (:func:`gspnl.feature_graph`), where the core has the affinity.
    Where A is not similar to a symmetric matrix (softmax, "mean", "none", blocks "a2", "cc" and
    "cgnl") λ is complex in general. A CFL verdict costs O(m Cs³) for m distinct eigenvalues.

    References
    ----------
    .. [1] Y. Tao, Q. Sun, Q. Du and W. Liu, Nonlocal neural networks, nonlocal diffusion and
       nonlocal modeling, NeurIPS 2018.
    .. [2] F. Chung, Laplacians and the Cheeger inequality for directed graphs, Annals of
       Combinatorics 9, 2005.

    Examples
    --------
    >>> import torch
    >>> from gspnl import nn as gnn
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), gnn.create("snl", 8))
    >>> seen = gnn.audit(net, torch.randn(2, 3, 10, 10))
    >>> seen["1"].items[0].eigenvalues.shape
    (64,)
    >>> seen["1"].units[0].cfl[0].radius  # a new block leaves its input as it is
    1.0
    >>> layer = torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    >>> heads = gnn.audit(layer, torch.randn(1, 9, 16)).attention
    >>> [head.head for head in heads], heads[0].stationary.shape
    ([0, 1, 2, 3], (9,))
    """
    if not isinstance(model, nn.Module):
        raise InputError(
            f"model must be a torch.nn.Module, not {type(model).__name__}{_without_network(model)}"
        )
    whole_number("nodes", nodes, 1)
    whole_number("k", k, 1)
    if attention is not None and not isinstance(attention, Mapping):
        raise InputError(
            f"attention must map names of modules to functions, not be {type(attention).__name__}"
        )
    blocks = named_blocks(model)
    start = time.perf_counter()
    seen = observed(model, batch, blocks, attention)
    taken = time.perf_counter() - start
    empty = [x for x in tree_leaves(batch) if isinstance(x, Tensor) and not x.numel()]
    if not seen.calls and not seen.features and empty:
        raise InputError(
            f"the batch is empty: it has a tensor of shape {tuple(empty[0].shape)}; pass at least "
            "one item"
        )
    if not seen.calls and not blocks:
        raise InputError(
            f"the model has no nonlocal blocks of gspnl, and {nothing_seen(seen.unseen)}; put "
            "blocks in with gspnl.nn.insert"
        )
    if not seen.calls and not seen.features:
        raise InputError(
            f"this batch reaches none of the blocks {', '.join(map(repr, blocks))}; pass what the "
            "model is called with"
        )
    records = _audit_blocks(blocks, seen, nodes)
    network = None
    if ablate:

        def again() -> Pass:
            other = observed(model, batch, blocks, attention)
            return Pass(other.calls, other.output, other.last)

        network = Network(model, again, Pass(seen.calls, seen.output, seen.last), taken)
    found = audit_attention(seen.calls, network, nodes=nodes, k=k, seconds=seconds, grid=grid)
    return _as_audit(found, records, seen.unseen)


def audit_opened(
    opened: Opened, *, nodes: int = 1024, seconds: float | None = SECONDS, k: int = 16
) -> Audit:
    """Audit a network that was opened from a file or function: a model, or calls of ONNX."""
    if opened.calls is None:
        assert opened.model is not None
        return audit(opened.model, opened.batch, nodes=nodes, seconds=seconds, k=k)
    whole_number("nodes", nodes, 1)
    whole_number("k", k, 1)
    return _as_audit(
        audit_attention(opened.calls, None, nodes=nodes, k=k, seconds=seconds, grid=None)
    )


def _as_audit(
    found: NetworkAudit, blocks: tuple[BlockAudit, ...] = (), unseen: tuple[str, ...] = ()
) -> Audit:
    notes = (*unseen, *found.notes)
    return Audit(blocks, found.attention, found.depth, found.rollout, found.verdicts, notes)


def _audit_blocks(
    blocks: Mapping[str, Block], seen: Observed, nodes: int
) -> tuple[BlockAudit, ...]:
    records = []
    with Work("the audit", total=len(blocks)) as shown:
        for name, original in blocks.items():
            block = plain(original, name)
            items: tuple[AffinityAudit, ...] = ()
            if name in seen.features:
                X, spatial = seen.features[name]
                with torch.no_grad():
                    items = tuple(
                        audit_affinity(block.affinity, x, spatial, nodes) for x in X.cpu().double()
                    )
            units = tuple(
                audit_unit(stage, block.affinity, items)  # type: ignore[arg-type]  # a Stage
                for stage in block.stages
            )
            records.append(BlockAudit(label(name), block.block, items, units))
            shown.done += 1
    return tuple(records)


def _without_network(given: object) -> str:
    """Say what to do with weights whose network is unknown; "" for anything else."""
    if type(given).__name__ == "ExportedProgram":
        return "; pass program.module()"
    if isinstance(given, (str, PathLike)):
        return "; gspnl.train.load_run opens runs, and gspnl.nn.load saved blocks"
    if found := candidates(given):
        name = next((f"[{each.name!r}]" for each in found if each.name), "")
        return f"; load these weights into their network: network.load_state_dict(weights{name})"
    return ""
