"""Rows apart and together again: nothing lost, fixed shapes, padding implied by the mask."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tlcore.features.batching import Buckets, ragged_names, rows_for, stacked, unstacked


def padded(lengths, width=3):
    longest = max(lengths)
    mask = torch.tensor([[1] * n + [0] * (longest - n) for n in lengths])
    hidden = torch.arange(len(lengths) * longest * width, dtype=torch.float32).view(len(lengths), longest, width)
    return {"hidden": hidden * mask[..., None], "mask": mask, "whole": torch.arange(len(lengths))}


def test_only_tensors_as_long_as_the_mask_are_ragged():
    assert ragged_names(padded([2, 5])) == ["hidden"]
    assert ragged_names({"hidden": torch.zeros(2, 5)}) == []


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 4))
def test_rows_apart_and_together_again_are_the_same(lengths, further):
    state = padded(lengths)
    again = stacked(unstacked(state), ["hidden"], length=max(lengths) + further)
    for name, tensor in state.items():
        assert torch.equal(again[name][:, : tensor.shape[1]] if tensor.dim() > 1 else again[name], tensor)
    assert again["hidden"].shape[1] == max(lengths) + further
    assert int(again["mask"].sum()) == sum(lengths)


def test_a_row_that_fills_up_is_zero_under_a_full_mask():
    batch = stacked(unstacked(padded([2, 3])), ["hidden"], length=4, count=3)
    assert not batch["hidden"][2].any()
    assert batch["mask"][2].tolist() == [1, 1, 1, 1]


@given(st.lists(st.integers(1, 70), min_size=1, max_size=150))
def test_every_row_comes_out_once_in_a_shape_that_its_length_alone_decides(lengths):
    buckets = Buckets(["ids"])
    out = []
    for n, length in enumerate(lengths):
        out += list(buckets.add(n, {"ids": torch.full((length,), n)}))
    out += list(buckets.rest())
    assert sorted(tag for tags, _ in out for tag in tags) == list(range(len(lengths)))
    alone = {}
    for tags, state in out:
        for row, tag in enumerate(tags):
            kept = state["ids"][row][state["mask"][row].bool()]
            assert torch.equal(kept, torch.full((lengths[tag],), tag))
            assert alone.setdefault(lengths[tag], state["ids"].shape) == state["ids"].shape
            assert state["ids"].shape[0] == rows_for(state["ids"].shape[1])


def test_rows_without_length_share_one_shape():
    buckets = Buckets([])
    out = [batch for n in range(20) for batch in buckets.add(n, {"pixels": torch.full((2, 2), float(n))})]
    out += list(buckets.rest())
    assert [len(tags) for tags, _ in out] == [16, 4]
    assert {tuple(state["pixels"].shape) for _, state in out} == {(16, 2, 2)}
