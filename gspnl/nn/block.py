"""Base classes of nonlocal blocks: on any affinity, and on the graph of a kernel."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gspnl._base.registry import Registry
from gspnl._base.validate import one_of, whole_number
from gspnl.affinity.kernels import KERNELS, Anchors, Exponential, Kernel, make_kernel
from gspnl.errors import InputError
from gspnl.nn.affinity import FeatureAffinity, Load
from gspnl.nn.hooked import own_memo
from gspnl.nn.normalization import NORMALIZATIONS
from gspnl.nn.precision import HALVES, all_finite
from gspnl.nn.unit import ACTIVATIONS, NORMS, Stage, Terms

BLOCKS: Registry[type[Block]] = Registry("block")
KERNEL_OPTIONS = ("feature_map", "temperature", "sigma")
MOST_TERMS = 1000  # units, and orders of a series: each is a layer with weights of its own
COMMON_OPTIONS = ("inner", "units", "norm", "activation", "zero_init", "bias")
UNNORMALIZED = ("mean", "none")  # normalisations without degrees


class Block(nn.Module):
    r"""Y = X + norm(F(A, X W_g)), in consecutive units on one affinity A.

    Parameters
    ----------
    channels : int
        C of the feature maps (B, C, ``*spatial``), with one, two or three spatial dimensions.
    inner : int, optional
        Cs, the width of the signal; default C/2.
    units : int
        Number of consecutive units; they share A, which is computed from the input of the first.
    norm : {"batch", "group", "layer", "none"}
    activation : {None, "relu"}
        After the norm, before the sum.
    zero_init : bool
        Start as the identity: the scale of the norm, or with an activation a gate after it, starts
        at 0. Every parameter still learns.
    bias : bool
        Biases in φ, ψ and g, and in the output maps if no norm follows.
    **options
        Further options of the block's class; any other is an error.

    Raises
    ------
    InputError
        For options that the block cannot honour.
    """

    block: ClassVar[str]
    defaults: ClassVar[dict[str, Any]] = {}
    stage: ClassVar[type[Stage]] = Stage
    folded: bool = False  # whether maps are merged, see gspnl.nn.fold

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
        self.channels = whole_number("channels", channels, 1)
        self.inner = max(1, channels // 2) if inner is None else whole_number("inner", inner, 1)
        units = whole_number("units", units, 1, MOST_TERMS)
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
                self.channels,
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
    def _checked(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Fill in the defaults of the block's options; raise for any other option."""
        unknown = [name for name in options if name not in cls.defaults]
        if unknown:
            known = [*COMMON_OPTIONS, *cls.defaults]
            raise InputError(
                f"block {cls.block!r} has no option {', '.join(map(repr, unknown))}; it takes "
                f"{', '.join(known)}"
            )
        return {**cls.defaults, **options}

    def terms(self) -> Terms:
        """Return the output maps with their coefficients in the series in A."""
        raise NotImplementedError

    def make_affinity(self, bias: bool) -> nn.Module:
        """Return the module that computes A of a feature map."""
        raise NotImplementedError

    @property
    def config(self) -> dict[str, Any]:
        """Arguments of :func:`gspnl.nn.create` for this block, in plain types."""
        return {"block": self.block, "channels": self.channels, **self._common, **self.options}

    def forward(self, x: Tensor) -> Tensor:
        """Return Y of a feature map (B, C, ``*spatial``)."""
        self._check(x)
        return self.filtered(x.flatten(2), x.shape[2:]).reshape(x.shape)

    def filtered(self, y: Tensor, spatial: Sequence[int]) -> Tensor:
        """Return Y (B, C, N) of features (B, C, N)."""
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
        """Raise for infinite values in half precision, where values can be read at little cost."""
        if torch.compiler.is_compiling() or x.device.type != "cpu":
            return
        if not all_finite(x):
            raise InputError(
                f"{type(self).__name__} got {int((~x.isfinite()).sum())} infinite or NaN values "
                f"among {x.numel()} of {x.dtype}, which ends at {torch.finfo(x.dtype).max:.3g}; "
                "scale the features down, or use bfloat16 or float32"
            )

    def __deepcopy__(self, memo: dict[int, Any]) -> Block:
        """Copy the block, also where pruning or an old norm has computed a weight for autograd."""
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        memo.update({key: value for key, value in own_memo(self).items() if key not in memo})
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return copied

    def extra_repr(self) -> str:
        shown = {k: v for k, v in self.config.items() if k not in ("block", "channels")}
        return ", ".join([str(self.channels), *(f"{k}={v!r}" for k, v in shown.items())])


class KernelBlock(Block):
    r"""A block on the graph of a kernel between positions.

    Parameters
    ----------
    channels, inner, units, norm, activation, zero_init, bias
        See :class:`Block`.
    kernel : str or Kernel
        As in :func:`gspnl.feature_graph`, except "anchors", which is fitted to all nodes.
    normalization : str
        As in :func:`gspnl.feature_graph`; also "mean" (M/N) and "none" (M), not symmetrised.
    feature_map, temperature, sigma
        Options of the kernel.
    embedding : int
        Width of φ and ψ; default ``inner``.
    storage : {"auto", "dense", "lowrank"}
        Storage of A, for kernels that are inner products.
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
        options = self.options
        given = {k: options[k] for k in KERNEL_OPTIONS if options[k] is not None}
        kernel = make_kernel(options["kernel"], given)
        self.options = {**options, **kernel_options(kernel)}
        self._check_kernel(kernel, options["normalization"])
        one_of("storage", options["storage"], ("auto", "dense", "lowrank"))
        one_of("isolated", options["isolated"], ("self", "zero"))
        self._check_choices(kernel)
        width = self.inner
        if options["embedding"] is not None:
            width = whole_number("embedding", options["embedding"], 1)
            self.options["embedding"] = width
        return FeatureAffinity(
            self.channels,
            width,
            kernel,
            options["normalization"],
            Load(self.inner, self.channels, self.order),
            options["storage"],
            bias,
            options.get("sub_sample"),
            options["isolated"],
        )

    def filtered(self, y: Tensor, spatial: Sequence[int]) -> Tensor:
        """Return Y (B, C, N) of features (B, C, N)."""
        if len(self.stages) == 1 and isinstance(first := self.stages[0], Stage):
            F = first.fast(self.affinity, y)
            if F is not None:
                return first.added(y, F)
        return super().filtered(y, spatial)

    def _check_choices(self, kernel: Kernel) -> None:
        """Raise where storage, embedding or isolated would have no effect."""
        options, name = self.options, type(kernel).__name__
        if options["storage"] != "auto" and not kernel.bilinear:
            raise InputError(
                f"storage={options['storage']!r} is a choice for kernels that are inner products, "
                f"and the {name} kernel is none; use storage='auto'"
            )
        pooled = kernel.embedding == "vectors" and options.get("sub_sample") is not None
        if options["embedding"] is not None and kernel.embedding != "matrices" and not pooled:
            raise InputError(
                f"embedding={options['embedding']} has no meaning for the {name} kernel, whose "
                "embeddings have no width; leave it out"
            )
        unused = options["normalization"] in UNNORMALIZED or isinstance(kernel, Exponential)
        if options["isolated"] != "self" and unused:
            raise InputError(
                f"isolated={options['isolated']!r} has no meaning where no degree is divided by, "
                "or none can vanish; leave it out"
            )

    def _check_kernel(self, kernel: Kernel, normalization: str) -> None:
        if normalization == "chung":
            raise InputError(
                "normalization='chung' needs the stationary distribution of every input, which "
                "blocks do not solve for: it belongs to gspnl.feature_graph; use 'random_walk', "
                "which symmetrises the weights, or 'softmax'"
            )
        symmetric = NORMALIZATIONS[normalization].symmetric_core
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
        sigma = getattr(kernel, "sigma", None)
        if isinstance(sigma, str):
            raise InputError(
                f"sigma={sigma!r} is taken from all nodes, which a block meets batch by batch; "
                "pass a number, near the distance of neighbouring features"
            )
        if normalization in UNNORMALIZED and isinstance(kernel, Exponential):
            raise InputError(
                f"normalization={normalization!r} leaves the {type(kernel).__name__} kernel, an "
                "exponential, without a scale; use 'softmax' or 'random_walk'"
            )
        if normalization not in UNNORMALIZED and not kernel.nonnegative:
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


def kernel_options(kernel: Kernel) -> dict[str, Any]:
    """Return the options that make a kernel: its name and parameters, else the kernel itself."""
    name = next((n for n in KERNELS if KERNELS[n] is type(kernel)), None)
    own = {key: value for key, value in asdict(kernel).items() if not key.startswith("_")}
    if name is None or set(own) - set(KERNEL_OPTIONS):
        return {"kernel": kernel, **dict.fromkeys(KERNEL_OPTIONS)}
    return {"kernel": name, **{k: own.get(k) for k in KERNEL_OPTIONS}}
