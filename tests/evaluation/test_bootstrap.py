"""Intervals: repeatable, around the figure, and as wide as the sample is small."""

import pytest
import torch

from tlcore import Classification, Regression
from tlcore.evaluation.bootstrap import intervals


def predictions(count, right=0.8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(2, (count,), generator=generator)
    guesses = torch.where(torch.rand(count, generator=generator) < right, targets, 1 - targets)
    return torch.nn.functional.one_hot(guesses, 2).float() * 4, targets


@pytest.fixture
def task():
    found = Classification()
    found.fit(["a", "b"])
    return found


def found(task, count, **given):
    outputs, targets = predictions(count)
    metrics = task.evaluate(outputs, targets).metrics
    return metrics, intervals(task, outputs, targets, metrics, **{"resamples": 400, "seed": 1, **given})


def test_the_interval_of_an_accuracy_is_the_binomials(task):
    metrics, both = found(task, 400)
    low, high = both["accuracy"]
    share = metrics["accuracy"]
    half = 1.96 * (share * (1 - share) / 400) ** 0.5
    assert low == pytest.approx(share - half, abs=0.012)
    assert high == pytest.approx(share + half, abs=0.012)


def test_it_is_the_same_each_time_and_another_with_another_seed(task):
    assert found(task, 50)[1] == found(task, 50)[1]
    assert found(task, 50)[1] != found(task, 50, seed=2)[1]


def test_every_scalar_has_one_and_counts_have_none(task):
    metrics, both = found(task, 60)
    assert {"loss", "accuracy", "macro_f1", "weighted_f1", "balanced_accuracy", "ece", "roc_auc", "pr_auc"} <= set(both)
    assert not {"n", "per_class", "absent"} & set(both)
    for name, (low, high) in both.items():
        assert low <= high
        assert low - 0.1 <= metrics[name] <= high + 0.1


def test_what_is_undefined_in_a_sample_is_left_out_of_it(task):
    outputs, targets = predictions(4)
    targets[:] = torch.tensor([0, 0, 0, 1])
    metrics = task.evaluate(outputs, targets).metrics
    low, high = intervals(task, outputs, targets, metrics, resamples=100, seed=0)["roc_auc"]
    assert 0 <= low <= high <= 1


def test_numbers_have_intervals_too():
    task = Regression()
    task.fit([0.0, 1.0, 2.0])
    targets = task.encode([float(n % 3) for n in range(90)])
    outputs = targets[:, None] + 0.1
    metrics = task.evaluate(outputs, targets).metrics
    low, high = intervals(task, outputs, targets, metrics, resamples=50, seed=0)["mae"]
    assert low == pytest.approx(high, rel=1e-4) == pytest.approx(metrics["mae"], rel=1e-4)
