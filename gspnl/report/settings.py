"""Settings of a report, validated before any work is done."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from gspnl._base.validate import number, whole_number
from gspnl.affinity.kernels import KERNELS
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.errors import InputError
from gspnl.responses import Response, parse

MOST_ORDERS = 1000  # each is a filter of the whole photo
HIGHEST_ORDER = 10_000


@dataclass(frozen=True)
class Settings:
    """Options of :func:`gspnl.report.write_report`, named as on the command line.

    Parameters
    ----------
    kernel : str
        A registered kernel. Full-size photos need "anchors", "dot" or "cosine"; or "rbf" where
        sigma is wide, or with at most 3 features, as colours with ``position=0``, and finufft.
    rank : int, optional
        Number of anchors, ≥ 1, of kernel "anchors"; default 64.
    sigma : float, optional
        Bandwidth of "anchors" or "rbf", in units of the features; default: that of the kernel.
    normalization : str
    response : str
        g(λ) of the filter, in the form that :func:`gspnl.responses.parse` reads.
    orders : str
        Chebyshev orders to compare: "1:30" (both ends included), "1:30:5", or "1,2,4".
    pixels : sequence of (x, y)
        Reference pixels of the attention, counted from the upper left corner of the full-size
        photo; default: the innermost pixel of each of the largest segments.
    max_nodes : int
        A photo of more pixels is scaled down to fit.
    colour, position, patch : float
        Scales of the features, see :func:`gspnl.images.photo_features`.
    seed : int
        Seed of the anchors and of the segmentation, ≥ 0.

    Raises
    ------
    InputError
        For a value out of range, or a name that is not registered.

    Examples
    --------
    >>> Settings(orders="1:4").order_list
    (1, 2, 3, 4)
    >>> Settings(kernel="ancors")
    Traceback (most recent call last):
    ...
    gspnl.errors.InputError: unknown kernel 'ancors'; did you mean 'anchors'? Available: ...
    """

    kernel: str = "anchors"
    rank: int | None = None
    sigma: float | None = None
    normalization: str = "random_walk"
    response: str = "tikhonov(10)"
    orders: str = "1:30"
    pixels: tuple[tuple[int, int], ...] = ()
    max_nodes: int = 400_000
    colour: float = 1.0
    position: float = 0.5
    patch: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        kernel = KERNELS[self.kernel]
        if kernel.embedding_required:
            raise InputError(
                f"kernel={self.kernel!r} needs embedding vectors, which a photo does not bring; "
                "use kernel='anchors', or gspnl.feature_graph(..., embed=) from Python"
            )
        if NORMALIZATIONS[self.normalization].regular:
            raise InputError(
                f"normalization={self.normalization!r} has λ beyond [0, 2], the axis of the "
                "report's figures; use 'random_walk', 'symmetric' or 'bistochastic'"
            )
        if self.rank is not None and self.kernel != "anchors":
            raise InputError(
                f"rank={self.rank} is the number of anchors and belongs to kernel='anchors'; leave "
                f"it out with kernel={self.kernel!r}"
            )
        if self.sigma is not None and self.kernel not in ("anchors", "rbf"):
            raise InputError(
                f"sigma={self.sigma} belongs to kernel='anchors' or 'rbf'; leave it out with "
                f"kernel={self.kernel!r}"
            )
        if self.sigma is not None:
            number("sigma", self.sigma, above=0)
        if self.rank is not None:
            whole_number("rank", self.rank, 1)
        whole_number("max_nodes", self.max_nodes, 2)
        whole_number("seed", self.seed)
        for x, y in self.pixels:
            if x < 0 or y < 0:
                raise InputError(f"pixel={x},{y} must be X,Y with X ≥ 0 and Y ≥ 0")
        _ = self.order_list, self.response_function

    @property
    def response_function(self) -> Response:
        """The response that ``response`` names."""
        return parse(self.response)

    @property
    def order_list(self) -> tuple[int, ...]:
        """The orders that ``orders`` names, ascending."""
        return parse_orders(self.orders)

    @property
    def kernel_options(self) -> dict[str, Any]:
        """Options of the kernel, for :func:`gspnl.feature_graph`."""
        options: dict[str, Any] = {}
        if self.kernel == "anchors":
            options = {"anchors": self.rank or 64, "seed": self.seed}
        if self.sigma is not None:
            options["sigma"] = self.sigma
        return options

    def command(self, image: str | None) -> str:
        """The command line that reproduces this report."""
        words = ["gspnl", "report"] + ([image] if image else [])
        default = Settings()
        for name in ("kernel", "rank", "sigma", "normalization", "response", "orders",
                     "max_nodes", "colour", "position", "patch", "seed"):  # fmt: skip
            value = getattr(self, name)
            if name == "rank" and self.kernel == "anchors":
                value = self.rank or 64
            if value != getattr(default, name) or name in ("response", "seed"):
                words += ["--" + name.replace("_", "-"), str(value)]
        for x, y in self.pixels:
            words += ["--pixel", f"{x},{y}"]
        return shlex.join(words)


def parse_orders(text: str) -> tuple[int, ...]:
    """Orders from "1:30" (both ends included), "1:30:5" or "1,2,4", ascending.

    Raises
    ------
    InputError
        For text of another form, or orders that are too many or too high.

    Examples
    --------
    >>> parse_orders("4,1,2"), parse_orders("1:9:4")
    ((1, 2, 4), (1, 5, 9))
    """
    wanted = "pass for example --orders 1:30, 1:30:5 or 1,2,4"
    try:
        if ":" in text:
            ends = [int(part) for part in text.split(":")]
            step = ends[2] if len(ends) == 3 else 1
            if len(ends) > 3 or step < 1:
                raise ValueError
            orders = range(ends[0], ends[1] + 1, step)
        else:
            orders = sorted({int(part) for part in text.split(",")})  # type: ignore[assignment]
    except ValueError:
        raise InputError(f"orders={text!r} is no list of whole numbers; {wanted}") from None
    if not orders:
        raise InputError(f"orders={text!r} is empty: its first order is above its last; {wanted}")
    if orders[0] < 0 or orders[-1] > HIGHEST_ORDER:
        raise InputError(f"orders={text!r} must lie between 0 and {HIGHEST_ORDER}; {wanted}")
    if len(orders) > MOST_ORDERS:
        raise InputError(
            f"orders={text!r} are {len(orders)} filters of the photo; ask for at most "
            f"{MOST_ORDERS}, as with a step, 1:3000:10"
        )
    return tuple(orders)


def parse_pixel(text: str) -> tuple[int, int]:
    """A pixel from "X,Y".

    Examples
    --------
    >>> parse_pixel("250,190")
    (250, 190)
    """
    try:
        x, y = (int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"pixel={text!r} is not of the form X,Y, as --pixel 250,190") from None
    return x, y
