"""Whatever happens to a stored shard, what is read is what was written: bits that turn, and files that are cut."""

import random

import pytest
import torch

from tlcore.features.shards import DamagedShard, ShardWriter, open_shard, shard_keys


def changed(raw, how, drawn):
    if how == "cut":
        return raw[: drawn.randrange(len(raw))]
    place = drawn.randrange(len(raw))
    return raw[:place] + bytes([raw[place] ^ 1 << drawn.randrange(8)]) + raw[place + 1 :]


@pytest.mark.parametrize(("how", "times"), [("flip", 200), ("cut", 50)])
@pytest.mark.parametrize("ragged", [False, True])
def test_no_damage_gets_by(tmp_path, how, times, ragged):
    drawn, rows = random.Random(how), torch.Generator().manual_seed(1)
    writer = ShardWriter(tmp_path, "a machine")
    for n in range(20):
        row = {"hidden": torch.randn(1 + n % 3 if ragged else 3, 4, generator=rows)}
        writer.add(bytes([n]) * 32, row, ["hidden"] if ragged else [])
    path = writer.publish()
    raw = path.read_bytes()
    assert len(open_shard(path).keys()) == 20
    for _ in range(times):
        path.unlink()
        path.write_bytes(changed(raw, how, drawn))
        with pytest.raises(DamagedShard):
            open_shard(path)


@pytest.mark.parametrize("read", [open_shard, shard_keys])
def test_a_shard_that_is_evicted_while_it_is_opened_is_gone_and_not_damaged(tmp_path, monkeypatch, read):
    writer = ShardWriter(tmp_path, "a machine")
    writer.add(bytes(32), {"hidden": torch.zeros(3)}, [])
    path, real = writer.publish(), torch.UntypedStorage.from_file

    def evicted_before(*given, **named):  # safetensors has opened the file, and has torch open it again
        path.unlink()
        return real(*given, **named)

    monkeypatch.setattr(torch.UntypedStorage, "from_file", evicted_before)
    with pytest.raises(OSError, match="No such file"):
        read(path)
