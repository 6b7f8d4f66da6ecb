"""Scores equal scikit-learn's; labels stay names."""

import json

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from tlcore import Classification, DataError


def fitted(*labels):
    task = Classification()
    task.fit(labels)
    return task


def test_classes_are_ordered_by_code_point_whatever_the_order_of_the_data():
    one, other = fitted("b", "a", "10", "2", "ä"), fitted("ä", "10", "a", "2", "b", "b")
    assert one.classes == other.classes == ("10", "2", "a", "b", "ä")


@pytest.mark.parametrize("labels", [[], ["only"], ["only"] * 5])
def test_fewer_than_two_classes_is_an_error(labels):
    with pytest.raises(DataError, match="at least two classes"):
        fitted(*labels)


def test_a_label_that_was_never_trained_is_named_with_the_nearest():
    with pytest.raises(DataError, match="'postive' stands on 2 examples") as caught:
        fitted("positive", "negative").encode(["postive", "negative", "postive"])
    assert caught.value.hint == "did you mean 'positive'?"


def test_restoring_gives_the_same_task():
    task = fitted("x", "y", "y")
    state = json.loads(json.dumps(task.fit(["x", "y", "y"])))
    again = Classification()
    again.restore(state)
    outputs = torch.randn(5, 2)
    assert again.decode(outputs) == task.decode(outputs)
    assert again.outputs == 2


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 6), st.integers(1, 40), st.integers(0, 2**31))
def test_scores_equal_scikit_learn_also_with_absent_classes(classes, count, seed):
    rng = numpy.random.default_rng(seed)
    task = fitted(*[f"class {n}" for n in range(classes)])
    held = rng.choice(classes, size=rng.integers(1, classes + 1), replace=False)
    targets = torch.from_numpy(rng.choice(held, size=count))
    outputs = torch.from_numpy(rng.normal(size=(count, classes)) * 3)
    found = task.evaluate(outputs, targets)
    guesses, probabilities = outputs.argmax(1).numpy(), outputs.softmax(1).numpy()
    truth = targets.numpy()
    assert found.metrics["accuracy"] == pytest.approx(metrics.accuracy_score(truth, guesses), abs=1e-12)
    assert found.metrics["macro_f1"] == pytest.approx(
        metrics.f1_score(truth, guesses, average="macro", zero_division=0), abs=1e-12
    )
    assert found.metrics["loss"] == pytest.approx(
        metrics.log_loss(truth, probabilities, labels=range(classes)), abs=1e-12
    )
    rows = [row[1:] for row in found.tables["confusion"].rows]
    assert (numpy.array(rows) == metrics.confusion_matrix(truth, guesses, labels=range(classes))).all()
    assert set(found.metrics["absent"]) == {f"class {n}" for n in range(classes) if n not in truth}


def test_the_majority_class_is_scored_beside_the_model():
    task = fitted("common", "common", "rare")
    found = task.evaluate(torch.tensor([[1.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1]))
    assert found.metrics["majority"] == {"class": "common", "accuracy": 0.75, "macro_f1": pytest.approx(3 / 7)}


def test_calibration_error_of_a_model_that_is_always_sure_and_half_right():
    task = fitted("a", "b")
    found = task.evaluate(torch.tensor([[50.0, 0.0]] * 10), torch.tensor([0] * 5 + [1] * 5))
    assert found.metrics["ece"] == pytest.approx(0.5)


def test_mistakes_rank_by_confidence():
    task = fitted("a", "b")
    severity = task.mistakes(torch.tensor([[5.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), torch.tensor([1, 1, 0]))
    assert severity[0] > severity[1] > severity[2] == 0
