"""Records of heads: masks, padding, groups, batches, projections, limits on time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.nn_heads import given, scored

from gspnl.errors import InputError
from gspnl.nn.auditing.heads import Deadline, HeadItem, measure_heads
from gspnl.nn.auditing.heads.record import NUMBERS

B, H, N, R = 2, 4, 10, 6
EXPENSIVE = (
    *("eigenvalues", "gap", "sigma", "spectral_norm", "chung_gap", "effective_rank"),
    *("defect", "dobrushin"),
)


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def call_of(**more):
    q, k, v = (randn(B, H, N, R, seed=i) for i in range(3))
    return scored(q, k, v, **more)


def test_a_record_per_head_has_an_item_per_entry_of_the_batch():
    records = measure_heads(call_of())
    assert [record.head for record in records] == list(range(H))
    for record in records:
        assert (record.layer, record.source) == ("net", "scaled_dot_product_attention")
        assert (record.nodes, record.keys, record.groups, record.cross) == (N, N, 1, False)
        assert record.masked == ""
        assert len(record.items) == B
        assert all(isinstance(item, HeadItem) for item in record.items)
        for name in NUMBERS:
            values = [getattr(item, name) for item in record.items]
            if values[0] is None:
                assert name in record.reasons
            elif isinstance(values[0], float):
                assert getattr(record, name) == pytest.approx(np.mean(values), abs=1e-15)
            else:
                assert getattr(record, name) is values[0]


def test_every_missing_number_has_a_reason():
    calls = [call_of(), call_of(causal=True), call_of(cross=True), given(np.eye(N))]
    for record in (record for call in calls for record in measure_heads(call)):
        for each in (record, *record.items):
            for name in NUMBERS:
                assert getattr(each, name) is not None or each.reasons[name], name


def test_a_mean_over_items_leaves_out_those_without_the_number_and_says_so():
    weights = np.stack([np.full((3, 3), 1 / 3), np.eye(3)])[:, None]
    (record,) = measure_heads(given(weights))
    assert record.chung_gap == pytest.approx(1)
    assert record.reasons["chung_gap"].startswith("1 of 2 items have none: ")


@pytest.mark.parametrize("kind", ["flag", "bool", "float", "lowest", "weights"])
def test_causal_masks_are_told_however_they_are_given(kind):
    low = torch.ones(N, N, dtype=torch.bool).tril()
    plain = call_of(causal=True)
    if kind == "flag":
        call = plain
    elif kind == "bool":
        call = call_of(mask=low)
    elif kind in ("float", "lowest"):
        least = -math.inf if kind == "float" else torch.finfo(torch.float32).min
        call = call_of(mask=torch.zeros(N, N, dtype=torch.float64).masked_fill(~low, least))
    else:
        scores = (plain.q @ plain.k.mT).masked_fill(~low, -math.inf)
        call = given(scores.softmax(-1))
    expected = measure_heads(plain)
    for record, other in zip(measure_heads(call), expected, strict=True):
        assert record.masked == "causal"
        assert record.stationary[0] == 1
        np.testing.assert_allclose(record.eigenvalues, other.eigenvalues, atol=1e-12)
        np.testing.assert_allclose(record.entropy, other.entropy, atol=1e-12)


def masked_call(padding, kind):
    """Return a call whose last nodes of item 0 are padding, and the call without them."""
    q, k, v, x = (randn(B, H, N, R, seed=i) for i in range(4))
    keep = torch.ones(B, N, dtype=torch.bool)
    keep[0, -padding:] = False
    mask = keep[:, None, None]
    if kind == "both":
        mask = mask & keep[:, None, :, None]  # rows of padding see nothing
    if kind == "float":
        mask = torch.zeros(B, 1, 1, N, dtype=torch.float64).masked_fill(~mask, -math.inf)
    call = scored(q, k, v, mask=mask, inputs=x[:, 0])
    if kind == "weights":
        scores = (q @ k.mT).masked_fill(~mask, -math.inf)
        call = given(scores.softmax(-1), inputs=x[:, 0])
        call = type(call)(**{**vars(call), "source": "softmax", "v": v})
    short = [t[:1, :, :-padding] for t in (q, k, v)]
    return call, scored(*short, inputs=x[:1, 0, :-padding])


@pytest.mark.parametrize("kind", ["bool", "both", "float", "weights"])
def test_padding_is_removed_with_a_reason(kind):
    call, short = masked_call(3, kind)
    for record, alone in zip(measure_heads(call), measure_heads(short), strict=True):
        padded, whole = record.items
        assert (record.masked, padded.masked, whole.masked) == ("padded", "padded", "")
        assert (record.nodes, padded.nodes, padded.keys, whole.nodes) == (N, 7, 7, N)
        assert "3 nodes" in padded.reasons["nodes"]
        assert "3 nodes" in record.reasons["nodes"]
        assert "nodes" not in whole.reasons
        for name in NUMBERS:
            value, expected = getattr(padded, name), getattr(alone.items[0], name)
            if name == "stationary":
                np.testing.assert_array_equal(value[7:], 0)
                value = value[:7]
            if expected is None:
                assert value is None
            else:
                np.testing.assert_allclose(value, expected, atol=1e-10, err_msg=name)


def test_causal_attention_with_padding_on_the_left_is_causal_without_it():
    mask = torch.ones(N, N, dtype=torch.bool).tril()
    mask[:, :3] = False
    (record, *_) = measure_heads(call_of(mask=mask))
    assert record.masked == "causal"
    assert record.items[0].nodes == N - 3
    assert "3 nodes of padding" in record.reasons["nodes"]
    assert (record.sink, record.sink_mass) == (3, 1)


def test_windows_folded_into_a_mask_are_masked():
    part = torch.arange(N) // 5
    (record, *_) = measure_heads(call_of(mask=part[:, None] == part))
    assert record.masked == "masked"
    assert "2 closed classes" in record.reasons["stationary"]


def test_rows_without_keys_that_others_attend_to_are_removed_and_the_rest_is_divided():
    mask = torch.ones(N, N, dtype=torch.bool)
    mask[4] = False
    call = call_of(mask=mask)
    (record, *_) = measure_heads(call)
    assert record.items[0].nodes == N - 1
    assert "divided by what is left" in record.reasons["nodes"]
    assert record.stationary[4] == 0
    kept = np.delete(np.arange(N), 4)
    A = (call.q[0, 0] @ call.k[0, 0].T).softmax(-1).numpy()[np.ix_(kept, kept)]
    mu = np.linalg.eigvals(A / A.sum(1, keepdims=True))
    np.testing.assert_allclose(np.sort(np.abs(record.eigenvalues)), np.sort(np.abs(mu)), atol=1e-9)


def test_a_bias_that_excludes_nothing_is_no_mask():
    (record, *_) = measure_heads(call_of(mask=randn(N, N, seed=9)))
    assert record.masked == ""


def test_zeros_of_given_weights_are_no_padding():
    star = np.zeros((4, 4))
    star[:, 0] = 1
    (record,) = measure_heads(given(star))
    assert (record.items[0].nodes, record.masked) == (4, "causal")
    np.testing.assert_allclose(record.stationary, [1, 0, 0, 0])
    star = star[::-1, ::-1]
    (record,) = measure_heads(given(star.copy()))
    assert (record.items[0].nodes, record.masked, record.sink) == (4, "", 3)


def test_grouped_queries_share_a_key_head():
    q, k, v = randn(1, 8, N, R), randn(1, 2, N, R, seed=1), randn(1, 2, N, R, seed=2)
    grouped = measure_heads(scored(q, k, v))
    repeated = measure_heads(scored(q, *(t.repeat_interleave(4, 1) for t in (k, v))))
    for one, other in zip(grouped, repeated, strict=True):
        assert (one.groups, other.groups) == (4, 1)
        np.testing.assert_allclose(one.eigenvalues, other.eigenvalues)
        assert one.low_frequency_share == other.low_frequency_share


def test_cross_attention_has_what_exists_of_it():
    q, k, v = randn(1, 2, N, R), randn(1, 2, 7, R, seed=1), randn(1, 2, 7, 3, seed=2)
    for record in measure_heads(scored(q, k, v)):
        A = (q[0, record.head] @ k[0, record.head].T).softmax(-1).numpy()
        assert record.cross
        assert (record.nodes, record.keys) == (N, 7)
        assert record.entropy == pytest.approx(-(A * np.log(A)).sum(1).mean())
        assert record.spectral_norm == pytest.approx(np.linalg.norm(A, 2))
        for name in ("eigenvalues", "gap", "stationary", "sigma", "curl", "distance", "dirichlet"):
            assert getattr(record, name) is None
            assert "cross-attention" in record.reasons[name]
        for name in ("effective_rank", "low_frequency_share", "dobrushin"):
            assert getattr(record, name) is not None


def test_the_map_of_values_has_the_singular_values_and_eigenvalues_of_its_product():
    V, W = randn(H, 9, R, seed=5), randn(H, R, 9, seed=6)
    records = measure_heads(call_of(value_weight=V, output_weight=W))
    for record in records:
        product = (V[record.head] @ W[record.head]).numpy()
        sigma, mu = np.linalg.svd(product, compute_uv=False), np.linalg.eigvals(product)
        np.testing.assert_allclose(record.value_output, sigma, atol=1e-12)
        found = record.value_output_eigenvalues
        np.testing.assert_allclose(np.sort(abs(found)), np.sort(abs(mu)), atol=1e-8)
        np.testing.assert_allclose(found.sum(), np.trace(product), atol=1e-10)
    (record, *_) = measure_heads(call_of(value_weight=V, output_weight=W[..., :5]))
    assert record.value_output_eigenvalues is None
    assert "not square" in record.reasons["value_output_eigenvalues"]
    assert "not known" in measure_heads(call_of())[0].reasons["value_output"]


def test_distances_in_a_grid_leave_out_tokens_before_it():
    A = np.random.default_rng(0).dirichlet(np.ones(7), 7)
    (record,) = measure_heads(given(A), grid=(2, 3))
    places = np.array([(i, j) for i in range(2) for j in range(3)])
    D = np.zeros((7, 7))
    D[1:, 1:] = np.linalg.norm(places[:, None] - places, axis=-1)
    assert record.distance == pytest.approx((A * D).sum() / 7)
    with pytest.raises(InputError, match="has 12 tokens and the attention 7"):
        measure_heads(given(A), grid=(3, 4))
    with pytest.raises(InputError, match="pair"):
        measure_heads(given(A), grid=7)


def test_half_precision_is_measured_from_its_own_values():
    call = call_of()
    halves = [t.to(torch.bfloat16) for t in (call.q, call.k, call.v)]
    found = measure_heads(scored(*halves))
    expected = measure_heads(scored(*(t.double() for t in halves)))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.eigenvalues, other.eigenvalues)
        assert one.low_frequency_share == other.low_frequency_share


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_weights_of_any_precision_are_taken(dtype):
    weights = (randn(1, 2, 300, 300) * 4).softmax(-1).to(dtype)
    for record in measure_heads(given(weights)):
        assert record.eigenvalues[0] == pytest.approx(1, abs=1e-12)


def test_a_limit_on_time_leaves_out_the_expensive_numbers_and_says_so():
    for record in measure_heads(call_of(), seconds=0):
        for name in EXPENSIVE:
            assert getattr(record, name) is None
            assert record.reasons[name] == "left out after 0 s, the limit on time"
        for name in ("entropy", "stationary", "sink_mass", "distance", "reversible", "curl"):
            assert getattr(record, name) is not None
    shared = Deadline(1000)
    assert measure_heads(call_of(), seconds=shared)[0].gap is not None
    with pytest.raises(InputError, match="seconds=-1"):
        measure_heads(call_of(), seconds=-1)


def test_dirichlet_of_a_causal_head_is_uniform_and_says_so():
    (record, *_) = measure_heads(call_of(causal=True, inputs=randn(B, N, 5, seed=8)))
    assert record.dirichlet is not None
    assert record.reasons["dirichlet"].startswith("under the uniform distribution")


def test_constant_features_have_no_dirichlet_quotient():
    (record, *_) = measure_heads(call_of(inputs=torch.ones(B, N, 5)))
    assert record.dirichlet is None
    assert "same at all nodes" in record.reasons["dirichlet"]


def test_inputs_are_left_as_they_are():
    call = call_of(mask=randn(N, N, seed=9))
    copies = [t.clone() for t in (call.q, call.k, call.v, call.mask)]
    measure_heads(call)
    for before, after in zip(copies, (call.q, call.k, call.v, call.mask), strict=True):
        assert torch.equal(before, after)


def test_very_large_scores_and_values_are_measured():
    q, k, v = (randn(1, 1, N, R, seed=i) for i in range(3))
    (record,) = measure_heads(scored(1e3 * q, 1e3 * k, 1e200 * v))
    assert record.entropy < 1e-6
    assert 0 <= record.low_frequency_share <= 1
    assert record.spectral_norm >= 1 - 1e-9


def test_nan_names_the_layer_and_the_head():
    call = call_of()
    call.q[1, 2, 3, 0] = math.nan
    with pytest.raises(InputError, match="layer 'net', head 2, item 1: scores are not finite"):
        measure_heads(call)
    weights = torch.full((1, 2, 3, 3), 1 / 3)
    weights[0, 1, 0, 0] = math.nan
    with pytest.raises(InputError, match="head 1, item 0: weights are not finite"):
        measure_heads(given(weights))


def test_weights_that_are_no_attention_are_refused():
    with pytest.raises(InputError, match="rows of the weights sum to 2 to 2, not to 1"):
        measure_heads(given(np.full((4, 4), 0.5)))
    with pytest.raises(InputError, match=r"down to -0\.5"):
        measure_heads(given(np.array([[1.5, -0.5], [0.0, 1.0]])))


def test_a_head_without_a_query_that_sees_a_key_has_no_numbers():
    mask = torch.ones(1, H, 1, 1, dtype=torch.bool)
    mask[0, 1] = False
    records = measure_heads(call_of(mask=mask))
    assert records[1].items[0].nodes == 0
    for name in NUMBERS[:-3]:
        assert getattr(records[1], name) is None
        assert "every query is masked" in records[1].reasons[name]
    assert records[0].entropy is not None
    with pytest.raises(InputError, match="every query of every head is masked"):
        measure_heads(call_of(mask=torch.zeros(N, N, dtype=torch.bool)))


def test_an_empty_attention_is_refused():
    with pytest.raises(InputError, match="empty"):
        measure_heads(scored(torch.zeros(0, 1, 3, 2), torch.zeros(0, 1, 3, 2)))
