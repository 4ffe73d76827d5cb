"""Average class probabilities over the views of a sample, as test-time crops or clips."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gspnl.errors import InputError


def scores(model: nn.Module, images: Tensor, views: int) -> Tensor:
    r"""Scores of samples that hold several views, (b, classes), float32.

    With probabilities :math:`p_v` of view v they are

    .. math:: \log \Bigl( \frac1V \sum_{v=1}^V p_v \Bigr) ,

    so their cross entropy is that of the mean probabilities. One view gives the network's scores.

    Parameters
    ----------
    model : Module
    images : tensor of shape (b, C, views · T, \*rest)
        The views one after the other. The network takes one at a time.
    views : int
        V ≥ 1.

    Raises
    ------
    InputError
        If the views differ in length.

    Examples
    --------
    >>> scores(nn.Identity(), torch.tensor([[[0.0, 30.0], [30.0, 0.0]]]), 2).exp().squeeze(2)
    tensor([[0.5000, 0.5000]])
    """
    if views == 1:
        single: Tensor = model(images).float()
        return single
    if images.shape[2] % views:
        raise InputError(
            f"samples of {images.shape[2]} frames do not hold {views} views of one length; leave "
            "out what changes their number from the recipe's evaluation"
        )
    logs = [model(view).float().log_softmax(1) for view in images.chunk(views, 2)]
    return torch.stack(logs).logsumexp(0) - math.log(views)
