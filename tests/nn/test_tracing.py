"""Traced blocks: torch.compile, torch.export and ONNX.

Eager blocks are the reference here; they are compared with dense formulas elsewhere. Compiled by
"eager" or "aot_eager" a block is the same operations in another order at most: in float64, 1e-10 of
the largest entry leaves a factor of 10⁵ to rounding. Exported programs run in float32, and may
take other fused kernels: 1e-5 is a hundred roundings.
"""

from __future__ import annotations

import io
import logging
from copy import deepcopy

import pytest
import torch
from support.nn_cases import NAMES, OPTIONS, make, signal, step

from gspnl.nn import normalization
from gspnl.nn.unit import NODES

pytestmark = pytest.mark.slow

REFUSED = "ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"  # torch's own code


@pytest.fixture(autouse=True)
def _fresh():
    """Drop compiled code of other tests, which counts towards recompilation limits."""
    torch.compiler.reset()


def agree(actual, expected, relative):
    assert actual.keys() == expected.keys()
    largest = max(v.abs().max() for k, v in expected.items() if k != "y")
    for key, truth in expected.items():
        # What vanishes by algebra is rounding of the largest gradient.
        size = max(truth.abs().max(), 1e-3 * largest)
        error = (actual[key] - truth).abs().max()
        assert error <= relative * size, f"{key}: off by {error:.2g} of {size:.2g}"


def compiled_like_eager(block, x, backend, relative=1e-10):
    twin, weight = deepcopy(block), torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x)
    compiled = torch.compile(block, fullgraph=True, backend=backend)
    agree(step(block, x, weight, run=compiled), step(twin, x, weight), relative)
    for (key, buffer), other in zip(block.named_buffers(), twin.buffers(), strict=True):
        assert torch.allclose(buffer, other, rtol=relative), key  # running statistics


@pytest.mark.parametrize("name", NAMES)
def test_compile(name):
    compiled_like_eager(make(name).train(), signal(), "aot_eager")


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_compile_with_options(name, options):
    compiled_like_eager(make(name, **options).eval(), signal(), "eager")


@pytest.mark.parametrize("dims", [1, 3])
@pytest.mark.parametrize("name", ["cc", "nl", "snl"])
def test_compile_in_one_and_three_dimensions(name, dims):
    compiled_like_eager(make(name).train(), signal(dims), "eager")


@pytest.mark.parametrize("kernel", ["dot", "embedded_gaussian"])
def test_compile_bistochastic(kernel):
    """The fixed number of steps is as accurate as the loop, which stops at defects of 1e-14."""
    block = make("snl", kernel=kernel, normalization="bistochastic").eval()
    compiled_like_eager(block, signal(), "eager")


@pytest.mark.parametrize("sharpness", [0.5, 2.0, 3.5])
def test_fixed_steps_converge_for_sharp_weights(sharpness):
    """s∘(W s) = 1 of exponentials far apart, where 128 Sinkhorn steps leave 6e-3."""
    q, k = (torch.randn(1, 40, 4, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    E = torch.exp(sharpness * (q @ k.mT).double())
    W = (E + E.mT) / 2

    def solve(s, v):
        core = torch.eye(40, dtype=v.dtype) + s[..., None] * W * s[..., None, :]
        return torch.linalg.solve(core, v[..., None])[..., 0]

    degrees = W.sum(-1)
    s = normalization._traced(degrees, degrees > 0, lambda v: (W @ v[..., None])[..., 0], solve)
    defect = (s * (W @ s[..., None])[..., 0] - 1).abs().max()
    assert defect < 1e-14  # sums of 40 rounding errors


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # inductor's own imports
@pytest.mark.parametrize("name", ["nl", "snl", "cc"])
def test_compile_by_inductor(name):
    """Fused C++ in float64: reordered sums."""
    compiled_like_eager(make(name).train(), signal(), "inductor")


def test_compiled_block_with_other_sizes():
    block = make("snl", storage="lowrank").eval()
    compiled = torch.compile(block, fullgraph=True, backend="eager", dynamic=True)
    for dims, batch in ((2, 2), (2, 5), (1, 3)):
        x = signal(dims, batch)
        assert torch.allclose(compiled(x), block(x), rtol=1e-10)


def test_spectral_block_traces_to_a_short_program():
    """The 56 terms are summed at once; only the recurrence is unrolled, 10 operations a term."""
    program = torch.export.export(make("spectral", storage="lowrank").eval(), (signal(),))
    calls = sum(node.op == "call_function" for node in program.graph.nodes)
    assert calls < 12 * NODES


def ready(name, **options):
    """A block in float32 for inference, an example, and a batch of another size."""
    block = make(name, **options).float().eval()
    return block, signal().float(), signal(batch=5, seed=3).float()


def close(actual, expected):
    error, size = (actual - expected).abs().max(), expected.abs().max()
    assert error <= 1e-5 * size, f"off by {error:.2g} of {size:.2g}"


def batched():
    return {"x": {0: torch.export.Dim("batch", min=1)}}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_export(name, strict):
    block, x, other = ready(name, **({"storage": "lowrank"} if name == "spectral" else {}))
    program = torch.export.export(block, (x,), dynamic_shapes=batched(), strict=strict)
    close(program.module()(other), block(other))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for example in (x, other):
        close(loaded(example), block(example))


EXPORTED = [  # blocks with a storage or operators of their own
    ("snl", {"kernel": "cosine"}),
    ("snl", {"kernel": "rbf", "normalization": "symmetric"}),
    ("snl", {"kernel": "concatenation", "units": 2, "activation": "relu"}),
    ("nl", {"sub_sample": 2, "norm": "layer"}),
    ("chebyshev", {"storage": "lowrank", "norm": "none", "bias": True}),
]


@pytest.mark.parametrize(("name", "options"), EXPORTED)
def test_export_with_options(name, options):
    block, x, other = ready(name, **options)
    program = torch.export.export(block, (x,), dynamic_shapes=batched(), strict=False)
    close(program.module()(other), block(other))


def to_onnx(block, x):
    """The model's bytes, without torch's progress output."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # "torchvision is not installed"
    try:
        program = torch.onnx.export(
            block, (x,), dynamo=True, dynamic_shapes=batched(), verbose=False, optimize=False
        )
    finally:
        logger.setLevel(level)
    return program.model_proto.SerializeToString()


@pytest.mark.filterwarnings(REFUSED)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in NAMES if name != "spectral"),
        ("spectral", {"storage": "lowrank"}),  # dense, 55 unrolled products
        ("snl", {"storage": "lowrank"}),
        ("snl", {"kernel": "embedded_gaussian"}),
        ("snl", {"kernel": "concatenation", "normalization": "symmetric"}),
        ("nl", {"sub_sample": 2, "units": 2}),
    ],
)
def test_onnx(name, options):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    block, x, other = ready(name, **options)
    session = onnxruntime.InferenceSession(to_onnx(block, x), providers=["CPUExecutionProvider"])
    (input_name,) = (node.name for node in session.get_inputs())
    for features in (x, other):
        (out,) = session.run(None, {input_name: features.numpy()})
        close(torch.as_tensor(out), block(features).detach())


@pytest.mark.filterwarnings(REFUSED)
def test_onnx_export_of_bistochastic_raises(monkeypatch):
    """Balancing takes a pseudo-inverse, for which ONNX has no operator."""
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(normalization, "TRACED_STEPS", 1)  # a shorter program
    monkeypatch.setattr(normalization, "TRACED_NEWTON", 1)
    block, x, _ = ready("snl", normalization="bistochastic")
    with pytest.raises(torch.onnx.OnnxExporterError) as error:
        to_onnx(block, x)
    assert "linalg_pinv" in str(error.value.__cause__)
