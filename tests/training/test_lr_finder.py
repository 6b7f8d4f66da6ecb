"""The range test takes a rate at which the loss still falls."""

import pytest

from tlcore import NumericError
from tlcore.training.lr_finder import range_test


def test_the_rate_lies_below_the_edge():
    level = [1.0]

    def step(rate, number):
        level[0] = level[0] * (1 - min(rate, 0.5)) if rate < 1 else level[0] * 10
        return level[0]

    found = range_test(step)
    assert 1e-3 < found.chosen < 1.0
    assert found.rates[-1] < 10, "it ends once the loss has exploded"
    assert found.table().columns == ("lr", "loss")
    assert len(found.table().rows) == len(found.losses)


def test_a_step_that_overflows_ends_the_test():
    def step(rate, number):
        if number > 50:
            raise NumericError("the loss is not finite")
        return 1.0 - number / 100

    assert len(range_test(step).rates) == 51


@pytest.mark.parametrize("step", [lambda rate, number: 1.0 + number, lambda rate, number: 1.0])
def test_a_loss_that_never_falls_is_said(step):
    with pytest.raises(NumericError, match="no learning rate") as caught:
        range_test(step)
    assert "train.lr" in caught.value.hint


def test_the_first_step_may_fail():
    def step(rate, number):
        raise NumericError("at once")

    with pytest.raises(NumericError, match="no learning rate"):
        range_test(step)
