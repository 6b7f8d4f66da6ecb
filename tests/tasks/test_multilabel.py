"""Sets of labels: learnt by name, scored as scikit-learn does."""

import json

import numpy
import pytest
import sklearn
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from tlcore import DataError, MultiLabel, MultiLabelOptions

SETS = [("a", "b"), (), ("b",), ["c", "a"], "b"]


def fitted(labels=SETS, **options):
    task = MultiLabel(MultiLabelOptions(**options))
    task.fit(labels)
    return task


def test_every_label_is_an_output_and_an_example_may_have_none():
    task = fitted()
    assert task.labels == ("a", "b", "c")
    assert task.encode(SETS).tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 0], [1, 0, 1], [0, 1, 0]]


def test_what_is_predicted_is_a_set_at_the_threshold():
    outputs = torch.logit(torch.tensor([[0.9, 0.3, 0.31], [0.1, 0.1, 0.1]]))
    assert fitted().decode(outputs)["prediction"] == [["a"], []]
    assert fitted(threshold=0.305).decode(outputs)["prediction"] == [["a", "c"], []]


@pytest.mark.slow
@settings(max_examples=1000)
@given(st.integers(2, 5), st.integers(2, 40), st.integers(0, 2**31))
@sklearn.config_context(assume_finite=True, skip_parameter_validation=True)
def test_scores_equal_scikit_learn_also_with_absent_labels(labels, count, seed):
    rng = numpy.random.default_rng(seed)
    task = fitted([tuple(f"label {n}" for n in range(labels))])
    truth = (rng.random((count, labels)) < rng.random(labels)).astype(int)
    outputs = rng.normal(size=(count, labels)) * 2
    found = task.evaluate(torch.from_numpy(outputs), torch.from_numpy(truth)).metrics
    guesses = (outputs >= 0).astype(int)
    occurs = (truth + guesses).any(axis=0)
    f1 = metrics.f1_score(truth, guesses, average=None, zero_division=0)
    f1 = numpy.atleast_1d(f1)
    assert found["macro_f1"] == pytest.approx(f1[occurs].mean() if occurs.any() else 0.0, abs=1e-12)
    assert found["micro_f1"] == pytest.approx(
        metrics.f1_score(truth.ravel(), guesses.ravel(), zero_division=0), abs=1e-12
    )
    if seed % 5 == 0:  # slow; tests/tasks/test_metrics.py compares areas alone
        held = [n for n in range(labels) if truth[:, n].any()]
        areas = [metrics.average_precision_score(truth[:, n], outputs[:, n]) for n in held]
        assert found["map"] == pytest.approx(numpy.mean(areas) if areas else 0.0, abs=1e-12)
    assert found["exact"] == pytest.approx(metrics.accuracy_score(truth, guesses), abs=1e-12)
    json.dumps(found, allow_nan=False)


def test_a_label_that_was_never_trained_is_named_with_the_nearest():
    with pytest.raises(DataError, match="'cat' stands on 2 examples") as caught:
        fitted([("cats",), ("dogs",)]).encode([("cat", "dogs"), ("dogs",), "cat"])
    assert "did you mean 'cats'?" in caught.value.hint


def test_no_label_at_all_is_an_error():
    with pytest.raises(DataError, match="no training example has a label"):
        fitted([(), ()])


def test_weights_make_a_rare_label_count_more():
    labels = [("rare",)] + [("common",)] * 9
    targets, outputs = torch.tensor([[0.0, 1.0]]), torch.zeros(1, 2)
    plain, weighted = fitted(labels), fitted(labels, imbalance="weights")
    assert plain.loss(outputs, targets) == pytest.approx(numpy.log(2) * 2)
    assert weighted.loss(outputs, targets) == pytest.approx(numpy.log(2) * (1 + 9))


def test_more_labels_do_not_make_the_gradient_of_one_smaller():
    gradients = []
    for names in ("ab", "abcdefghij"):
        outputs = torch.zeros(2, len(names), requires_grad=True)
        task = fitted([tuple(names)])
        task.loss(outputs, task.encode([("a",), ()])).backward()
        gradients.append(outputs.grad[0, 0].item())
    assert gradients[0] == pytest.approx(gradients[1])


def test_the_score_called_loss_is_what_was_trained():
    task, outputs = fitted(), torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    targets = task.encode(SETS)
    assert task.evaluate(outputs, targets).metrics["loss"] == pytest.approx(task.loss(outputs, targets).item())


def test_the_surest_wrong_label_is_the_worst_mistake():
    outputs = torch.logit(torch.tensor([[0.99, 0.2], [0.6, 0.2], [0.6, 0.9]]))
    found = fitted([("a", "b")]).mistakes(outputs, torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))
    assert found.tolist() == [pytest.approx(0.99), pytest.approx(0.6), 0.0]
