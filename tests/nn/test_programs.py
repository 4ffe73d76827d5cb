"""Attention of TorchScript and exported programs, compared with that of their networks."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from gspnl import nn as gnn
from gspnl.nn.programs.dispatched import observe_program
from gspnl.nn.programs.exported import check_archive, expressions
from gspnl.nn.programs.onnx_graphs import find_attention

C, H, N = 8, 2, 6


class Causal(nn.Module):
    """Fused attention with a causal mask, or with a bool or floating one."""

    def __init__(self, mask="causal"):
        super().__init__()
        self.qkv, self.kind = nn.Linear(C, 3 * C), mask
        keep = torch.rand(N, N, generator=torch.Generator().manual_seed(0)) > 0.3
        self.register_buffer("keep", keep | torch.eye(N, dtype=torch.bool))

    def forward(self, x):
        B, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(B, n, 3, H, C // H).permute(2, 0, 3, 1, 4).unbind(0)
        if self.kind == "causal":
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            mask = self.keep if self.kind == "bool" else torch.where(self.keep, 0.3, -torch.inf)
            y = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=0.7)
        return y.transpose(1, 2).reshape(B, n, C)


class Padded(nn.Module):
    """torch's encoder layer with padding, by its fast path."""

    def __init__(self, norm_first):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(C, H, 16, batch_first=True, norm_first=norm_first)
        torch.nn.init.normal_(self.layer.norm1.weight)

    def forward(self, x):
        mask = torch.zeros(x.shape[:2], dtype=torch.bool)
        mask[0, -2:] = True
        return self.layer(x, src_key_padding_mask=mask)


def batch():
    return torch.randn(2, N, C, generator=torch.Generator().manual_seed(1))


def traced(model, x):
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return torch.jit.trace(model, x, check_trace=False)


def exported(model, x):
    return torch.export.export(model, (x,)).module()


def check(program, model, x):
    seen, truth = gnn.audit(program, x).attention, gnn.audit(model, x).attention
    assert len(seen) == len(truth) == H
    for found, other in zip(seen, truth, strict=True):
        assert found.masked == other.masked
        for item, same in zip(found.items, other.items, strict=True):
            # Both compute queries and keys in float32, by kernels of their own.
            assert item.entropy == pytest.approx(same.entropy, abs=1e-5)
            assert item.distance == pytest.approx(same.distance, abs=1e-5)


@pytest.mark.parametrize("write", [traced, exported])
@pytest.mark.parametrize("mask", ["causal", "bool", "floating"])
def test_masks_and_scales_of_fused_attention_are_read(write, mask):
    torch.manual_seed(0)
    model, x = Causal(mask).eval(), batch()
    check(write(model, x), model, x)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("norm_first", [False, True])
def test_the_fast_path_of_the_encoder_is_read(norm_first):
    torch.manual_seed(0)
    model, x = Padded(norm_first).eval(), batch()
    program = traced(model, x)
    with torch.no_grad():
        (call,) = observe_program(program, x)
    assert call.source == "encoder fast path"
    check(program, model, x)


def test_the_output_of_a_program_is_unchanged():
    torch.manual_seed(0)
    model, x = Causal().eval(), batch()
    for program in (traced(model, x), exported(model, x)):
        with torch.no_grad():
            before, outputs = program(x), []
            observe_program(program, x, outputs)
            assert torch.equal(outputs[0], before)
            assert torch.equal(program(x), before)


def test_functions_for_attention_are_refused_for_programs():
    from gspnl.errors import InputError

    torch.manual_seed(0)
    model, x = Causal().eval(), batch()
    with pytest.raises(InputError, match="compiled program has none"):
        gnn.audit(exported(model, x), x, attention={"": lambda *_: None})


@pytest.mark.parametrize(
    "text", ["Symbol('__import__')", "x.__class__", "[1]", "print(1)", 'Symbol("a")', "a; b"]
)
def test_sizes_that_are_code_are_refused(text, tmp_path):
    import io

    from gspnl.errors import FileError

    def archive(content):
        buffer = io.BytesIO()
        writer = torch._C.PyTorchFileWriter(buffer)
        writer.write_record("models/model.json", content, len(content))
        writer.write_end_of_file()
        return buffer.getvalue()

    fine = json.dumps({"a": [{"expr_str": "Mul(Integer(2), Symbol('s0', integer=True))"}]})
    check_archive(archive(fine.encode()))
    bad = json.dumps({"a": [{"expr_str": text}]}).encode()
    with pytest.raises(FileError, match="code in the place of a size"):
        check_archive(archive(bad))
    assert list(expressions(json.loads(bad))) == [text]


def test_a_softmax_in_the_place_of_values_is_no_attention():
    onnx = pytest.importorskip("onnx")
    make = onnx.helper.make_node
    weights = make("Softmax", ["s"], ["a"], name="/layer/Softmax", axis=-1)
    for inputs, names in ((["a", "v"], ["layer"]), (["v", "a"], [])):
        graph = onnx.helper.make_graph([weights, make("MatMul", inputs, ["y"])], "g", [], [])
        assert [each.layer for each in find_attention(graph)] == names
    cast = make("Cast", ["a"], ["b"], to=1)
    graph = onnx.helper.make_graph([weights, cast, make("MatMul", ["b", "v"], ["y"])], "g", [], [])
    (found,) = find_attention(graph)
    assert (found.weights, found.values) == ("a", "v")
    alone = onnx.helper.make_graph([weights, make("Relu", ["a"], ["y"])], "g", [], [])
    assert find_attention(alone) == []


def test_attention_of_an_onnx_operator_with_a_mask(tmp_path):
    """Attention of opset 23 on (B, N, H r), with a floating mask and a scale."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from gspnl.nn.programs.onnx_calls import onnx_calls

    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, 2, N, C)).astype(np.float32)
    mask = np.where(rng.uniform(size=(N, N)) > 0.3, 0.0, -np.inf).astype(np.float32)
    np.fill_diagonal(mask, 0)
    make = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node(
        "Attention", ["q", "k", "v", "m"], ["y"], name="/blocks.0/Attention", scale=0.4,
        q_num_heads=H, kv_num_heads=H,
    )  # fmt: skip
    graph = onnx.helper.make_graph(
        [node], "g", [make(n, 1, (2, N, C)) for n in "qkv"] + [make("m", 1, (N, N))],
        [make("y", 1, (2, N, C))],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 23)])
    model.ir_version = 10
    onnx.save(model, tmp_path / "net.onnx")
    given = {
        name: torch.from_numpy(each) for name, each in zip("qkvm", (q, k, v, mask), strict=True)
    }
    (call,) = onnx_calls(tmp_path / "net.onnx", given)
    assert (call.layer, call.source) == ("blocks.0", "ONNX Attention")
    split = [x.reshape(2, N, H, C // H).transpose(0, 2, 1, 3) for x in (q, k)]
    scores = 0.4 * split[0] @ split[1].swapaxes(-1, -2) + mask
    A = torch.softmax(torch.from_numpy(scores).double(), -1)
    found = torch.softmax((call.scale * call.q @ call.k.mT + call.mask).double(), -1)
    torch.testing.assert_close(found, A, atol=1e-6, rtol=0)  # float32
