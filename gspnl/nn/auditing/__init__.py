"""Audit the blocks of a network on a batch: spectra of their graphs, gains and stability."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from gspnl._base.effort import Work
from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.nn.auditing.measures import AffinityAudit, audit_affinity
from gspnl.nn.auditing.report import Audit, BlockAudit
from gspnl.nn.auditing.units import UnitAudit, audit_unit
from gspnl.nn.block import Block
from gspnl.nn.checkpoints.finder import candidates
from gspnl.nn.hooked import plain
from gspnl.nn.surgery.batches import run
from gspnl.nn.surgery.shapes import evaluation
from gspnl.nn.surgery.targets import label, named_blocks

__all__ = ["AffinityAudit", "Audit", "BlockAudit", "UnitAudit", "audit"]


Features = tuple[Tensor, tuple[int, ...]]  # X (B, N, C), and the spatial dimensions


def audit(model: nn.Module, batch: Any, *, nodes: int = 1024) -> Audit:
    r"""Measure every nonlocal block of a network on a batch.

    For each block and item: the eigenvalues of the affinity A, the spectral gap 1 − \|μ₂\|, and the
    defect of the stable hypothesis. For each unit: the singular values of the response W(λ); the
    CFL verdict of :math:`I + H(μ)` over all modes, with the norm's scale and W_g in H; damping, the
    eigenvalues of the symmetric part of W_g W; and the largest singular values of the weights.

    Parameters
    ----------
    model : Module
        A network with blocks, or a block. It is run once, in evaluation mode, without gradients;
        modes, buffers and the random state are restored.
    batch : tensor, tuple or mapping
        Input of the model: one argument, all positional arguments, or keyword arguments.
    nodes : int
        The largest N for which N × N matrices are computed. Above it, values that need one are
        None, with a reason. Low-rank affinities (kernels "dot" and "cosine", blocks "a2" and
        "cgnl") need none and take O(N r²).

    Returns
    -------
    Audit
        A record for each block, ``audit["layer3.4"]`` or ``audit[0]``, with the affinity on each
        item of the batch in ``items`` (empty if the batch does not reach the block) and each unit
        in ``units``. Prints as a table, with reasons for missing values; ``plot()`` draws a figure.

    Raises
    ------
    InputError
        For a model without blocks, for a batch that it cannot run or that reaches no block, for
        features that are not finite, and for a map that computes more than the product with its
        weight.

    Notes
    -----
    All is computed in float64 from the weights and the features that reach the block. The numbers
    are those of the core's graph (:func:`gspnl.feature_graph`), where the core has the affinity.
    Where A is not similar to a symmetric matrix (softmax, "mean", "none", blocks "a2", "cc" and
    "cgnl") λ is complex in general. A CFL verdict costs O(m Cs³) for m distinct eigenvalues.

    References
    ----------
    .. [1] Y. Tao, Q. Sun, Q. Du and W. Liu, Nonlocal neural networks, nonlocal diffusion and
       nonlocal modeling, NeurIPS 2018.

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
    """
    if not isinstance(model, nn.Module):
        raise InputError(
            f"model must be a torch.nn.Module, not {type(model).__name__}{_without_network(model)}"
        )
    whole_number("nodes", nodes, 1)
    blocks = named_blocks(model)
    if not blocks:
        raise InputError("the model has no nonlocal blocks; put some in with gspnl.nn.insert")
    records = []
    with Work("the audit", total=len(blocks)) as shown:
        features = capture(model, blocks, batch)
        for name, original in blocks.items():
            block = plain(original, name)
            items: tuple[AffinityAudit, ...] = ()
            if name in features:
                X, spatial = features[name]
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
    return Audit(tuple(records))


def _without_network(given: object) -> str:
    """Say what to do with weights whose network is unknown; "" for anything else."""
    if isinstance(given, (str, PathLike)):
        return "; gspnl.train.load_run opens runs, and gspnl.nn.load saved blocks"
    if found := candidates(given):
        name = next((f"[{each.name!r}]" for each in found if each.name), "")
        return f"; load these weights into their network: network.load_state_dict(weights{name})"
    return ""


def capture(model: nn.Module, blocks: Mapping[str, Block], batch: Any) -> dict[str, Features]:
    """Return the features at the first call of each block that the batch reaches."""
    features: dict[str, Features] = {}
    with ExitStack() as stack:
        for name, block in blocks.items():

            def keep(module: nn.Module, args: tuple[Any, ...], name: str = name) -> None:
                X, spatial = args
                # Copied, since later layers may change it in place.
                features.setdefault(name, (X.detach().clone(), tuple(int(n) for n in spatial)))

            handle = block.affinity.register_forward_pre_hook(keep)
            stack.callback(handle.remove)
        stack.enter_context(evaluation(model))
        run(model, batch)
    if not features:
        raise InputError(
            f"this batch reaches none of the blocks {', '.join(map(repr, blocks))}; pass what the "
            "model is called with"
        )
    for name, (X, _) in features.items():
        if not bool(torch.isfinite(X).all()):
            raise InputError(
                f"the features that reach block {name!r} are not finite; see what the layers "
                "before it make of this batch"
            )
    return features
