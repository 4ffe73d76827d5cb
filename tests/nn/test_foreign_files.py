"""Files that are found in the place of weights are named, by everything that reads weights."""

from __future__ import annotations

import json

import pytest
import torch

from gspnl import nn as gnn
from gspnl.cli import main
from gspnl.errors import FileError
from gspnl.nn.checkpoints.reading import read_weights

safetensors = pytest.importorskip("safetensors.torch")


def index(suffix, indent=None):
    parts = {f"layer.{i}.weight": f"model-0000{i}-of-00003.{suffix}" for i in (1, 2, 3)}
    return json.dumps({"metadata": {"total_size": 9}, "weight_map": parts}, indent=indent).encode()


FILES = {
    "an index": (index("safetensors"), "index of weights in 3 files, such as 'model-00001-of"),
    "an index of bin": (index("bin", 2), r"index of weights in 3 files.*00001-of-00003\.bin"),
    "an index of nothing": (b'{"meta":{}, "weight_map": {}}', "index of weights in 0 files"),
    "a configuration": (b'\n{\n "architectures": ["ResNet"]\n}', "it is JSON"),
    "a pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0b\nsize 9\n",
        "git lfs pull",
    ),
    "a page": (b"\n<!DOCTYPE html>\n<title>404</title>", "a web page"),
    "another page": (b"<HTML><body>", "a web page"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "it is HDF5"),
    "ONNX": (b"\x08\x07\x12\x07pytorch\x1a\x032.1", "an ONNX graph"),
}


@pytest.mark.parametrize("kind", FILES)
def test_other_files_are_named(tmp_path, kind, capsys):
    content, message = FILES[kind]
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    for read in (read_weights, gnn.load):
        with pytest.raises(FileError, match=message):
            read(path)
    assert main(["audit", str(path)]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert "model.safetensors" in text
    assert "PyTorch" not in text


@pytest.mark.parametrize("width", [1, 3, 7, 16])
def test_weights_are_not_taken_for_other_files(tmp_path, width):
    """Also where the length of the header begins with the byte of a bracket."""
    path = tmp_path / "w"
    for extra in range(130):
        note = {"note": "{" * extra, "weight_map": '"weight_map": {}'}
        safetensors.save_file({"w": torch.ones(width)}, path, note)
        assert read_weights(path)["w"].shape == (width,)


def test_torchs_advice_to_run_a_file_is_left_out(tmp_path):
    for content in (b"", b"text", b"\x93NUMPY" + bytes(40), b"PK\x03\x04" + bytes(60)):
        (tmp_path / "w").write_bytes(content)
        with pytest.raises(FileError, match="damaged, or holds more") as caught:
            read_weights(tmp_path / "w")
        assert "weights_only=False" not in str(caught.value)
        assert "()" not in str(caught.value).replace("state_dict()", "")
