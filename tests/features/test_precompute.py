"""Each example passes the frozen stages once; a row does not depend on its companions; bad ones are listed."""

import hashlib
from collections import Counter

import pytest
import torch
from safetensors.torch import save
from torch import nn

from tlcore import Example, NumericError, PluginError, ResourceError, UnreadableError
from tlcore.data.digests import content_digest
from tlcore.features.cache import CacheConfig
from tlcore.features.keys import FeatureKeys, namespace_of
from tlcore.features.precompute import PrecomputeJob, Reporter, precompute
from tlcore.training.device import accelerator_for


class Counting(nn.Module):
    """A stage that remembers which rows it saw."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.seen = Counter()

    def forward(self, state):
        self.seen.update(int(row[0]) for row in state["hidden"])
        return {"hidden": torch.relu(self.linear(state["hidden"]))}


class Numbers:
    """A backbone over single numbers from 1 on; a negative one cannot be read, a huge one overflows."""

    feature_dim = 4
    preparation = {}  # noqa: RUF012

    def __init__(self):
        self.stages = {"one": Counting(), "two": Counting()}

    def prepare(self, examples, view=None):
        if any(example.input < 0 for example in examples):
            raise UnreadableError("it is negative")
        return {"hidden": torch.tensor([[float(example.input), 0, 0, 1] for example in examples])}

    def pool(self, state):
        return state["hidden"]


def numbers(count, first=1):
    return [Example(id=str(n), input=n) for n in range(first, first + count)]


def passed(backbone, freeze_at, examples, root, tell=lambda text: None, **caching):
    """Return the features that precomputing gives with a feature cache in this folder."""
    namespace = namespace_of(backbone, freeze_at, name="numbers", weights="w", precision="fp32", libraries={})
    keys = FeatureKeys({example.id: content_digest(example.input) for example in examples})
    config, accelerator = CacheConfig(root, namespace, **caching), accelerator_for("cpu", "fp32")
    return precompute(
        PrecomputeJob(backbone, freeze_at, examples, accelerator, config, keys, reporter=Reporter(tell=tell))
    )


AGAIN = 3
"""So often the first state is computed once more, to see that neither chance nor its companions change it."""


def test_every_example_is_computed_once(tmp_path):
    backbone = Numbers()
    found = passed(backbone, 1, numbers(50), tmp_path)
    seen = backbone.stages["one"].seen
    del seen[0]  # rows that fill up a batch
    seen[1] -= AGAIN
    assert seen == Counter(range(1, 51))
    assert not backbone.stages["two"].seen
    assert not found.problems
    expected = backbone.stages["one"]({"hidden": torch.tensor([[7.0, 0, 0, 1]])})["hidden"]
    assert torch.allclose(found.reader.batch(["7"])["hidden"], expected)


def test_above_the_last_stage_the_pooled_features_are_kept(tmp_path):
    reader = passed(Numbers(), 2, numbers(5), tmp_path).reader
    assert reader.batch(["1", "5"])["features"].shape == (2, 4)


def test_a_value_does_not_depend_on_its_companions(tmp_path):
    torch.manual_seed(0)
    backbone = Numbers()
    many = passed(backbone, 2, numbers(37), tmp_path / "many").reader
    few = passed(backbone, 2, numbers(3, first=20), tmp_path / "few").reader
    assert torch.equal(many.batch(["20", "22"])["features"], few.batch(["20", "22"])["features"])


def test_unreadable_examples_are_listed_and_the_rest_is_kept(tmp_path):
    examples = [*numbers(40), Example(id="bad", input=-1), *numbers(9, first=100)]
    found = passed(Numbers(), 1, examples, tmp_path)
    assert [(problem.id, problem.reason) for problem in found.problems] == [("bad", "it is negative")]
    assert found.reader.batch(["104"])["hidden"].shape == (1, 4)


def test_with_the_line_at_the_bottom_everything_is_still_read_beforehand(tmp_path):
    backbone = Numbers()
    found = passed(backbone, 0, [*numbers(3), Example(id="bad", input=-1)], tmp_path)
    assert [problem.id for problem in found.problems] == ["bad"]
    assert not backbone.stages["one"].seen
    assert found.reader.batch(["2"])["hidden"][0, 0] == 2


def test_a_value_that_is_not_finite_stops_with_the_example(tmp_path):
    backbone = Numbers()
    nn.init.constant_(backbone.stages["one"].linear.weight, 1e30)
    with pytest.raises(NumericError) as caught:
        passed(backbone, 1, [Example(id="huge", input=10**30)], tmp_path)
    assert caught.value.where == "example huge"


def test_a_second_pass_computes_nothing_whatever_the_names(tmp_path):
    first = passed(Numbers(), 1, numbers(40), tmp_path)
    backbone = Numbers()
    renamed = [Example(id=f"renamed {example.id}", input=example.input) for example in numbers(40)]
    again = passed(backbone, 1, renamed, tmp_path)
    assert (first.computed, first.reused) == (40, 0)
    assert (again.computed, again.reused) == (0, 40)
    assert not backbone.stages["one"].seen
    assert torch.equal(first.reader.batch(["7"])["hidden"], again.reader.batch(["renamed 7"])["hidden"])


def test_one_changed_example_is_one_miss(tmp_path):
    passed(Numbers(), 1, numbers(40), tmp_path)
    changed = [Example(id=example.id, input=999 if example.id == "7" else example.input) for example in numbers(40)]
    again = passed(Numbers(), 1, changed, tmp_path)
    assert (again.computed, again.reused) == (1, 39)


def test_equal_contents_are_computed_once(tmp_path):
    backbone = Numbers()
    found = passed(backbone, 1, [Example(id=str(n), input=5) for n in range(10)], tmp_path)
    assert found.computed == 1
    assert backbone.stages["one"].seen[5] == 1 + AGAIN


@pytest.mark.parametrize("line", [1, 2])
def test_unstored_states_have_the_bits_of_stored_ones(tmp_path, line):
    torch.manual_seed(1)
    backbone = Numbers()
    stored = passed(backbone, line, numbers(40), tmp_path / "store").reader
    unstored = passed(backbone, line, numbers(40), tmp_path / "none", mode="never").reader
    ids = ["3", "17", "3", "40"]
    assert not (tmp_path / "none").exists()
    for name, values in stored.batch(ids).items():
        assert torch.equal(unstored.batch(ids)[name], values)


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_shard_is_never_used_and_computed_again(tmp_path, damage):
    first = passed(Numbers(), 1, numbers(40), tmp_path)
    expected = first.reader.batch(["7"])["hidden"].clone()
    (shard,) = tmp_path.rglob("*.safetensors")
    raw = bytearray(shard.read_bytes())
    raw[-20] ^= 1
    shard.unlink()  # what is mapped stays as it is
    shard.write_bytes(bytes(raw) if damage == "flip" else bytes(raw[:-100]))
    torch.manual_seed(0)
    messages = []
    again = passed(Numbers(), 1, numbers(40), tmp_path, tell=messages.append)
    assert again.computed == 40
    assert any("damaged" in text for text in messages)
    assert again.reader.batch(["7"])["hidden"].shape == expected.shape


def test_a_state_too_many_for_the_disk_is_not_stored_or_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tlcore.features.caching_cost.free_bytes", lambda folder: 100)
    found = passed(Numbers(), 1, numbers(40), tmp_path / "auto")
    assert found.reader.batch(["7"])["hidden"].shape == (1, 4)
    assert not list(tmp_path.rglob("*.safetensors"))
    with pytest.raises(ResourceError, match="are free"):
        passed(Numbers(), 1, numbers(40), tmp_path / "always", mode="always")


def test_with_the_line_at_the_bottom_a_second_run_prepares_nothing_beforehand(tmp_path):
    passed(Numbers(), 0, numbers(5), tmp_path)
    backbone = Numbers()
    backbone.prepare = None  # whoever calls it fails
    assert passed(backbone, 0, numbers(5), tmp_path).problems == []


def test_a_strangers_file_under_a_right_name_is_no_shard(tmp_path):
    passed(Numbers(), 1, numbers(4), tmp_path)
    (shard,) = tmp_path.rglob("*.safetensors")
    content = save({"keys": torch.zeros(1, 32, dtype=torch.uint8)})
    (shard.parent / f"{hashlib.sha256(content).hexdigest()}.safetensors").write_bytes(content)
    zero = [Example(id="zero", input=1), Example(id="more", input=50)]
    assert passed(Numbers(), 1, zero, tmp_path).reader.batch(["more"])["hidden"].shape == (1, 4)


@pytest.mark.parametrize(("speed", "stored"), [(1e12, True), (1.0, False)])
def test_storing_pays_where_the_disk_is_faster_than_the_network(tmp_path, monkeypatch, speed, stored):
    monkeypatch.setattr("tlcore.features.caching_cost.SLOW_DISK", 1e-9)  # so that the disk is measured
    monkeypatch.setattr("tlcore.features.caching_cost._written_per_second", lambda folder: speed)
    found = passed(Numbers(), 1, numbers(200), tmp_path)
    assert found.reader.batch(["7"])["hidden"].shape == (1, 4)
    assert bool(list(tmp_path.rglob("*.safetensors"))) == stored


class Unsteady(Counting):
    """A stage that does not give the same twice."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, state):
        hidden = self.linear(state["hidden"])
        if self.kind == "dropout":
            return {"hidden": nn.functional.dropout(hidden, 0.5, training=True)}
        self.calls += 1
        return {"hidden": hidden + self.calls}


@pytest.mark.parametrize("mode", ["always", "never"])
@pytest.mark.parametrize("kind", ["dropout", "state"])
def test_a_frozen_part_that_draws_or_remembers_is_refused(tmp_path, kind, mode):
    backbone = Numbers()
    backbone.stages["one"] = Unsteady(kind)
    with pytest.raises(PluginError, match="when they are asked"):
        passed(backbone, 1, numbers(40), tmp_path, mode=mode).reader.batch(["3"])
    assert not list(tmp_path.rglob("*.safetensors"))
