"""The feature cache gives back what was put in, by id, in any order."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcore.features.cache import CacheConfig, FeatureCache
from tlcore.features.keys import Namespace
from tlcore.features.maintenance import entries, evict, verify

SOME = Namespace({"network": "some"})


def key(number):
    return number.to_bytes(32, "big")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int64])
def test_rows_come_back_bit_for_bit_in_any_order(tmp_path, dtype):
    rows = {str(n): torch.randn(4, 2).to(dtype) for n in range(9)}
    cache = FeatureCache(CacheConfig(tmp_path, SOME), shard_bytes=100)
    for id_, row in rows.items():
        cache.add(key(int(id_)), {"hidden": row, "other": torch.tensor(int(id_))}, [])
    cache.flush()
    assert cache.missing([key(n) for n in range(10)]) == {key(9)}
    batch = cache.batch([key(7), key(0), key(3)])
    assert len(list(tmp_path.rglob("*.safetensors"))) > 1
    assert torch.equal(batch["hidden"], torch.stack([rows["7"], rows["0"], rows["3"]]))
    assert batch["other"].tolist() == [7, 0, 3]


@settings(max_examples=25)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=20), st.randoms())
def test_ragged_rows_keep_their_places_and_nothing_more(tmp_path_factory, lengths, random):
    cache = FeatureCache(CacheConfig(tmp_path_factory.mktemp("cache"), SOME), shard_bytes=200)
    rows = [torch.rand(length, 3) + 1 for length in lengths]
    for n, row in enumerate(rows):
        cache.add(key(n), {"hidden": row}, ["hidden"])
    cache.flush()
    assert not cache.missing([key(n) for n in range(len(rows))])
    order = random.sample(range(len(rows)), len(rows))
    batch = cache.batch([key(n) for n in order])
    for place, n in enumerate(order):
        assert torch.equal(batch["hidden"][place, : lengths[n]], rows[n])
        assert batch["mask"][place].sum() == lengths[n]
        assert not batch["hidden"][place, lengths[n] :].any()


def test_a_state_of_another_shape_is_refused(tmp_path):
    cache = FeatureCache(CacheConfig(tmp_path, SOME))
    cache.add(key(1), {"hidden": torch.zeros(3)}, [])
    with pytest.raises(ValueError, match="among states of"):
        cache.add(key(2), {"hidden": torch.zeros(4)}, [])


def test_states_of_another_network_are_not_taken_for_ours(tmp_path):
    caches = [FeatureCache(CacheConfig(tmp_path, Namespace({"network": name}))) for name in ("some", "other")]
    for cache in caches:
        cache.folder.mkdir()
    caches[1].add(key(1), {"hidden": torch.zeros(3)}, [])
    caches[1].flush()
    (shard,) = caches[1].folder.glob("*.safetensors")
    shard.rename(caches[0].folder / shard.name)
    assert caches[0].missing([key(1)]) == {key(1)}
    assert not list(caches[0].folder.glob("*.safetensors"))


def test_a_strangers_file_in_the_store_hinders_nobody(tmp_path):
    cache = FeatureCache(CacheConfig(tmp_path, SOME))
    cache.add(key(1), {"hidden": torch.zeros(3)}, [])
    cache.flush()
    (tmp_path / "README").write_text("what this folder is for")
    assert [entry.states for entry in entries(tmp_path)] == [1]
    assert verify(tmp_path) == (1, [])
    assert evict(tmp_path, 0)[0] == 1


def test_what_only_another_user_may_remove_stays(tmp_path, monkeypatch):
    for number in (1, 2):
        cache = FeatureCache(CacheConfig(tmp_path, Namespace({"network": number})))
        cache.add(key(1), {"hidden": torch.zeros(3)}, [])
        cache.flush()
    theirs, ours = (next(folder.glob("*.safetensors")) for folder in sorted(tmp_path.iterdir()))
    unlink = Path.unlink

    def forbidden(path, *args, **kwargs):
        if path == theirs:
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path, *args, **kwargs)

    monkeypatch.setattr(Path, "unlink", forbidden)
    assert evict(tmp_path, 0)[0] == 1
    assert theirs.exists()
    assert not ours.exists()


def test_a_store_that_is_only_read_gives_what_it_has(tmp_path):
    theirs = FeatureCache(CacheConfig(tmp_path / "theirs", SOME))
    theirs.add(key(1), {"hidden": torch.full((3,), 1.0)}, [])
    theirs.flush()
    ours = FeatureCache(CacheConfig(tmp_path / "ours", SOME, only_read=tmp_path / "theirs"))
    assert ours.missing([key(1), key(2)]) == {key(2)}
    ours.add(key(2), {"hidden": torch.full((3,), 2.0)}, [])
    ours.flush()
    assert not ours.missing([key(1), key(2)])
    assert ours.batch([key(2), key(1)])["hidden"][:, 0].tolist() == [2.0, 1.0]
    assert len(list((tmp_path / "theirs").rglob("*.safetensors"))) == 1
