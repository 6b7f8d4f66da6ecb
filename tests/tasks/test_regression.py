"""Numbers: learnt on any scale, told in the data's own unit."""

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from tlcore import DataError, Regression, RegressionOptions

LABELS = ["100", 300, "500.5", 1e2]


def fitted(labels=LABELS, **options):
    task = Regression(RegressionOptions(**options))
    task.fit(labels)
    return task


def test_targets_are_learnt_in_deviations_and_told_in_the_unit():
    task = fitted()
    targets = task.encode(LABELS)
    assert targets.mean().item() == pytest.approx(0, abs=1e-6)
    assert targets.std(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert task.decode(targets[:, None])["prediction"] == pytest.approx([100, 300, 500.5, 100], rel=1e-5)


@pytest.mark.parametrize("label", ["", "nan", "inf", "1e999", "3,5", "1_000", "good", True, None, ("1",)])
def test_what_is_no_finite_number_is_named(label):
    with pytest.raises(DataError, match="is no number") as caught:
        fitted(["1", "2", label])
    assert repr(label) in caught.value.what


@pytest.mark.parametrize("labels", [[1e308, -1e308], [0.0, 5e-324], [1e-200, 2e-200], [1e153, 3e153]])
def test_numbers_beyond_computing_are_refused_rather_than_learnt_as_nothing(labels):
    with pytest.raises(DataError, match="beyond computing"):
        fitted(labels)


@settings(max_examples=200)
@given(st.lists(st.floats(-1e9, 1e9).map(lambda value: round(value, 3)), min_size=2, max_size=30))
def test_any_numbers_come_back_in_their_unit(values):
    if len(set(values)) < 2:
        return
    task = fitted(values)
    told = task.decode(task.encode(values)[:, None])["prediction"]
    assert told == pytest.approx(values, abs=1e-5 * (max(values) - min(values)), rel=0)


@pytest.mark.parametrize(("labels", "reason"), [(["5", 5.0], "has the value 5"), ([], "no training labels")])
def test_nothing_to_learn_is_an_error(labels, reason):
    with pytest.raises(DataError, match=reason):
        fitted(labels)


def test_scores_are_scikit_learns_in_the_unit_of_the_data():
    task, truth, guesses = fitted(), [100.0, 250.0, 900.0], [120.0, 240.0, 800.0]
    found = task.evaluate(task.encode(guesses)[:, None], task.encode(truth)).metrics
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(truth, guesses), rel=1e-5)
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, guesses), rel=1e-5)
    assert found["r2"] == pytest.approx(metrics.r2_score(truth, guesses), rel=1e-5)
    assert found["baseline"] == {"guess": 200.0, "mae": pytest.approx((100 + 50 + 700) / 3, rel=1e-5)}


def test_scores_equal_scikit_learn_in_a_thousand_random_cases():
    rng = numpy.random.default_rng(0)
    for _ in range(1000):
        count, scale = int(rng.integers(1, 41)), 10.0 ** rng.integers(-6, 7)
        task = fitted((rng.normal(size=20) * scale + rng.normal() * scale).tolist())
        spread = 0.0 if rng.random() < 0.1 else 1.0  # sometimes the truth does not vary
        goal = torch.from_numpy(rng.normal() + spread * rng.normal(size=count))
        outputs = goal + torch.from_numpy(rng.normal(size=count)) * 10.0 ** rng.integers(-3, 2)
        found = task.evaluate(outputs[:, None], goal).metrics
        truth, guesses = (task.decode(values[:, None])["prediction"] for values in (goal, outputs))
        assert found["mae"] == pytest.approx(metrics.mean_absolute_error(truth, guesses), rel=1e-12)
        assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, guesses), rel=1e-12)
        assert ("r2" in found) == (len(set(truth)) > 1)
        if "r2" in found:
            assert found["r2"] == pytest.approx(metrics.r2_score(truth, guesses), rel=1e-12, abs=1e-12)


def test_one_example_has_no_r2():
    task = fitted()
    assert "r2" not in task.evaluate(torch.zeros(1, 1), torch.zeros(1)).metrics


@pytest.mark.parametrize(("loss", "value"), [("mse", 4.0), ("mae", 2.0), ("huber", 1.5)])
def test_each_loss(loss, value):
    assert fitted(loss=loss).loss(torch.tensor([[2.0]]), torch.tensor([0.0])).item() == pytest.approx(value)


def test_mistakes_are_absolute_errors():
    task = fitted()
    found = task.mistakes(task.encode([100, 350])[:, None], task.encode([100, 300]))
    assert found.tolist() == [0.0, pytest.approx(50, rel=1e-5)]
