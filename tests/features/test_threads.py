"""The number of threads is chosen by the time of real batches."""

import pytest
import torch

from tlcore.features.threads import ThreadChoice


def chosen(seconds, available=8, batches=30):
    """Return with how many threads each batch was computed where a batch takes ``seconds[threads]``."""
    now = [0.0]
    choice = ThreadChoice(available, lambda: now[0])
    used = []
    for _ in range(batches):
        with choice.batch("a shape", 16):
            used.append(torch.get_num_threads())
            now[0] += seconds[used[-1]]
    return used


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({8: 1.0, 4: 1.9, 2: 3.5, 1: 7.0}, 8),  # more threads are faster
        ({8: 1.0, 4: 0.7, 2: 0.9, 1: 1.6}, 4),
        ({8: 9.0, 4: 5.0, 2: 2.0, 1: 1.0}, 1),  # somebody else uses the machine
        ({8: 1.0, 4: 0.99, 2: 0.1, 1: 0.1}, 8),  # no gain worth speaking of
    ],
)
def test_the_fastest_number_is_kept(seconds, expected):
    used = chosen(seconds)
    assert used[-10:] == [expected] * 10
    assert used[:3] == [8, 8, 8]


def test_torch_is_left_as_it_was_also_after_a_failure():
    before = torch.get_num_threads()
    choice = ThreadChoice(before + 3)
    with choice.batch("s", 1):
        assert torch.get_num_threads() == before + 3
    with pytest.raises(RuntimeError), choice.batch("s", 1):
        torch.zeros(2) @ torch.zeros(3)
    assert torch.get_num_threads() == before


def test_the_first_batch_of_a_shape_is_not_timed():
    now = [0.0]
    choice = ThreadChoice(2, lambda: now[0])
    for shape in "abcdef":
        with choice.batch(shape, 1):
            now[0] += 1
    assert choice.threads == 2
