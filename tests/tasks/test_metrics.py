"""Our fast scores are scikit-learn's, also with ties and absent classes."""

import numpy
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from tlcore.tasks.metrics import Ranking, calibration


@pytest.mark.slow
@settings(max_examples=1000)
@given(st.integers(1, 60), st.integers(1, 5), st.integers(0, 2**31))
@sklearn.config_context(assume_finite=True, skip_parameter_validation=True)
def test_areas_are_scikit_learns_also_with_ties(count, values, seed):
    rng = numpy.random.default_rng(seed)
    scores = rng.integers(values, size=count) / 7 if seed % 2 else rng.normal(size=count)
    positive = rng.random(count) < 0.4
    ranking = Ranking(scores, positive)
    assert ranking.defined == (0 < positive.sum() < count)
    if positive.any():
        assert ranking.average_precision() == pytest.approx(
            metrics.average_precision_score(positive, scores), abs=1e-12
        )
    if ranking.defined:
        assert ranking.roc_area() == pytest.approx(metrics.roc_auc_score(positive, scores), abs=1e-12)


def test_curves_are_few_points_from_corner_to_corner():
    rng = numpy.random.default_rng(0)
    positive = rng.random(5000) < 0.3
    roc, precision_recall = Ranking(rng.normal(size=5000) + positive, positive).curves()
    assert roc[0] == (0.0, 0.0)
    assert roc[-1] == (1.0, 1.0)
    assert len(roc) <= 61
    assert precision_recall[-1] == (1.0, pytest.approx(positive.mean()))
    area = numpy.trapezoid([y for _, y in roc], [x for x, _ in roc])
    assert area == pytest.approx(0.76, abs=0.03)


def test_the_curves_of_a_rare_class_keep_its_area():
    rng = numpy.random.default_rng(1)
    positive = numpy.arange(10_000) < 60
    ranking = Ranking(rng.normal(size=10_000) + 2 * positive, positive)
    roc, precision_recall = ranking.curves()
    assert numpy.trapezoid([y for _, y in roc], [x for x, _ in roc]) == pytest.approx(ranking.roc_area(), abs=0.01)
    assert len([point for point in precision_recall if point[0] < 0.5]) > 10
    assert sorted(precision_recall, key=lambda point: point[0]) == precision_recall


def test_calibration_counts_every_example_once():
    confidence = numpy.array([0.0, 1e-9, 0.5, 0.51, 1.0])
    ece, bins = calibration(confidence, numpy.array([False, False, True, False, True]))
    assert sum(row[2] for row in bins) == 5
    assert ece == pytest.approx((1e-9 + 0.01) / 5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_confidence_that_is_not_finite_is_refused(value):
    """Counted by numpy it would be written beyond the end of an array."""
    with pytest.raises(ValueError, match="not finite"):
        calibration(numpy.array([0.5, value]), numpy.array([True, False]))
