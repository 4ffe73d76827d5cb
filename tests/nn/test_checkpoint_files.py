"""Saving and loading of blocks, and errors for damaged or foreign files."""

from __future__ import annotations

import json
import os
import pickle
import struct
import time

import pytest
import torch
from torch import nn

from gspnl import nn as gnn
from gspnl.errors import FileError, InputError

safetensors = pytest.importorskip("safetensors.torch")

OPTIONS = [
    ("linear", {}),
    ("nl", {"sub_sample": 2, "inner": 3, "bias": True}),
    ("nl", {"sub_sample": (1, 2), "temperature": 2.5}),
    ("ns", {"norm": "none", "kernel": "rbf", "sigma": 0.7, "normalization": "random_walk"}),
    ("snl", {"units": 2, "norm": "group", "normalization": "bistochastic"}),
    ("snl", {"kernel": "concatenation", "activation": "relu"}),
    ("gsnl", {"feature_map": "softplus", "zero_init": False}),
    ("chebyshev", {"order": 4, "norm": "layer"}),
    ("spectral", {"order": 2}),
    ("cgnl", {"groups": 2, "kernel": "rbf", "order": 2}),
    ("a2", {"embedding": 5}),
    ("cc", {}),
]


@pytest.fixture
def x():
    return torch.randn(2, 8, 4, 6, generator=torch.Generator().manual_seed(0))


def names(folder):
    return [entry.name for entry in folder.iterdir()]


def with_trained_values(block, x):
    """Draw parameters and running statistics, none at its initial value."""
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.4)
    block.train()(x)
    return block.eval()


@pytest.mark.parametrize(
    ("name", "options"), OPTIONS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_saved_blocks_load_with_the_same_state_and_outputs(tmp_path, x, name, options):
    torch.manual_seed(0)
    block = with_trained_values(gnn.create(name, 8, **options), x)
    path = tmp_path / "block.safetensors"
    gnn.save(block, path)
    random = torch.get_rng_state()
    other = gnn.load(str(path))
    assert torch.equal(torch.get_rng_state(), random)
    assert type(other) is type(block)
    assert other.config == json.loads(json.dumps(block.config))
    assert list(other.state_dict()) == list(block.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(
        other.state_dict().values(), block.state_dict().values(), strict=True))  # fmt: skip
    assert other.training
    assert all(parameter.requires_grad for parameter in other.parameters())
    assert torch.equal(other.eval()(x), block(x))
    assert not torch.equal(block(x), x)
    other.train()(x).sum().backward()
    assert names(tmp_path) == ["block.safetensors"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtypes_are_kept(tmp_path, dtype):
    block = gnn.create("snl", 4).to(dtype)
    gnn.save(block, tmp_path / "b")
    other = gnn.load(tmp_path / "b")
    assert other.affinity.phi.weight.dtype == dtype  # norms are in float32 in half-precision blocks
    assert [p.dtype for p in other.parameters()] == [p.dtype for p in block.parameters()]
    assert torch.equal(other.affinity.phi.weight, block.affinity.phi.weight)


def test_files_are_safetensors_and_not_pickles(tmp_path):
    block = gnn.create("snl", 4)
    gnn.save(block, tmp_path / "b")
    tensors = safetensors.load_file(tmp_path / "b")
    assert set(tensors) == set(block.state_dict())
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads((tmp_path / "b").read_bytes())


def test_an_inserted_block_can_be_saved_and_inserted_again(tmp_path, x):
    net = gnn.insert(nn.Sequential(nn.Conv2d(8, 8, 1)), {"0": ("gsnl", {"units": 2})})
    with_trained_values(net, x)
    gnn.save(net[0].nonlocal_, tmp_path / "b")
    again = gnn.insert(gnn.remove(net), {"0": gnn.load(tmp_path / "b")})
    assert again.eval()(x).shape == x.shape
    assert not again[0].nonlocal_.training or net[0].training


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "b"
    gnn.save(gnn.create("snl", 4), path)
    before = path.read_bytes()
    for function in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, interrupted)
            patch.setattr("pathlib.Path.replace", interrupted)
            with pytest.raises(KeyboardInterrupt):
                gnn.save(gnn.create("nl", 4), path)
        assert path.read_bytes() == before
        assert names(tmp_path) == ["b"]
    gnn.save(gnn.create("nl", 4), path)
    assert gnn.load(path).config["block"] == "nl"


def interrupted(*args):
    raise KeyboardInterrupt


def test_saving_to_a_link_writes_its_target(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    gnn.save(gnn.create("snl", 4), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert gnn.load(tmp_path / "real").channels == 4


def test_objects_and_paths_that_cannot_be_saved(tmp_path):
    from gspnl.affinity.kernels import Dot

    class Own(Dot):
        pass

    with pytest.raises(InputError, match="not a Conv2d; of a network, save the state dict"):
        gnn.save(nn.Conv2d(1, 1, 1), tmp_path / "b")
    with pytest.raises(InputError, match="must be registered and given by its name"):
        gnn.save(gnn.create("snl", 4, kernel=Own("relu")), tmp_path / "b")
    with pytest.raises(InputError, match="must be a path, not a NoneType"):
        gnn.save(gnn.create("snl", 4), None)
    with pytest.raises(FileError, match="in a folder that exists"):
        gnn.save(gnn.create("snl", 4), tmp_path / "missing" / "b")
    with pytest.raises(FileError, match="cannot write"):
        gnn.save(gnn.create("snl", 4), tmp_path)
    assert names(tmp_path) == []


def edit_file(path, **changes):
    """Rewrite the file with another configuration, tensors or version."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    tensors = safetensors.load(content)
    note = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["gspnl.nn.block"])
    note["version"] = changes.get("version", note["version"])
    note["config"].update(changes.get("config", {}))
    for key in changes.get("without", ()):
        tensors.pop(key, None), note["config"].pop(key, None)
    tensors.update(changes.get("tensors", {}))
    text = changes.get("text", json.dumps(note))
    path.write_bytes(safetensors.save(tensors, {"gspnl.nn.block": text}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "is of version 2, and this gspnl reads 1"),
        ({"version": None}, "is of version None"),
        ({"config": {"block": "snx"}}, "unknown block 'snx'; did you mean"),
        ({"config": {"colour": 3}}, "no option 'colour'"),
        ({"config": {"channels": 6}}, "size mismatch"),
        ({"config": {"channels": "4"}}, "channels='4'"),
        ({"config": {"channels": 10**18}}, "does not hold the block"),
        ({"config": {"units": 2}}, "Missing key.*stages.1.g.weight"),
        ({"config": {"block": ["snl"]}}, "unknown block"),
        ({"without": ["channels"]}, "channels"),
        ({"without": ["block"]}, "block"),
        ({"without": ["stages.0.w_1.weight"]}, "Missing key.*stages.0.w_1.weight"),
        ({"tensors": {"extra": torch.ones(2)}}, "Unexpected key.*extra"),
        ({"tensors": {"stages.0.w_1.weight": torch.ones(4, 3)}}, "size mismatch"),
        ({"tensors": {"stages.0.w_1.weight": torch.ones(4, 2, dtype=torch.int64)}}, "floating"),
        ({"text": "{"}, "damaged: it does not say what it holds"),
        ({"text": "[1]"}, "damaged: it does not say"),
        ({"text": "3"}, "damaged: it does not say"),
        ({"text": '{"version": 1}'}, "damaged: it does not say"),
        ({"text": '{"version": 1, "config": 7}'}, "damaged: it does not say"),
        ({"text": "[" * 100_000}, "damaged: it does not say"),
    ],
)
def test_metadata_that_describes_no_block(tmp_path, changes, message):
    path = tmp_path / "b"
    gnn.save(gnn.create("snl", 4), path)
    edit_file(path, **changes)
    with pytest.raises(FileError, match=f"(?s){message}"):
        gnn.load(path)


def test_truncated_and_foreign_bytes_are_refused(tmp_path):
    path = tmp_path / "b"
    gnn.save(gnn.create("snl", 4), path)
    content = path.read_bytes()
    for size in (0, 4, 8, 40, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(FileError, match="damaged, cut off or no safetensors file"):
            gnn.load(path)
    for foreign in (
        pickle.dumps({"a": 1}),
        b"\xff" * 100,
        b"PK\x03\x04" + bytes(60),
        content + b"x",
    ):
        path.write_bytes(foreign)
        with pytest.raises(FileError, match="damaged, cut off or no safetensors file"):
            gnn.load(path)


def test_flipped_header_bytes_raise_file_errors_or_load(tmp_path, x):
    """Every damage raises a FileError that names the file, or none at all."""
    path = tmp_path / "b"
    gnn.save(gnn.create("linear", 2), path)
    content = path.read_bytes()
    size = 8 + struct.unpack("<Q", content[:8])[0]
    refused = 0
    for place in range(size):
        path.write_bytes(content[:place] + bytes([content[place] ^ 5]) + content[place + 1 :])
        try:
            gnn.load(path)
        except FileError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 0.9 * size


@pytest.mark.parametrize(("name", "options"), [("linear", {}), ("snl", {"kernel": "rbf"})])
def test_a_flipped_bit_in_the_weights_is_found(tmp_path, name, options):
    path = tmp_path / "b"
    gnn.save(gnn.create(name, 2, **options), path)
    content = path.read_bytes()
    start = 8 + struct.unpack("<Q", content[:8])[0]
    for place in range(start, len(content)):
        for bit in (0, 6, 7):
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            with pytest.raises(FileError, match="its checksum is wrong"):
                gnn.load(path)


def test_a_changed_option_is_found(tmp_path):
    path = tmp_path / "b"
    gnn.save(gnn.create("snl", 4), path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'\\"isolated\\": \\"self\\"', b'\\"isolated\\": \\"zero\\"'))
    with pytest.raises(FileError, match="its checksum is wrong"):
        gnn.load(path)


def test_files_without_a_checksum_load(tmp_path):
    """As gspnl wrote them before."""
    block = gnn.create("gsnl", 4, zero_init=False)
    gnn.save(block, tmp_path / "b")
    edit_file(tmp_path / "b")
    assert b"crc32" not in (tmp_path / "b").read_bytes()
    other = gnn.load(tmp_path / "b")
    assert torch.equal(other.stages[0].w_3.weight, block.stages[0].w_3.weight)


ABSURD = [
    None, True, -1, 0, 1, 2**31, 2**60, 10**400, -(2**60), 0.5, 1e308, -1e308, float("inf"),
    float("nan"), "", "x", "snl", "\0", "a" * 10_000, [], [1, 2], [2**60] * 3, [[[]]], {}, {"a": 1},
    {"units": 2**60}, [None], "__class__",
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "options"), OPTIONS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_absurd_options_in_a_header_are_errors_at_once(tmp_path, name, options):
    path = tmp_path / "b"
    block = gnn.create(name, 8, **options)
    gnn.save(block, path)
    content, began = path.read_bytes(), time.perf_counter()
    for option in [*block.config, "match", "colour"]:
        for value in ABSURD:
            path.write_bytes(content)
            edit_file(path, config={option: value})
            try:
                found = gnn.load(path)
            except FileError as error:
                assert "\n" not in str(error)
                assert len(str(error)) < 21_000
            else:
                shapes = {k: v.shape for k, v in found.state_dict().items()}
                assert shapes == {k: v.shape for k, v in block.state_dict().items()}
    assert time.perf_counter() - began < 60


@pytest.mark.parametrize("option", ["units", "channels", "inner"])
@pytest.mark.parametrize("value", [2**60, 10**12, 10**6])
def test_sizes_beyond_the_tensors_held_are_refused_before_anything_is_built(
    tmp_path, monkeypatch, option, value
):
    gnn.save(gnn.create("snl", 4), tmp_path / "b")
    edit_file(tmp_path / "b", config={option: value})
    monkeypatch.setattr("gspnl.nn.checkpoints.create", interrupted)
    with pytest.raises(FileError, match=f"{option}={value} must be .* as the file holds"):
        gnn.load(tmp_path / "b")


def test_orders_and_units_together_are_limited(tmp_path, monkeypatch):
    path = tmp_path / "b"
    gnn.save(gnn.create("chebyshev", 4, order=8, units=2), path)
    assert len(gnn.load(path).stages) == 2
    edit_file(path, config={"order": 20, "units": 20})
    monkeypatch.setattr("gspnl.nn.checkpoints.create", interrupted)
    with pytest.raises(FileError, match="units=20 of order=20 have more maps"):
        gnn.load(path)


@pytest.mark.parametrize("order", [171, 2**60])
def test_taylor_orders_beyond_any_float_are_refused(order):
    with pytest.raises(InputError, match="at most 170"):
        gnn.create("cgnl", 4, kernel="rbf", order=order)
    block = gnn.create("cgnl", 4, kernel="rbf", order=170)
    assert bool(block(torch.randn(1, 4, 3, 3)).isfinite().all())


def test_missing_files_and_safetensors_of_other_code(tmp_path):
    path = tmp_path / "b"
    with pytest.raises(FileError, match=r"cannot read .*No such file"):
        gnn.load(path)
    with pytest.raises(FileError, match=r"cannot read .*directory"):
        gnn.load(tmp_path)
    with pytest.raises(InputError, match="must be a path, not a int"):
        gnn.load(3)
    for note in (None, {"format": "pt"}):
        safetensors.save_file({"weight": torch.ones(2)}, path, note)
        with pytest.raises(FileError, match="holds tensors but no block of gspnl"):
            gnn.load(path)
