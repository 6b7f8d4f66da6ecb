"""The running mean of the weights."""

import pytest
import torch
from torch import nn

from tlcore.training.ema import ModelEMA


def test_the_mean_stands_in_for_the_weights_only_for_a_while():
    layer = nn.Linear(1, 1, bias=False)
    average = ModelEMA(layer, decay=0.9)
    values = [1.0, 2.0, 4.0]
    for value in values:
        nn.init.constant_(layer.weight, value)
        average.update_parameters(layer)
    expected = 1.0
    for n, value in enumerate(values[1:], 1):
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
    with average.applied_to(layer):
        assert layer.weight.item() == pytest.approx(expected)
    assert layer.weight.item() == 4.0


def test_the_weights_come_back_after_an_error():
    layer = nn.Linear(1, 1)
    average = ModelEMA(layer, decay=0.5)
    average.update_parameters(layer)
    nn.init.constant_(layer.weight, 7.0)
    with pytest.raises(KeyError), average.applied_to(layer):
        raise KeyError
    assert torch.equal(layer.weight, torch.full((1, 1), 7.0))
