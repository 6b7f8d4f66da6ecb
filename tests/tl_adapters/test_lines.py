"""Where the built-in adapters draw the line, and when what is trained."""

import pytest

from tl_adapters import FineTuningOptions
from tl_adapters.lines import FineTuning
from tlcore import UsageError


class Five:
    feature_dim = 2

    def __init__(self):
        self.stages = dict.fromkeys("abcde")


def plan(**options):
    return FineTuning(FineTuningOptions(**options)).plan(Five(), 3)


@pytest.mark.parametrize(("layers", "line"), [(1, 4), (5, 0), ("all", 0), ("c", 2), ("e", 4)])
def test_the_line_is_below_what_layers_names(layers, line):
    assert plan(layers=layers).freeze_line == line


@pytest.mark.parametrize(("layers", "hint"), [(6, "feature-extraction"), (0, "feature-extraction"), ("cc", "'c'")])
def test_a_stage_that_is_not_there_is_refused(layers, hint):
    with pytest.raises(UsageError, match=r"adapter\.layers") as caught:
        plan(layers=layers)
    assert hint in caught.value.hint


def test_head_first_trains_the_head_alone_then_everything():
    found = plan(layers=2, unfreeze="head-first", unfreeze_every=3).schedule
    assert [(phase.epoch, phase.first_trained) for phase in found] == [(0, 5), (3, 3)]


def test_gradual_lets_one_stage_more_go_at_a_time():
    found = plan(layers=3, unfreeze="gradual", unfreeze_every=2).schedule
    assert [(phase.epoch, phase.first_trained) for phase in found] == [(0, 5), (2, 4), (4, 3), (6, 2)]


def test_lower_stages_learn_slower():
    groups = {group.part: group.lr_scale for group in plan(layers=3, decay=0.5, head_lr_scale=10).parameter_groups}
    assert groups == {"c": 0.25, "d": 0.5, "e": 1.0, "head": 10}
