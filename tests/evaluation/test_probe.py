"""The linear probe is logistic regression, for any task."""

import numpy
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tlcore import Classification, MultiLabel, Regression
from tlcore.evaluation import probe
from tlcore.evaluation.probe import linear_probe


def blobs(count, seed, width=12):
    rng = numpy.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    centres = numpy.random.default_rng(0).normal(size=(3, width)) * 0.8
    return torch.from_numpy((centres[labels] + rng.normal(size=(count, width))).astype("float32")), labels


def split(seed=1):
    found = {
        name: blobs(count, seed + n)
        for n, (name, count) in enumerate([("train", 300), ("validation", 100), ("test", 400)])
    }
    return {name: features for name, (features, _) in found.items()}, {
        name: labels for name, (_, labels) in found.items()
    }


def probed(task, features, targets):
    """Probe with the features of validation and test in two parts."""
    others = {name: features[name].split(50) for name in ("validation", "test")}
    return linear_probe(task, features["train"], targets["train"], others, targets)


def test_it_scores_like_scikit_learns_logistic_regression():
    features, labels = split()
    task = Classification()
    task.fit([str(label) for label in labels["train"]])
    targets = {name: task.encode([str(label) for label in found]) for name, found in labels.items()}
    found = probed(task, features, targets)
    by_hand = LogisticRegression(C=1 / (found["l2"] * len(labels["train"])), max_iter=2000)
    by_hand.fit(features["train"], labels["train"])
    assert found["test"]["accuracy"] == pytest.approx(by_hand.score(features["test"], labels["test"]), abs=0.01)
    assert found["test"]["n"] == 400


def test_it_works_for_numbers_and_for_several_labels():
    features, labels = split()
    number = Regression()
    values = {name: [float(label) + float(row[0]) for label, row in zip(labels[name], features[name], strict=True)]
              for name in labels}  # fmt: skip
    number.fit(values["train"])
    found = probed(number, features, {name: number.encode(one) for name, one in values.items()})
    assert found["test"]["mae"] < 0.6 * numpy.abs(numpy.array(values["test"]) - numpy.median(values["train"])).mean()
    several = MultiLabel()
    sets = {
        name: [("odd",) * int(label % 2) + ("two",) * int(label == 2) for label in one] for name, one in labels.items()
    }
    several.fit(sets["train"])
    found = probed(several, features, {name: several.encode(one) for name, one in sets.items()})
    assert found["test"]["map"] > 0.7


def test_features_that_say_nothing_and_huge_ones_give_finite_figures():
    task = Classification()
    task.fit(["a", "b"])
    targets = dict.fromkeys(("train", "validation", "test"), torch.tensor([0, 1, 0, 1]))
    for features in (torch.zeros(4, 3), torch.full((4, 3), 1e18)):
        found = probed(task, dict.fromkeys(targets, features), targets)
        assert all(numpy.isfinite(value) for value in found["test"].values())


def test_of_many_examples_that_stand_class_by_class_all_classes_are_looked_at(monkeypatch):
    monkeypatch.setattr(probe, "MOST_VALUES", 3 * 2000)
    places = probe.sampled(9000, 3, seed=1)
    assert len(places) == 2000
    assert places == sorted(set(places))
    assert {place // 3000 for place in places} == {0, 1, 2}
    assert probe.sampled(50, 3, seed=1) == list(range(50))
