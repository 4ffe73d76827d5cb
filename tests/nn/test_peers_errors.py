"""Errors for checkpoints and options that fit no block; the message names the wrong key."""

from __future__ import annotations

import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from support import nn_peers as peers  # noqa: E402
from support import nn_peers_libraries as libraries  # noqa: E402

from gspnl import nn as gnn  # noqa: E402
from gspnl.errors import InputError  # noqa: E402
from gspnl.nn.checkpoints.peers import SOURCES  # noqa: E402

C, S = 12, 4
GOOD = {
    "snl-2019": (lambda: peers.snl_2019("snl", C, S, units=2), {}),
    "snl-2021": (lambda: peers.snl_2021("ns", C, S), {"block": "ns"}),
    "cgnl-2018": (lambda: peers.CGNL(C, S), {}),
    "nonlocal-pytorch": (lambda: libraries.NONLocalBlock(C, S, sub_sample=True), {}),
    "mmcv": (lambda: libraries.NonLocalNd(C, reduction=3), {}),
    "cc": (lambda: libraries.CrissCrossAttention(C, S), {}),
}
OPTIONS = {
    "block": "nl",
    "activation": "relu",
    "groups": 1,
    "order": 2,
    "scale": True,
    "mode": "dot_product",
}
KEYS = [(source, key) for source, (make, _) in GOOD.items() for key in make().state_dict()]


def state_of(source):
    return {key: value.clone() for key, value in GOOD[source][0]().state_dict().items()}


def error_of(state, source, **options):
    with pytest.raises(InputError) as caught:
        gnn.from_peer(state, source, **{**GOOD[source][1], **options})
    return str(caught.value)


@pytest.mark.parametrize(("source", "key"), KEYS)
def test_a_missing_key_is_named(source, key):
    state = state_of(source)
    del state[key]
    if key.endswith("num_batches_tracked"):
        assert isinstance(gnn.from_peer(state, source, **GOOD[source][1]), gnn.Block)
        return
    if (source, key) == ("nonlocal-pytorch", "g.0.weight"):
        key = "g.weight"  # the key that shows pooling
    missing = re.search("missing (.*?)(;|$)", error_of(state, source))
    assert missing is not None
    assert repr(key) in missing.group(1)


@pytest.mark.parametrize(("source", "key"), KEYS)
def test_a_wrong_shape_is_named(source, key):
    state = state_of(source)
    if key.endswith("num_batches_tracked"):
        state[key] = torch.zeros(3, dtype=torch.long)
    elif state[key].ndim == 4:
        state[key] = state[key].transpose(0, 1).contiguous()
        if state[key].shape[0] == state[key].shape[1]:  # square: cut a row
            state[key] = state[key][1:]
    else:
        state[key] = torch.ones(len(state[key]) + 1)
    message = error_of(state, source)
    assert repr(key) in message
    assert str(tuple(state[key].shape)) in message


@pytest.mark.parametrize("source", GOOD)
@pytest.mark.parametrize("extra", ["fc.weight", "t.bias", "stages.7.g.weight", "w.0.extra"])
def test_an_unexpected_key_is_named(source, extra):
    state = state_of(source)
    state[extra] = torch.ones(2, 2, 1, 1)
    assert repr(extra) in error_of(state, source)


@pytest.mark.parametrize("source", GOOD)
@pytest.mark.parametrize("other", GOOD)
def test_a_checkpoint_of_another_source_names_that_source(source, other):
    if source == other:
        return
    message = error_of(state_of(other), source)
    assert re.search(f"It looks like .*{other!r}", message) or source == "snl-2021"


def test_the_two_snl_releases_are_distinguished_by_their_keys():
    third = peers.snl_2019("gsnl", C, S).state_dict()
    assert "'stages.0.w_3.weight'. It looks like 'snl-2019'" in error_of(third, "snl-2021")
    single = peers.snl_2021("nl", C, S).state_dict()
    assert "'stages.0.w_1.weight'. It looks like 'snl-2021'" in error_of(single, "snl-2019")
    # The SNL of both releases has the same keys: the caller chooses by the source.
    both = peers.snl_2021("snl", C, S).state_dict()
    ours = [gnn.from_peer(both, source) for source in ("snl-2019", "snl-2021")]
    assert [b.config["normalization"] for b in ours] == ["softmax", "symmetric"]


def test_nl_and_ns_of_the_second_release_need_the_block_option():
    state = peers.snl_2021("nl", C, S).state_dict()
    with pytest.raises(InputError, match="say block='nl' or block='ns'"):
        gnn.from_peer(state, "snl-2021")
    with pytest.raises(InputError, match=r"unexpected 'stages\.0.w_1\.weight'"):
        gnn.from_peer(peers.snl_2021("snl", C, S).state_dict(), "snl-2021", block="nl")
    with pytest.raises(InputError, match=r"missing 'stages\.0.w_1\.weight'"):
        gnn.from_peer(state, "snl-2021", block="snl")


@pytest.mark.parametrize("source", GOOD)
@pytest.mark.parametrize("option", OPTIONS)
def test_options_of_other_sources_are_refused(source, option):
    if option in SOURCES[source].options:
        return
    message = error_of(state_of(source), source, **{option: OPTIONS[option]})
    assert f"source {source!r} takes no {option}=" in message


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("snl-2019", {"activation": "gelu"}, "activation='gelu' must be one of 'relu'"),
        ("snl-2021", {"block": "gsnl"}, "block='gsnl' must be one of 'snl', 'nl', 'ns'"),
        ("cgnl-2018", {"groups": 2}, "groups=2, but the shape of 'z.weight' says 1"),
        ("cgnl-2018", {"groups": 0}, "groups=0 must be a whole number ≥ 1"),
        ("cgnl-2018", {"groups": True}, "groups=True must be a whole number"),
        ("cgnl-2018", {"order": -1}, "order=-1 must be a whole number ≥ 1"),
        ("cgnl-2018", {"order": 2.0}, "order=2.0 must be a whole number"),
        ("cgnl-2018", {"scale": True}, "scale= has no meaning for a CGNL block"),
        ("nonlocal-pytorch", {"mode": "dot"}, "mode='dot' must be one of 'embedded_gaussian'"),
        ("nonlocal-pytorch", {"mode": "gaussian"}, "unexpected 'phi.0.bias', 'phi.0.weight'"),
        ("nonlocal-pytorch", {"mode": "concatenation"}, "missing 'concat_project.0.weight'"),
        ("mmcv", {"mode": "dot_product", "scale": True}, "scale=True has no meaning"),
        ("mmcv", {"scale": 0.5}, "scale must be True or False"),
    ],
)
def test_option_values_are_checked(source, options, words):
    assert words in error_of(state_of(source), source, **options)


def test_the_nl_of_cgnl_refuses_groups_and_order():
    state = peers.CGNLsNL(C, S).state_dict()
    for option in ("groups", "order"):
        with pytest.raises(InputError, match=f"{option}= has no meaning for its NL block"):
            gnn.from_peer(state, "cgnl-2018", **{option: 1})


def test_groups_that_do_not_divide_the_channels():
    state = state_of("cgnl-2018")
    state["z.weight"] = torch.ones(C, 3, 1, 1)
    assert "'z.weight' takes 3 channels" in error_of(state, "cgnl-2018")


def test_an_unknown_source_suggests_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'snl-2019'"):
        gnn.from_peer(state_of("snl-2019"), "snl-209")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("source", GOOD)
def test_arrays_that_are_not_finite_are_named(source, bad):
    state = state_of(source)
    key = list(state)[-2]
    state[key] = state[key].clone()
    state[key].view(-1)[-1] = bad
    assert f"{key!r} holds NaN or infinity" in error_of(state, source)


def test_a_negative_variance_is_named():
    state = state_of("snl-2019")
    state["stages.1.bn.running_var"][3] = -1e-3
    assert "'stages.1.bn.running_var' holds negative" in error_of(state, "snl-2019")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([[1.0]], "must be a NumPy array or a tensor, not list"),
        (None, "not NoneType"),
        ("weights", "not str"),
        ({"a": 1}, "not dict"),
        (torch.ones(S, C, 1, 1, dtype=torch.int64), "floating-point numbers, not torch.int64"),
        (torch.ones(S, C, 1, 1, dtype=torch.complex64), "floating-point numbers"),
        (np.ones((S, C, 1, 1), dtype=object), "dtype object"),
        (np.full((S, C, 1, 1), "x"), "which torch does not know"),
        (torch.ones(S, C, 1, 1, device="meta"), "plain dense tensor"),
        (torch.ones(S, C).to_sparse(), "plain dense tensor"),
        (torch.ones(S, C), "expected the weight of a convolution"),
        (torch.ones(S, C, 3, 3), "a kernel of (3, 3)"),
        (torch.ones(S, C, 1, 1, 1), "a 3-D convolution among 2-D ones"),
        (torch.ones(0, C, 1, 1), "has shape (0, 12, 1, 1)"),
        (torch.tensor(1.0), "has shape ()"),
    ],
)
def test_values_that_cannot_be_weights(value, words):
    message = error_of(state_of("snl-2019") | {"t.weight": value}, "snl-2019")
    assert words in message
    assert "'t.weight'" in message


@pytest.mark.parametrize("bad", [None, [], "path.pth", torch.nn.Linear(2, 2), 3])
def test_state_dicts_of_other_types(bad):
    with pytest.raises(InputError, match="state_dict must map names to arrays"):
        gnn.from_peer(bad, "cc")


def test_empty_state_dicts_and_keys_that_are_no_strings():
    with pytest.raises(InputError, match="empty"):
        gnn.from_peer({}, "cc")
    with pytest.raises(InputError, match="keys of state_dict must be strings, not 3"):
        gnn.from_peer({3: torch.ones(2)}, "cc")
    with pytest.raises(InputError, match="'state_dict' is itself a mapping"):
        gnn.from_peer({"epoch": torch.ones(1), "state_dict": state_of("mmcv")}, "cc")


def test_long_lists_of_keys_are_shortened():
    message = error_of({f"conv{i}.weight": torch.ones(2) for i in range(50)}, "cc")
    assert "and 42 more" in message
    assert len(message) < 1000


def test_the_error_for_a_whole_network_lists_prefixes_of_blocks():
    network = {f"layer3.5.{key}": value for key, value in state_of("snl-2019").items()}
    network["fc.weight"] = torch.ones(2, 2)
    assert "Blocks of this kind stand at prefix='layer3.5.'" in error_of(network, "snl-2019")
    message = error_of(network, "snl-2019", prefix="layer4")
    assert re.search(r"no key begins with 'layer4\.'\. Blocks .* prefix='layer3\.5\.'", message)


def test_widths_of_zero_are_refused():
    state = {k: v[:0] if v.shape[:1] == (S,) else v for k, v in state_of("cc").items()}
    assert "'query_conv.weight' has shape (0, 12, 1, 1)" in error_of(state, "cc")


def test_errors_show_keys_with_their_prefix():
    linear = torch.nn.ModuleDict({"fc": torch.nn.Linear(2, 2)}).state_dict()
    assert "unexpected 'fc.bias', 'fc.weight'" in error_of(linear, "cc")


def test_keys_outside_the_prefix_are_not_checked():
    network = {f"nl.{key}": value for key, value in state_of("cc").items()}
    network |= {"positions": torch.arange(4), "fc.bias": torch.tensor([torch.nan]), "epoch": 3}
    assert isinstance(gnn.from_peer(network, "cc", prefix="nl"), gnn.Block)
    assert "Blocks of this kind stand at prefix='nl.'" in error_of(network, "cc")


@pytest.mark.parametrize("prefix", [3, b"nl.", ["nl"]])
def test_a_prefix_must_be_a_string(prefix):
    assert "prefix must be the beginning of keys" in error_of(state_of("cc"), "cc", prefix=prefix)


def test_criss_cross_in_three_dimensions_is_refused():
    state = state_of("cc")
    state = {k: v[..., None] if v.ndim == 4 else v for k, v in state.items()}
    assert "only CCNet's 2-D module" in error_of(state, "cc")
