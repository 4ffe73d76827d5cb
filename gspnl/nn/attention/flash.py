r"""Flash attention on a CPU with the gradient of a symmetrised kernel.

With :math:`r_i = \log\sum_j e^{s_{ij}}`, :math:`c_i = \log\sum_j e^{s_{ji}}` of two flash passes,
:math:`A v = w ∘ \mathrm{softmax}(qk^T) v + (1-w) ∘ \mathrm{softmax}(kq^T) v` with
:math:`w = \mathrm{sigmoid}(r - c)`. Backward, both passes take the joint output and the joint
log-sum :math:`\log(e^r + e^c)`, which makes them exact.

The backward pass recomputes weights as :math:`e^{s - ℓ}` from one number ℓ of a row, so that
rounding of ℓ multiplies them by :math:`1 ± |ℓ| ε`, and rows no longer sum to 1. Where some |ℓ|
exceeds :data:`LARGEST`, what depends on ℓ is computed in float64, in two to three times the time.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gspnl.nn.precision import JIT

LARGEST = 64.0  # |ℓ| up to which its rounding in float32, 4e-6, is below that of a row of scores
# Private: torch's public attention does not return the log-sums, which give the degrees. Where
# these operators are missing, public operators replace them.
FORWARD: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
BACKWARD: Any = getattr(
    torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu_backward", None
)


def available(q: Tensor) -> bool:
    """Return whether the flash operators run here; exported programs avoid them."""
    return (
        FORWARD is not None and BACKWARD is not None and q.device.type == "cpu" and not exporting()
    )


def exporting() -> bool:
    """Return whether a program is being exported or traced, to run elsewhere."""
    export: Any = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
    return bool(export() or JIT.is_tracing() or torch.onnx.is_in_onnx_export())


def large(logs: Tensor) -> bool:
    """Return whether log-sums have lost digits that their weights need; reads the values."""
    if logs.dtype == torch.float64:
        return False
    return not float(torch.linalg.vector_norm(logs.detach(), math.inf)) <= LARGEST  # NaN is large


def passes(q: Tensor, k: Tensor, v: Tensor, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Return A v and the log-sums in the dtype of the points, by one pass or two."""
    out, log_sums = FORWARD(q, k, v, scale=1.0)
    if symmetric:
        return out, log_sums
    other, columns = FORWARD(k, q, v, scale=1.0)
    share = torch.sigmoid(log_sums - columns)[..., None].to(out.dtype)
    return torch.lerp(other, out, share), torch.logaddexp(log_sums, columns)


def forward(q: Tensor, k: Tensor, v: Tensor, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Return A v and log Σ_j of exp(q kᵀ), plus exp(k qᵀ) unless it is symmetric."""
    out, log_sums = passes(q, k, v, symmetric)
    if symmetric or not large(log_sums):  # the softmax alone is divided by its own sum
        return out, log_sums
    fine, fine_logs = passes(q.double(), k.double(), v.double(), symmetric)
    return fine.to(out.dtype), fine_logs.to(log_sums.dtype)


def gradients(
    grad: Tensor,
    grad_log: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    log_sums: Tensor,
    symmetric: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of q, k and v."""
    dtype, width = q.dtype, q.shape[-1]
    if large(log_sums):
        q, k, v, grad = q.double(), k.double(), v.double(), grad.double()
        out, log_sums = passes(q, k, v, symmetric)
    if grad_log is not None:
        # The gradient of the scores depends on `out` by Σ_c grad ∘ out alone: a column of zeros in
        # v subtracts the gradient of the log-sum from it, and changes nothing else.
        q, k, v = (F.pad(x, (0, 1)) for x in (q, k, v))
        grad = F.pad(grad, (0, 1), value=1.0)
        out = torch.cat([out, -grad_log[..., None].to(out.dtype)], dim=-1)
    dq, dk, dv = BACKWARD(grad, q, k, v, out, log_sums, 0.0, False, scale=1.0)
    if not symmetric:
        more = BACKWARD(grad, k, q, v, out, log_sums, 0.0, False, scale=1.0)
        dq, dk, dv = dq + more[1], dk + more[0], dv + more[2]
    if grad_log is not None:
        dq, dk, dv = dq[..., :width], dk[..., :width], dv[..., :width]
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)
