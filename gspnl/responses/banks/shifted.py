"""Banks of shifted responses: evenly spaced, at every eigenvalue, or by modulation."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl import responses
from gspnl._base.validate import number, whole_number
from gspnl.errors import InputError
from gspnl.responses import Response
from gspnl.responses.banks.base import FilterBank, bank, eigenvalues_of
from gspnl.responses.composite import is_response
from gspnl.responses.evaluate import evaluate, numbers


@bank("half_cosine")
def half_cosine(count: int = 6, lmax: float = 2.0) -> FilterBank:
    """Raised cosines a third of their width apart: a tight frame on [0, lmax] with A = B = 9/8.

    Parameters
    ----------
    count : int
        ≥ 3, number of filters.
    lmax : float
        > 0; the largest λ.

    References
    ----------
    ``pygsp.filters.HalfCosine``.

    Examples
    --------
    >>> [round(v, 12) for v in half_cosine(5).frame_bounds()]
    [1.125, 1.125]
    """
    count = whole_number("count", count, 3)
    width = number("lmax", lmax, above=0) * 3 / (count - 2)
    return FilterBank(
        tuple(responses.half_cosine(width / 3 * (i - 2), width) for i in range(count))
    )


@bank("itersine")
def itersine(count: int = 6, overlap: int = 2, lmax: float = 2.0) -> FilterBank:
    """Iterated sines: a tight frame on [0, lmax] with A = B = 1, if the overlap is 2.

    Parameters
    ----------
    count : int
        Number of filters, at least ``overlap``.
    overlap : int
        ≥ 1, number of filters that overlap at each λ. The frame is tight for 2, and nearly tight
        for other even numbers.
    lmax : float
        > 0; the largest λ.

    References
    ----------
    ``pygsp.filters.Itersine``.

    Examples
    --------
    >>> itersine(5).is_tight()
    True
    """
    count = whole_number("count", count, 1)
    overlap = whole_number("overlap", overlap, 1, count, ", the count")
    width = number("lmax", lmax, above=0) / (count - overlap + 1) * overlap
    return FilterBank(
        tuple(
            responses.itersine((i - overlap / 2) / overlap * width, width, (2 / overlap) ** 0.5)
            for i in range(1, count + 1)
        )
    )


@bank("gabor")
def gabor(mother: Response, spectrum: Any) -> FilterBank:
    r"""One response shifted to every eigenvalue of a graph, :math:`g_k(λ) = g(λ - λ_k)`.

    Its analysis is a spectrogram: the share of each frequency at each node.

    Parameters
    ----------
    mother : callable
        g, for positive and negative arguments. For positive ones this is PyGSP's ``Gabor``, some
        of whose kernels are wrong for negative ones.
    spectrum : Spectrum, or array of λ
        A repeated λ gives as many filters.

    References
    ----------
    ``pygsp.filters.Gabor``.

    Examples
    --------
    >>> from gspnl.responses import smooth_band_pass
    >>> gabor(smooth_band_pass(0.0, 0.1), [0.0, 0.5])[1]
    shifted(response=smooth_band_pass(centre=0.0, width=0.1), by=0.5)
    """
    is_response("mother", mother)
    return FilterBank(
        tuple(responses.shifted(mother, float(lam)) for lam in eigenvalues_of(spectrum))
    )


@bank("modulation")
def modulation(mother: Response, spectrum: Any, modes: Any) -> FilterBank:
    r"""One response modulated by every eigenvector, defined at the eigenvalues only.

    .. math:: g_k(λ_l) = \sqrt{N}\, (U^T (u_k \circ U\, g(λ)))_l

    Filter k is defined at the eigenvalues, and NaN elsewhere, for exact filters on the same graph.
    For a repeated λ the first value is used. The values depend on the signs of the modes, and on
    their basis where a λ repeats. This is modulation before localisation, which
    ``pygsp.filters.Modulation`` evaluates; the other order, a windowed Fourier transform, is no
    filter bank.

    Parameters
    ----------
    mother : callable
        g.
    spectrum : Spectrum, or array of N λ
    modes : array of shape (N, N)
        U, orthonormal columns: those of a symmetric L, as for normalization="symmetric".

    References
    ----------
    Shuman, Ricaud and Vandergheynst 2016; ``pygsp.filters.Modulation``.

    Examples
    --------
    >>> import numpy as np
    >>> from gspnl.responses import heat
    >>> modulation(heat(1.0), [0.0, 2.0], np.array([[1, 1], [1, -1]]) / 2**0.5)([0.0, 2.0]).round(4)
    array([[1.    , 0.1353],
           [0.1353, 1.    ]])
    """
    is_response("mother", mother)
    lam, U = eigenvalues_of(spectrum), numbers(modes)
    n = len(lam)
    if U.shape != (n, n):
        raise InputError(f"modes has shape {U.shape}; {n} eigenvalues need ({n}, {n})")
    if not np.abs(U.T @ U - np.eye(n)).max() < 1e-6:
        raise InputError(
            "the columns of modes are not orthonormal; take those of a graph built with "
            "normalization='symmetric' or 'bistochastic'"
        )
    kernel = U @ evaluate(mother, lam)
    table = n**0.5 * (U.T @ (U * kernel[:, None]))  # (l, k)
    points = tuple(lam.tolist())
    return FilterBank(tuple(responses.tabulated(points, column) for column in table.T))
