"""The frame that every nonlocal block shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gspnl._base.registry import Registry
from gspnl.affinity.kernels import KERNELS, Anchors, Exponential, Kernel, make_kernel
from gspnl.errors import InputError
from gspnl.nn import lowrank
from gspnl.nn.embed import HALVES, FeatureAffinity
from gspnl.nn.norms import ACTIVATIONS, NORMS
from gspnl.nn.scales import SYMMETRIZED
from gspnl.nn.stage import Stage, Terms
from gspnl.nn.storage import Load

BLOCKS: Registry[type[Block]] = Registry("block")


class Block(nn.Module):
    r"""Y = X + norm(F(A, X W_g)), unit after unit on one affinity A.

    Parameters
    ----------
    channels : int
        C of the feature maps (B, C, ``*spatial``), with one, two or three spatial dimensions.
    inner : int, optional
        Cs, the width of the signal; default C/2.
    units : int
        Consecutive units; they share A, which is computed from the input of the first.
    norm : {"batch", "group", "layer", "none"}
    activation : {None, "relu"}
        After the norm, before the sum.
    zero_init : bool
        Start as the identity, and still learn: the scale of the norm starts at 0; with an
        activation, a gate after it does.
    bias : bool
        Of φ, ψ and g, and of the output maps where no norm follows.
    **options
        What further options a block takes is told by its class; any other is an error.

    Raises
    ------
    InputError
        For options that the block cannot honour.
    """

    block: ClassVar[str]
    defaults: ClassVar[dict[str, Any]] = {}
    stage: ClassVar[type[Stage]] = Stage
    folded: bool = False  # whether its maps are merged, see gspnl.nn.fold

    def __init__(
        self,
        channels: int,
        *,
        inner: int | None = None,
        units: int = 1,
        norm: str = "batch",
        activation: str | None = None,
        zero_init: bool = True,
        bias: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.channels = count(channels, "channels")
        self.inner = max(1, channels // 2) if inner is None else count(inner, "inner")
        count(units, "units")
        NORMS[norm]
        if activation is not None:
            ACTIVATIONS[activation]
        for name, value in (("zero_init", zero_init), ("bias", bias)):
            if not isinstance(value, bool):
                raise InputError(f"{name}={value!r} must be True or False")
        self.options = self._checked(options)
        self._common = {
            "inner": self.inner,
            "units": units,
            "norm": norm,
            "activation": activation,
            "zero_init": zero_init,
            "bias": bias,
        }
        self.affinity = self.make_affinity(bias)
        self.stages = nn.ModuleList(
            self.stage(
                channels,
                self.inner,
                self.terms(),
                norm,
                activation,
                zero_init,
                bias,
                self.options.get("groups"),
            )
            for _ in range(units)
        )

    @classmethod
    def _checked(cls, given: dict[str, Any]) -> dict[str, Any]:
        """The block's options, defaults filled in; any other is an error."""
        unknown = [name for name in given if name not in cls.defaults]
        if unknown:
            known = ["inner", "units", "norm", "activation", "zero_init", "bias", *cls.defaults]
            raise InputError(
                f"block {cls.block!r} has no option {', '.join(map(repr, unknown))}; it takes "
                f"{', '.join(known)}"
            )
        return {**cls.defaults, **given}

    def terms(self) -> Terms:
        """The output maps, and what each contributes to the series in A."""
        raise NotImplementedError

    def make_affinity(self, bias: bool) -> nn.Module:
        """The module that makes A of a feature map."""
        raise NotImplementedError

    @property
    def config(self) -> dict[str, Any]:
        """All that :func:`gspnl.nn.create` needs to make the block again, in plain types."""
        return {"block": self.block, "channels": self.channels, **self._common, **self.options}

    def forward(self, x: Tensor) -> Tensor:
        """Y of a feature map (B, C, ``*spatial``)."""
        self._check(x)
        return self.filtered(x.flatten(2), x.shape[2:]).reshape(x.shape)

    def filtered(self, y: Tensor, spatial: Sequence[int]) -> Tensor:
        """Y (B, C, N) of features (B, C, N)."""
        operator = self.affinity(y.mT, spatial)
        for stage in self.stages:
            y = stage(y.mT, operator)
        return y

    def _check(self, x: Tensor) -> None:
        name = type(self).__name__
        if not isinstance(x, Tensor):
            raise InputError(f"{name} takes a torch tensor, not {type(x).__name__}")
        shape = tuple(x.shape)
        if not 3 <= x.ndim <= 5:
            raise InputError(
                f"{name} got a tensor of shape {shape}; feature maps are (B, C, *spatial) with "
                "one, two or three spatial dimensions"
            )
        if x.shape[1] != self.channels:
            raise InputError(
                f"{name} was made for {self.channels} channels and got {x.shape[1]}, in a tensor "
                f"of shape {shape}; make it with channels={x.shape[1]}, or lay the tensor out as "
                "(B, C, *spatial)"
            )
        if 0 in x.shape[2:]:
            raise InputError(f"{name} got a feature map without positions, of shape {shape}")
        if not x.is_floating_point():
            raise InputError(f"{name} got {x.dtype}; feature maps are real floating point")
        if x.dtype in HALVES:
            self._check_range(x)

    def _check_range(self, x: Tensor) -> None:
        """Infinities of half precision, where a look at the values is cheap and can be taken."""
        if torch.compiler.is_compiling() or x.device.type != "cpu":
            return
        if not _finite(x):
            raise InputError(
                f"{type(self).__name__} got {int((~x.isfinite()).sum())} infinite or NaN values "
                f"among {x.numel()} of {x.dtype}, which ends at {torch.finfo(x.dtype).max:.3g}; "
                "scale the features down, or use bfloat16 or float32"
            )

    def extra_repr(self) -> str:
        shown = {k: v for k, v in self.config.items() if k not in ("block", "channels")}
        return ", ".join([str(self.channels), *(f"{k}={v!r}" for k, v in shown.items())])


class KernelBlock(Block):
    r"""A block on the graph of a kernel.

    Parameters
    ----------
    channels, inner, units, norm, activation, zero_init, bias
        As for every :class:`Block`.
    kernel : str or Kernel
        As in :func:`gspnl.feature_graph`; "anchors", which is fitted to all nodes, is not taken.
    normalization : str
        As there; and "mean" (M/N) and "none" (M), which are not symmetrised.
    feature_map, temperature, sigma
        Of the kernel.
    embedding : int
        Width of φ and ψ; default ``inner``.
    storage : {"auto", "dense", "lowrank"}
        How A is held, where its kernel leaves a choice.
    isolated : {"self", "zero"}
        A_ii of positions of degree 0: 1, or 0.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "kernel": "dot",
        "normalization": "random_walk",
        "embedding": None,
        "storage": "auto",
        "isolated": "self",
        "feature_map": None,
        "temperature": None,
        "sigma": None,
    }

    @property
    def order(self) -> int:
        """Degree of the series in A."""
        return max(len(share) for share in self.terms().values()) - 1

    def make_affinity(self, bias: bool) -> nn.Module:
        made = self.options
        given = {k: made[k] for k in KERNEL_OPTIONS if made[k] is not None}
        kernel = make_kernel(made["kernel"], given)
        self.options = {**made, **described(kernel)}
        self._check_kernel(kernel, made["normalization"])
        for name, known in (
            ("storage", ("auto", "dense", "lowrank")),
            ("isolated", ("self", "zero")),
        ):
            if made[name] not in known:
                raise InputError(f"{name}={made[name]!r} must be one of {', '.join(known)}")
        self._check_choices(kernel)
        width = self.inner if made["embedding"] is None else count(made["embedding"], "embedding")
        return FeatureAffinity(
            self.channels,
            width,
            kernel,
            made["normalization"],
            Load(self.inner, self.channels, self.order),
            made["storage"],
            bias,
            made.get("sub_sample"),
            made["isolated"],
        )

    def filtered(self, y: Tensor, spatial: Sequence[int]) -> Tensor:
        """Y (B, C, N) of features (B, C, N)."""
        if len(self.stages) == 1 and isinstance(first := self.stages[0], Stage):
            F = lowrank.filtered(self.affinity, first, y)
            if F is not None:
                return first.added(y, F)
        return super().filtered(y, spatial)

    def _check_choices(self, kernel: Kernel) -> None:
        """Raise where storage, embedding or isolated would be given for nothing."""
        made, name = self.options, type(kernel).__name__
        if made["storage"] != "auto" and not kernel.bilinear:
            raise InputError(
                f"storage={made['storage']!r} is a choice for kernels that are inner products, and "
                f"the {name} kernel is none; use storage='auto'"
            )
        pooled = kernel.embedding == "vectors" and made.get("sub_sample") is not None
        if made["embedding"] is not None and kernel.embedding != "matrices" and not pooled:
            raise InputError(
                f"embedding={made['embedding']} has no meaning for the {name} kernel, whose "
                "embeddings have no width; leave it out"
            )
        bare = made["normalization"] in ("mean", "none") or isinstance(kernel, Exponential)
        if made["isolated"] != "self" and bare:
            raise InputError(
                f"isolated={made['isolated']!r} has no meaning where no degree is divided by, or "
                "none can vanish; leave it out"
            )

    def _check_kernel(self, kernel: Kernel, normalization: str) -> None:
        symmetric = SYMMETRIZED[normalization]
        if kernel.embedding == "matrices" and type(kernel).embed is not Kernel.embed:
            raise InputError(
                f"the {type(kernel).__name__} kernel embeds in its own way, which a block does "
                "not call; overload features() and affinity() instead"
            )
        if isinstance(kernel, Anchors):
            raise InputError(
                "kernel='anchors' is fitted to all nodes, which a block meets batch by batch; use "
                "kernel='dot'"
            )
        if normalization in ("mean", "none") and isinstance(kernel, Exponential):
            raise InputError(
                f"normalization={normalization!r} leaves the {type(kernel).__name__} kernel, an "
                "exponential, without a scale; use 'softmax' or 'random_walk'"
            )
        if normalization not in ("mean", "none") and not kernel.nonnegative:
            raise InputError(
                f"degrees of raw dot products may vanish, so normalization={normalization!r} is "
                "undefined; pass feature_map='relu' (or 'softplus', 'square', 'exp'), or "
                "normalization='mean'"
            )
        if self.order > 1 and not symmetric:
            raise InputError(
                f"normalization={normalization!r} is not similar to a symmetric matrix: a series "
                "in it above order 1 has no response; use 'random_walk'"
            )


def _finite(x: Tensor) -> bool:
    """Whether all values are finite, from the least and the largest: a tenth of isfinite's time."""
    if x.numel() == 0:
        return True
    rows = x.detach().movedim(1, -1)  # channels last in memory, maybe: extrema in order are faster
    ends = torch.aminmax(rows if rows.is_contiguous() else x.detach())  # NaN, if there is one
    return bool(torch.isfinite(ends.min)) and bool(torch.isfinite(ends.max))


KERNEL_OPTIONS = ("feature_map", "temperature", "sigma")


def described(kernel: Kernel) -> dict[str, Any]:
    """A kernel as options of a block, in plain types where these options say all of it."""
    name = next((n for n in KERNELS if KERNELS[n] is type(kernel)), None)
    shown = asdict(kernel)
    if name is None or set(shown) - set(KERNEL_OPTIONS):
        return {"kernel": kernel, **dict.fromkeys(KERNEL_OPTIONS)}
    return {"kernel": name, **{k: shown.get(k) for k in KERNEL_OPTIONS}}


def among(name: str, value: Any, known: Sequence[str]) -> None:
    """Raise unless ``value`` is one of the known names."""
    if value not in known:
        raise InputError(f"{name}={value!r} must be one of {', '.join(map(repr, known))}")


def count(value: Any, name: str) -> int:
    """A whole number of at least 1, or an error."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name}={value!r} must be a whole number ≥ 1")
    return value
