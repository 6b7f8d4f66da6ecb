"""Scores equal scikit-learn's; labels stay names."""

import json
import math
import warnings

import numpy
import pytest
import sklearn
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from tlcore import Classification, ClassificationOptions, DataError, RecipeWarning


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


@settings(max_examples=1000)
@given(st.integers(2, 6), st.integers(1, 40), st.integers(0, 2**31))
@sklearn.config_context(assume_finite=True, skip_parameter_validation=True)  # twice as fast
def test_scores_equal_scikit_learn_also_with_absent_classes(classes, count, seed):
    rng = numpy.random.default_rng(seed)
    task = fitted(*[f"class {n}" for n in range(classes)])
    held = rng.choice(classes, size=rng.integers(1, classes + 1), replace=False)
    targets = torch.from_numpy(rng.choice(held, size=count))
    outputs = torch.from_numpy(rng.normal(size=(count, classes)) * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = task.evaluate(outputs, targets)
    guesses, probabilities = outputs.argmax(1).numpy(), outputs.softmax(1).numpy()
    truth = targets.numpy()
    json.dumps(found.metrics, allow_nan=False)
    assert found.metrics["accuracy"] == pytest.approx(metrics.accuracy_score(truth, guesses), abs=1e-12)
    assert found.metrics["macro_f1"] == pytest.approx(
        metrics.f1_score(truth, guesses, average="macro", zero_division=0), abs=1e-12
    )
    recalls = [(guesses[truth == n] == n).mean() for n in numpy.unique(truth)]
    assert found.metrics["balanced_accuracy"] == pytest.approx(numpy.mean(recalls), abs=1e-12)
    assert found.metrics["weighted_f1"] == pytest.approx(
        metrics.f1_score(truth, guesses, average="weighted", zero_division=0), abs=1e-12
    )
    assert found.metrics["loss"] == pytest.approx(
        metrics.log_loss(truth, probabilities, labels=range(classes)), abs=1e-12
    )
    rows = [row[1:] for row in found.tables["confusion"].rows]
    assert (numpy.array(rows) == metrics.confusion_matrix(truth, guesses, labels=range(classes))).all()
    assert set(found.metrics["absent"]) == {f"class {n}" for n in range(classes) if n not in truth}
    if seed % 5 == 0:  # slow; tests/tasks/test_metrics.py compares areas alone
        _areas_equal_scikit_learns(found, truth, probabilities)


def _areas_equal_scikit_learns(found, truth, probabilities):
    held = [n for n in range(probabilities.shape[1]) if 0 < (truth == n).sum() < len(truth)]
    for name, score in (("roc_auc", metrics.roc_auc_score), ("pr_auc", metrics.average_precision_score)):
        areas = {f"class {n}": score(truth == n, probabilities[:, n]) for n in held}
        for name_of_class, area in areas.items():
            assert found.metrics["per_class"][name_of_class][name] == pytest.approx(area, abs=1e-12)
        if held:
            assert found.metrics[name] == pytest.approx(numpy.mean(list(areas.values())), abs=1e-12)
        else:
            assert name not in found.metrics
            assert found.metrics["left_out"][name] == "only one class occurs"
    assert ("left_out" in found.metrics) == (not held)
    for name in ("roc", "precision_recall"):
        assert (name in found.tables) == bool(held)


def test_of_very_many_classes_areas_are_left_out_with_the_reason():
    task = fitted(*[f"class {n:03}" for n in range(51)])
    found = task.evaluate(torch.randn(60, 51), torch.arange(60) % 51).metrics
    assert "roc_auc" not in found
    assert found["left_out"]["roc_auc"] == "there are more than 50 classes"


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


def test_more_scores_equal_scikit_learn():
    rng = numpy.random.default_rng(4)
    task = fitted(*[f"class {n}" for n in range(7)])
    targets, outputs = torch.from_numpy(rng.integers(7, size=200)), torch.from_numpy(rng.normal(size=(200, 7)))
    found = task.evaluate(outputs, targets).metrics
    truth, guesses, shares = targets.numpy(), outputs.argmax(1).numpy(), outputs.softmax(1).numpy()
    assert found["weighted_f1"] == pytest.approx(metrics.f1_score(truth, guesses, average="weighted"), abs=1e-12)
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, guesses), abs=1e-12)
    assert found["top_5"] == pytest.approx(metrics.top_k_accuracy_score(truth, shares, k=5), abs=1e-12)
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, shares, multi_class="ovr"), abs=1e-12)
    one_hot = numpy.eye(7)[truth]
    assert found["pr_auc"] == pytest.approx(metrics.average_precision_score(one_hot, shares), abs=1e-12)
    assert found["per_class"]["class 3"]["roc_auc"] == pytest.approx(
        metrics.roc_auc_score(truth == 3, shares[:, 3]), abs=1e-12
    )


def test_areas_of_a_single_class_are_left_out_rather_than_made_up():
    found = fitted("a", "b").evaluate(torch.randn(4, 2), torch.zeros(4, dtype=torch.int64))
    assert "roc_auc" not in found.metrics
    assert "roc" not in found.tables


def classified(labels, **options):
    task = Classification(ClassificationOptions(**options))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecipeWarning)
        task.fit(labels)
    return task


RARE = ["common"] * 9 + ["rare"]


@pytest.mark.parametrize("imbalance", ["none", "auto", "weights", "sampler", "focal", "logit-adjust"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_shares_of_one_are_the_same_as_indices(imbalance, smoothing):
    task = classified(RARE, imbalance=imbalance, label_smoothing=smoothing)
    outputs, targets = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 0, 1, 1, 0])
    shares = torch.nn.functional.one_hot(targets, 2).float()
    assert task.loss(outputs, targets).item() == pytest.approx(task.loss(outputs, shares).item(), rel=1e-5)


def test_weights_have_a_mean_of_one_over_the_training_examples():
    task = classified(RARE, imbalance="weights")
    outputs = torch.zeros(10, 2)
    assert task.loss(outputs, task.encode(RARE)).item() == pytest.approx(math.log(2), rel=1e-6)
    rare, common = task.loss(outputs[:1], task.encode(["rare"])), task.loss(outputs[:1], task.encode(["common"]))
    assert rare.item() / common.item() == pytest.approx(9, rel=1e-5)


def test_adjusted_logits_ask_more_of_the_rare_class():
    task, outputs = classified(RARE, imbalance="logit-adjust"), torch.zeros(1, 2)
    assert task.loss(outputs, task.encode(["rare"])).item() == pytest.approx(-math.log(0.1), rel=1e-5)
    assert classified(RARE, imbalance="auto").loss(outputs, torch.tensor([1])) == task.loss(outputs, torch.tensor([1]))
    nearly_even = classified(["a"] * 3 + ["b"], imbalance="auto")
    assert nearly_even.loss(outputs, torch.tensor([1])).item() == pytest.approx(math.log(2), rel=1e-6)


def test_the_focal_loss_is_its_papers():
    task = classified(["a", "b"], imbalance="focal", focal_gamma=2.0)
    outputs, targets = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    p = math.exp(1) / (1 + math.exp(1))
    assert task.loss(outputs, targets).item() == pytest.approx(-((1 - p) ** 2) * math.log(p), rel=1e-5)


def test_the_sampler_draws_every_class_equally_often():
    weights = classified(RARE, imbalance="sampler").sampling_weights(RARE)
    assert sum(weights[:9]) == pytest.approx(weights[9])
    assert classified(RARE).sampling_weights(RARE) is None


def test_imbalance_is_said_where_nothing_is_done_about_it():
    with pytest.warns(RecipeWarning, match=r"9 training examples of 'common', 1 of 'rare'.*task\.imbalance=auto"):
        Classification().fit(RARE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Classification(ClassificationOptions(imbalance="auto")).fit(RARE)
        Classification().fit(["a"] * 3 + ["b"])


def test_lists_of_labels_are_no_classes():
    with pytest.raises(DataError, match=r"list of labels.*one") as caught:
        Classification().fit([("a",), ("a", "b")])
    assert "multilabel" in caught.value.hint


def test_an_older_model_without_counts_can_be_restored():
    task = Classification()
    task.restore({"classes": ["a", "b"], "majority": "a"})
    assert task.decode(torch.zeros(1, 2))["prediction"] == ["a"]
