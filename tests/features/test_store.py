"""The store gives back what was put in, by id, in any order."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcore.features.store import FeatureStore


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int64])
def test_rows_come_back_bit_for_bit_in_any_order(tmp_path, dtype):
    rows = {str(n): torch.randn(4, 2).to(dtype) for n in range(9)}
    store = FeatureStore(tmp_path / "store", [])
    for id_, row in rows.items():
        store.add(id_, {"hidden": row, "other": torch.tensor(int(id_))})
    store.finish()
    batch = store.batch(["7", "0", "3"])
    assert len(store) == 9
    assert torch.equal(batch["hidden"], torch.stack([rows["7"], rows["0"], rows["3"]]))
    assert batch["other"].tolist() == [7, 0, 3]


@settings(max_examples=25)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=20), st.randoms())
def test_ragged_rows_keep_their_places_and_nothing_more(tmp_path_factory, lengths, random):
    store = FeatureStore(tmp_path_factory.mktemp("store"), ["hidden"])
    rows = [torch.rand(length, 3) + 1 for length in lengths]
    for n, row in enumerate(rows):
        store.add(str(n), {"hidden": row})
    store.finish()
    order = random.sample(range(len(rows)), len(rows))
    batch = store.batch([str(n) for n in order])
    for place, n in enumerate(order):
        assert torch.equal(batch["hidden"][place, : lengths[n]], rows[n])
        assert batch["mask"][place].sum() == lengths[n]
        assert not batch["hidden"][place, lengths[n] :].any()


def test_a_row_of_another_shape_is_refused(tmp_path):
    store = FeatureStore(tmp_path / "store", [])
    store.add("a", {"hidden": torch.zeros(3)})
    with pytest.raises(ValueError, match="hidden of b"):
        store.add("b", {"hidden": torch.zeros(4)})
