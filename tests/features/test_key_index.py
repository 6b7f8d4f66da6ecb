"""States are located by key, as a dict would locate them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcore.features.key_index import KeyIndex

KEYS = st.binary(min_size=32, max_size=32) | st.integers(0, 255).map(lambda n: bytes(31) + bytes([n]))
KEYS |= st.integers(0, 255).map(lambda n: bytes([n]) + bytes(31))  # which end in zeros


@given(st.lists(KEYS, unique=True, min_size=1), st.lists(KEYS), st.data())
def test_each_key_is_found_where_it_was_put(keys, others, data):
    index = KeyIndex()
    expected = {key: (n // 3, n % 3) for n, key in enumerate(keys)}
    cut = data.draw(st.integers(0, len(keys)))
    for part in (keys[:cut], keys[cut:]):
        index.add(part, [expected[key][0] for key in part], [expected[key][1] for key in part])
    shards, rows = index.locate(keys)
    assert list(zip(shards.tolist(), rows.tolist(), strict=True)) == list(expected.values())
    assert index.missing(others) == set(others) - set(keys)
    for other in set(others) - set(keys):
        with pytest.raises(KeyError):
            index.locate([other])
