"""Augmented versions: stored and taken in turn above a frozen part, fresh in each epoch above nothing."""

import sys
import time

import pytest
import torch
from torch import nn

from tlcore import Example, UnreadableError
from tlcore.data.digests import content_digest
from tlcore.features.cache import CacheConfig
from tlcore.features.keys import CachedViews, FeatureKeys, namespace_of
from tlcore.features.precompute import PrecomputeJob, precompute
from tlcore.training.device import accelerator_for


class Times(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(10.0))
        self.rows = 0

    def forward(self, state):
        self.rows += int((state["hidden"] != 0).any(dim=1).sum())
        return {"hidden": state["hidden"] * self.factor}


class Shifted:
    """Numbers from 1 on; a view adds its number in hundredths. One of them cannot be read."""

    feature_dim = 1
    preparation = {}  # noqa: RUF012

    def __init__(self):
        self.stages = {"one": Times(), "two": Times()}
        self.asked = []

    def prepare(self, examples, view=None):
        self.asked.append(view)
        if any(example.input < 0 for example in examples):
            raise UnreadableError("it is negative")
        shift = 0 if view is None else (view.number + 1) / 100
        return {"hidden": torch.tensor([[float(example.input + shift)] for example in examples])}

    def pool(self, state):
        return state["hidden"]


EXAMPLES = [Example(str(n), n) for n in range(1, 7)]
VIEWS = CachedViews(seed=3, count=4, ids=frozenset("123"))


def passed(tmp_path, line, examples=EXAMPLES):
    backbone = Shifted()
    namespace = namespace_of(backbone, line, name="shifted", weights="w", precision="fp32", libraries={})
    keys = FeatureKeys({example.id: content_digest(example.input) for example in examples}, VIEWS)
    config, accelerator = CacheConfig(tmp_path, namespace), accelerator_for("cpu", "fp32")
    features = precompute(PrecomputeJob(backbone, line, examples, accelerator, config, keys))
    return backbone, features.reader, features.problems


def value(reader, id_, epoch):
    return round(float(reader.batch([id_], epoch)["hidden"]) / 10, 3)


def test_each_stored_version_is_computed_once_and_comes_once_in_so_many_epochs(tmp_path):
    backbone, reader, _ = passed(tmp_path, 1)
    again = 3  # of the first one, to see that neither chance nor its companions change it
    assert backbone.stages["one"].rows == 3 * 4 + 3 + again
    seen = [value(reader, "2", epoch) for epoch in range(8)]
    assert sorted(seen[:4]) == [2.01, 2.02, 2.03, 2.04]
    assert seen[:4] == seen[4:]
    starts = {value(reader, id_, 0) % 1 for id_ in "123"}
    assert len(starts) > 1, "examples begin with different versions"


def test_what_is_not_augmented_is_as_it_is_in_every_epoch(tmp_path):
    _, reader, _ = passed(tmp_path, 1)
    assert {value(reader, "5", epoch) for epoch in (None, 0, 1, 2)} == {5.0}


def test_at_the_bottom_every_epoch_has_a_version_of_its_own(tmp_path):
    _, reader, _ = passed(tmp_path, 0)
    assert [value(reader, "2", epoch) * 10 for epoch in (0, 1, 7)] == pytest.approx([2.01, 2.02, 2.08])
    assert value(reader, "2", None) * 10 == pytest.approx(2.0)


def test_an_unreadable_example_is_one_problem_whatever_the_number_of_versions(tmp_path):
    bad = [*EXAMPLES[:2], Example("3", -1)]
    _, _, problems = passed(tmp_path, 1, bad)
    assert [problem.id for problem in problems] == ["3"]


class Drawing(Shifted):
    """Draws from torch's global generator, as what augments pictures does, and takes its time."""

    def prepare(self, examples, view=None):
        if view is None:
            return super().prepare(examples)
        rows = []
        for example in examples:
            torch.manual_seed(100 * example.input + view.number)
            time.sleep(0.005)
            rows.append([float(torch.rand(()))])
        return {"hidden": torch.tensor(rows)}


def test_nobody_draws_while_another_does(tmp_path, monkeypatch):
    """One example is prepared once more, to see whether it comes out the same, while threads prepare the next."""
    monkeypatch.setattr(sys.modules[__name__], "Shifted", Drawing)
    _, reader, _ = passed(tmp_path, 1, EXAMPLES[:3])
    drawn = {round(float(reader.batch([id_], epoch)["hidden"]), 4) for id_ in "123" for epoch in range(4)}
    expected = {
        round(10 * float(torch.rand((), generator=torch.Generator().manual_seed(100 * n + number))), 4)
        for n in (1, 2, 3)
        for number in range(4)
    }
    assert drawn == expected
