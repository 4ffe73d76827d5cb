"""Test gspnl audit on functions, exported programs, TorchScript and ONNX files."""

from __future__ import annotations

import io
import json
import pickle
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from gspnl import cli
from gspnl import nn as gnn

SOURCE = """
import torch
from torch import nn
from torch.nn import functional


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.proj = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x):
        B, N, C = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        y = functional.scaled_dot_product_attention(3 * q, k, v)
        return x + self.proj(y.transpose(1, 2).reshape(B, N, C))


class Eager(Layer):
    def forward(self, x):
        B, N, C = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        a = torch.softmax(q @ k.transpose(-2, -1), -1)
        return x + self.proj((a @ v).transpose(1, 2).reshape(B, N, C))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = Layer(), Eager()

    def forward(self, x):
        return self.second(self.first(x))


def make():
    torch.manual_seed(0)
    return Net().eval()


def both():
    return make(), batch()


def batch():
    return torch.randn(2, 7, 8, generator=torch.Generator().manual_seed(1))


def number():
    return 3


def broken():
    raise ValueError("no such file")


def plain():
    return nn.Linear(8, 8), batch()
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    """A folder with the module made.py, which is the working folder; returns the module."""
    (tmp_path / "made.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    sys.modules.pop("made", None)
    import made

    yield made
    sys.modules.pop("made", None)


def heads(capsys, *words):
    """Run the command; return its heads from JSON."""
    assert cli.main(["audit", *words, "--json", "--quiet"]) == 0
    return json.loads(capsys.readouterr().out)["attention"]


def expected(net):
    """Return A of both layers, (B, 2, N, N), by plain formulas."""
    model, x = net.both()
    out = []
    for layer, gain in ((model.first, 3 / 2), (model.second, 1.0)):
        B, n, _ = x.shape
        q, k, _ = layer.qkv(x).reshape(B, n, 3, 2, 4).permute(2, 0, 3, 1, 4)
        out.append(torch.softmax((gain * q @ k.mT).double(), -1).detach().numpy())
        x = layer(x)
    return out


def check(found, net, layers=("first", "second")):
    assert [(each["layer"], each["head"]) for each in found] == [
        (layer, head) for layer in layers for head in (0, 1)
    ]
    for each, A in zip(found, np.concatenate([a[0] for a in expected(net)]), strict=True):
        mu = np.linalg.eigvals(A)
        mu = mu[np.argsort(-np.abs(mu))]
        # The attention is computed in float32, by operators of another order.
        assert each["items"][0]["gap"] == pytest.approx(1 - abs(mu[1]), abs=2e-5)
        assert each["eigenvalues"][0] == pytest.approx([1, 0], abs=1e-5)


def export(net, path, dynamic=False):
    model, x = net.both()
    sizes = {"x": {0: torch.export.Dim("b", min=1, max=9)}} if dynamic else None
    torch.export.save(torch.export.export(model, (x,), dynamic_shapes=sizes), path)


def trace(net, path):
    model, x = net.both()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(model, x).save(str(path))


# --- functions ------------------------------------------------------------------------------------


def test_a_function_with_its_batch(net, capsys):
    check(heads(capsys, "made:both"), net)
    assert cli.main(["audit", "made:both"]) == 0
    output = capsys.readouterr()
    assert output.out.startswith("layer")
    assert "Verdicts" in output.out
    assert "auditing made:both" in output.err


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_a_batch_from_a_file(net, capsys, tmp_path, suffix):
    from safetensors.torch import save_file

    path, x = tmp_path / f"batch{suffix}", net.batch()
    if suffix == ".npy":
        np.save(path, x.numpy().astype(np.float64))
    elif suffix == ".npz":
        np.savez(path, x=x.numpy())
    else:
        save_file({"x": x}, path)
    check(heads(capsys, "made:make", "--input", str(path)), net)


@pytest.mark.parametrize("kind", ["safetensors", "torch", "wrapped"])
def test_weights_from_a_file(net, capsys, tmp_path, kind):
    from safetensors.torch import save_file

    model = net.make()
    with torch.no_grad():
        model.first.qkv.weight.mul_(-2)
    path = tmp_path / f"weights.{'safetensors' if kind == 'safetensors' else 'pt'}"
    state = model.state_dict()
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state if kind == "torch" else {"model": state, "epoch": 3}, path)
    found = heads(capsys, "made:both", "--weights", str(path))
    truth = gnn.audit(model, net.batch()).attention
    assert [each["gap"] for each in found] == pytest.approx([each.gap for each in truth])
    assert found[0]["gap"] != pytest.approx(gnn.audit(*net.both()).attention[0].gap)


def test_files_are_written(net, capsys, tmp_path):
    assert cli.main(["audit", "made:both", "--out", str(tmp_path / "out"), "--quiet"]) == 0
    text = capsys.readouterr().out
    assert (tmp_path / "out" / "audit.txt").read_text() == text
    assert (tmp_path / "out" / "audit.png").read_bytes().startswith(b"\x89PNG")
    numbers = json.loads((tmp_path / "out" / "audit.json").read_text())
    check(numbers["attention"], net)
    assert numbers["verdicts"]


# --- programs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamic", [False, True])
def test_an_exported_program_with_its_example_inputs(net, capsys, tmp_path, dynamic):
    export(net, tmp_path / "net.pt2", dynamic)
    check(heads(capsys, "net.pt2"), net)


def test_torchscript(net, capsys, tmp_path):
    trace(net, tmp_path / "net.pt")
    np.save("x.npy", net.batch().numpy())
    check(heads(capsys, "net.pt", "--input", "x.npy"), net)


def test_programs_are_audited_from_python(net, tmp_path):
    model, x = net.both()
    program = torch.export.export(model, (x,)).module()
    seen, truth = gnn.audit(program, x), gnn.audit(model, x)
    assert [each.layer for each in seen.attention] == ["first", "first", "second", "second"]
    for found, other in zip(seen.attention, truth.attention, strict=True):
        assert found.gap == pytest.approx(other.gap, abs=1e-5)


def test_torchscript_of_the_encoder_fast_path(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x = torch.randn(2, 5, 8)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(model, x).save("net.pt")
    np.save("x.npy", x.numpy())
    found = heads(capsys, "net.pt", "--input", "x.npy")
    attention = model.self_attn
    q, k, _ = functional.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, -1)
    q, k = (each.reshape(2, 5, 2, 4).transpose(1, 2) for each in (q, k))
    A = torch.softmax((q @ k.mT / 2).double(), -1).detach().numpy()[0]
    assert len(found) == 2
    for each, a in zip(found, A, strict=True):
        mu = np.sort(np.abs(np.linalg.eigvals(a)))
        assert each["items"][0]["gap"] == pytest.approx(1 - mu[-2], abs=2e-5)  # float32


def test_onnx_by_softmax_nodes_and_by_the_attention_operator(net, capsys, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model, x = net.both()
    np.save("x.npy", x.numpy())
    np.savez("x.npz", x=x.numpy())
    for opset in (18, 23):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's exporter
            torch.onnx.export(
                model, (x,), f"net{opset}.onnx", dynamo=True, opset_version=opset, verbose=False
            )
        capsys.readouterr()
        found = heads(capsys, f"net{opset}.onnx", "--input", "x.npz" if opset == 23 else "x.npy")
        check(found, net)
        sources = {each["source"] for each in found}
        assert sources == ({"ONNX softmax"} if opset == 18 else {"ONNX softmax", "ONNX Attention"})
    # what may go wrong
    for words, message in (
        (["net18.onnx"], "its inputs (x (2, 7, 8))"),
        (["net18.onnx", "--input", "bad.npy"], "cannot run this batch"),
        (["net18.onnx", "--input", "names.npz"], "takes x (2, 7, 8)"),
    ):
        np.save("bad.npy", np.zeros((2, 7, 9), np.float32))
        np.savez("names.npz", other=x.numpy())
        assert message in error(capsys, *words)


# --- bad input ------------------------------------------------------------------------------------


def error(capsys, *words):
    """Run the command; return its one-line error."""
    assert cli.main(["audit", *words, "--quiet"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert output.err.startswith("gspnl audit: ")
    return output.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["made:make"], "'made:make' comes without a batch; pass --input FILE"),
        (["made:nothing"], "'made' has no 'nothing'; it has 'Layer'"),
        (["nomodule:make"], "'nomodule' cannot be imported"),
        (["made:number"], "'made:number' returns int"),
        (["made:broken"], "raises ValueError when called without arguments: no such file"),
        (["made:plain"], "looked for"),
        (["made:both", "--input", "nix.npy"], "cannot read 'nix.npy'"),
        (["made:both", "--input", "batch.txt"], "is of no format that is read"),
        (["made:both", "--weights", "nix.pt"], "cannot read 'nix.pt'"),
        (["made:both", "--nodes", "0"], "nodes=0"),
        (["made:both", "--seconds", "-1"], "seconds=-1"),
        (["made:both", "--recipe", "snl"], "--recipe is of a run"),
        (["nix"], "or write package.module:function"),
        (["nix.pt2"], "there is no file 'nix.pt2'"),
        (["nix.onnx", "--input", "x.npy"], "'nix.onnx'"),
        (["folder", "--input", "x.npy"], "--input is of a network from a function or file"),
    ],
)
def test_errors_are_one_line(net, capsys, words, message):
    np.save("x.npy", net.batch().numpy())
    assert message in error(capsys, *words)


def test_onnx_without_onnxruntime_says_what_to_install(net, capsys, monkeypatch):
    import gspnl.nn.programs.onnx_calls as reader

    Path("net.onnx").write_bytes(b"x")
    monkeypatch.setattr(reader, "spec", lambda name: None if name == "onnxruntime" else name)
    np.save("x.npy", net.batch().numpy())
    told = error(capsys, "net.onnx", "--input", "x.npy")
    assert "needs onnxruntime; pip install onnx onnxruntime" in told


def test_a_batch_of_another_shape_is_quoted(net, capsys):
    np.save("x.npy", np.zeros((2, 7, 9), np.float32))
    assert "cannot run this batch ((2, 7, 9))" in error(capsys, "made:both", "--input", "x.npy")


class Trap:
    """Writes a file when unpickled."""

    def __reduce__(self):
        return (open, ("trapped", "w"))


def test_nothing_is_unpickled(net, capsys, tmp_path):
    def sprung():
        return (tmp_path / "trapped").exists()

    np.save("x.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    assert "nothing is unpickled" in error(capsys, "made:make", "--input", "x.npy")
    (tmp_path / "w.pt").write_bytes(pickle.dumps({"first": Trap()}))
    assert "'w.pt'" in error(capsys, "made:both", "--weights", "w.pt")
    torch.save({"first.qkv.weight": Trap()}, "w2.pt")
    assert "nothing in a file is run" in error(capsys, "made:both", "--weights", "w2.pt")
    assert not sprung()

    export(net, "net.pt2")
    buffer = io.BytesIO()
    torch.save((Trap(),), buffer)
    inputs = "data/sample_inputs/model.pt"
    rewrite("net.pt2", "samples.pt2", {inputs: lambda old: buffer.getvalue()})
    assert "nothing is unpickled" in error(capsys, "samples.pt2")
    config = "data/weights/model_weights_config.json"
    flag = (b'"use_pickle": false', b'"use_pickle": true')
    rewrite("net.pt2", "weights.pt2", {config: lambda old: old.replace(*flag, 1)})
    assert "nothing is unpickled" in error(capsys, "weights.pt2")
    assert not sprung()


def test_code_in_the_place_of_a_size_is_refused(net, capsys, tmp_path):
    export(net, "net.pt2", dynamic=True)

    def change(old):
        text = json.loads(old)
        assert "expr_str" in old.decode()

        def walk(value):
            if isinstance(value, dict):
                for key, each in value.items():
                    if key == "expr_str":
                        value[key] = "open('trapped', 'w')"
                    else:
                        walk(each)
            elif isinstance(value, list):
                for each in value:
                    walk(each)

        walk(text)
        return json.dumps(text).encode()

    rewrite("net.pt2", "code.pt2", {"models/model.json": change})
    assert "code in the place of a size" in error(capsys, "code.pt2")
    assert not (tmp_path / "trapped").exists()


def rewrite(source, target, changes):
    """Copy an archive of torch with some of its files changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            inner = name.partition("/")[2]
            content = old.read(name)
            new.writestr(name, changes[inner](content) if inner in changes else content)


@pytest.mark.parametrize("name", ["cut.pt2", "cut.pt", "cut.onnx"])
def test_damaged_files_are_one_line(net, capsys, name):
    np.save("x.npy", net.batch().numpy())
    if name.endswith("pt2"):
        export(net, "whole.pt2")
        content = Path("whole.pt2").read_bytes()
    elif name.endswith("pt"):
        trace(net, "whole.pt")
        content = Path("whole.pt").read_bytes()
    else:
        pytest.importorskip("onnx")
        content = b"\x08\x07\x12\x04spam" * 20
    Path(name).write_bytes(content[: len(content) // 2])
    assert repr(name) in error(capsys, name, "--input", "x.npy")


def test_an_image_is_a_batch_of_one(net, tmp_path):
    from PIL import Image

    from gspnl.nn.programs.batches import read_batch

    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    batch = read_batch(tmp_path / "photo.png")
    assert batch.dtype == torch.float32
    np.testing.assert_allclose(batch[0].permute(1, 2, 0), pixels / 255, atol=1e-7)
