"""What a recipe is made into is refused before anything is computed, where it cannot work."""

import pytest
from torch import nn

from tlcore import Injection, Plan, UsageError
from tlcore.runs.components import _require_apart


class Tied:
    """Two stages of three that share a layer."""

    def __init__(self):
        shared = nn.Linear(2, 2)
        self.stages = {"one": nn.Sequential(shared), "two": nn.Linear(2, 2), "three": nn.Sequential(shared)}


@pytest.mark.parametrize("line", [1, 2])
def test_a_stage_that_shares_weights_with_a_frozen_one_is_not_trained(line):
    with pytest.raises(UsageError, match="three would be trained, but shares weights with one"):
        _require_apart(Tied(), Plan(freeze_line=line, head=nn.Linear(2, 2)))


@pytest.mark.parametrize("line", [0, 3])
def test_stages_that_are_trained_or_frozen_together_may_share_weights(line):
    _require_apart(Tied(), Plan(freeze_line=line, head=nn.Linear(2, 2)))


def test_a_stage_that_only_gets_something_added_may_share_weights():
    injections = (Injection("three", lambda stage: stage),)
    _require_apart(Tied(), Plan(freeze_line=2, head=nn.Linear(2, 2), injections=injections))
