"""Whatever bytes a file of ours holds, reading it ends with what it says or with a refusal of ours."""

import contextlib
import hashlib
import json
import shutil

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tl_tools.finished_runs import StoredRun, stored_runs
from tlcore.errors import TLError, WeightsError
from tlcore.features.shards import DamagedShard, ShardWriter, open_shard, shard_keys
from tlcore.files.atomic import publish_folder, verify_folder
from tlcore.files.tensors import write_tensors
from tlcore.files.untrusted import read_object
from tlcore.runs.state import begun_with, finished_epochs
from tlcore.training.checkpoints import Checkpoints
from tlcore.weights.loading import read_tensors
from tlcore.weights.lock import read_lock

FEW, MANY = 60, 4000
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = ["files", "format", "position", "step", "epoch", "batch", "bytes", "sha256", "path", "origin", "size", "place",
        "identity", "lock", "dtype", "shape", "data_offsets", "__metadata__", "keys", "lengths", "state/x", "ragged",
        "made_on", "recipe", "test", "selection", "metric", "seconds"]  # fmt: skip
OURS = st.recursive(
    VALUES, lambda inner: st.dictionaries(st.sampled_from(KEYS), inner, max_size=5) | st.lists(inner, max_size=3),
    max_leaves=20,
)  # fmt: skip
TEXTS = st.binary(max_size=200) | OURS.map(lambda value: json.dumps(value).encode())


def headed(header):
    return len(header).to_bytes(8, "little") + header


FOLLOWED = st.tuples(TEXTS, st.binary(max_size=100)).map(lambda two: headed(two[0]) + two[1])
CONTENTS = TEXTS | TEXTS.map(headed) | FOLLOWED


def read_shard(path):
    named = path.with_name(f"{hashlib.sha256(path.read_bytes()).hexdigest()}.safetensors")
    shutil.copy(path, named)
    try:
        shard_keys(named)
        shard = open_shard(named)
        for number in range(len(shard.keys())):
            shard.row(number)
            shard.length(number)
    finally:
        named.unlink()


def read_checkpoint(path):
    step = path.parent / "kept" / "step-000000001"
    step.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, step / "manifest.json")
    Checkpoints(step.parent).find_newest()


def read_run(path):
    folder = path.parent / "run"
    (folder / "model").mkdir(parents=True, exist_ok=True)
    for name in ("metrics.json", "manifest.json", "model/artifact.json"):
        shutil.copy(path, folder / name)
    [run] = stored_runs(folder)
    assert isinstance(run, StoredRun)
    for key in ("score", "seconds", "name", "task", "data", "test.metric", "step"):
        run.value(key)


def read_folder(path):
    folder = path.parent / "folder"
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder / "manifest.json")
    verify_folder(folder)


def read_unfinished(path):
    shutil.copy(path, path.parent / "begun.json")
    shutil.copy(path, path.parent / "history.jsonl")
    begun_with(path.parent)
    finished_epochs(path.parent, 1)


READERS = {
    "object": (read_object, "x.json"), "lock": (read_lock, "x.lock.json"), "shard": (read_shard, "x.bin"),
    "tensors": (read_tensors, "x.safetensors"), "archive": (read_tensors, "x.pt"), "checkpoint": (read_checkpoint, "x"),
    "run": (read_run, "x"), "folder": (read_folder, "x"), "unfinished": (read_unfinished, "x"),
}  # fmt: skip


def require_refusals_only(tmp_path, name, examples):
    read, file = READERS[name]
    path = tmp_path / file

    @settings(max_examples=examples, database=None, suppress_health_check=list(HealthCheck))
    @given(CONTENTS)
    def meet(content):
        path.write_bytes(content)
        with contextlib.suppress(TLError, DamagedShard):
            read(path)

    meet()


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_any_content_is_read_or_refused(tmp_path, name):
    require_refusals_only(tmp_path, name, FEW)


@pytest.mark.long
@pytest.mark.parametrize("name", READERS)
def test_much_content_is_read_or_refused(tmp_path, name):
    require_refusals_only(tmp_path, name, MANY)


def flipped(content, place, bit):
    changed = bytearray(content)
    changed[place % len(changed)] ^= 1 << bit
    return bytes(changed)


@given(st.integers(0, 10**6), st.integers(0, 7))
@settings(max_examples=FEW, database=None, suppress_health_check=list(HealthCheck))
def test_no_flipped_bit_of_a_shard_or_a_model_is_read(tmp_path_factory, place, bit):
    folder = tmp_path_factory.mktemp("flipped")
    writer = ShardWriter(folder, "here")
    writer.add(b"k" * 32, {"x": torch.ones(3)}, ())
    path = writer.publish()
    path.write_bytes(flipped(path.read_bytes(), place, bit))
    with pytest.raises(DamagedShard):
        open_shard(path)
    publish_folder(folder / "model", lambda partial: write_tensors(partial / "w.safetensors", {"x": torch.ones(3)}))
    weights = folder / "model" / "w.safetensors"
    weights.write_bytes(flipped(weights.read_bytes(), place, bit))
    with pytest.raises(WeightsError):
        verify_folder(folder / "model")
