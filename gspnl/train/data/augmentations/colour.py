"""Channels brought to mean 0 and deviation 1."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gspnl.errors import InputError


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    r"""Each channel less its mean, over its deviation: :math:`(x_c - \mu_c) / \sigma_c`.

    Parameters
    ----------
    images : tensor of shape (b, C, \*spatial)
    mean, std : sequence of float
        Of each channel over the training images; deviations > 0.

    Returns
    -------
    tensor of shape (b, C, \*spatial)

    Raises
    ------
    InputError
        If there are not C of each, or one is not finite or a deviation not > 0.

    Examples
    --------
    >>> import torch
    >>> normalise(torch.ones(1, 1, 1, 2), [0.5], [0.25]).tolist()
    [[[[2.0, 2.0]]]]
    """
    channels = images.shape[1]
    centre, width = (torch.tensor(list(one), dtype=torch.float64) for one in (mean, std))
    if not (centre.shape == width.shape == (channels,)):
        raise InputError(
            f"mean={tuple(mean)} and std={tuple(std)} are not one number for each of {channels} "
            "channels"
        )
    if not (torch.isfinite(centre).all() and torch.isfinite(width).all() and (width > 0).all()):
        raise InputError(f"mean={tuple(mean)} must be finite, and std={tuple(std)} finite and > 0")
    shape = (channels, *[1] * (images.ndim - 2))
    return (images - centre.to(images).view(shape)) / width.to(images).view(shape)
