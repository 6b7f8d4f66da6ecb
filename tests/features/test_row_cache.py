"""What is gathered for announced batches is what each of them would be given."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tlcore.features import row_cache
from tlcore.features.row_cache import RowCache

VALUES = torch.arange(40.0).view(20, 2)
ROWS = {f"e{n}": n for n in range(20)}
batches = st.lists(st.lists(st.sampled_from(sorted(ROWS)), min_size=1, max_size=7), max_size=12)


@given(batches, st.sets(st.integers(0, 11)), st.integers(1, 4))
def test_every_batch_gets_its_rows_also_one_that_was_not_announced(announced, strangers, together):
    row_cache.BATCHES, before = together, row_cache.BATCHES
    try:
        rows = RowCache(VALUES, ROWS)
        rows.announce(announced)
        for number, ids in enumerate(announced):
            if number in strangers:
                assert rows.of(["e3", "e3"]).tolist() == [[6, 7], [6, 7]]
            assert rows.of(list(ids)).tolist() == [VALUES[ROWS[id_]].tolist() for id_ in ids]
    finally:
        row_cache.BATCHES = before
