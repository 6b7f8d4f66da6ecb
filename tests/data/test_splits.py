"""Splits drawn by hash: stable under added data, whole groups, equal inputs together."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcore import DataError, Example
from tlcore.data.splits import canonical_split, drawn_splits

SHARES = {"validation": 0.15, "test": 0.15}


def drawn(examples, shares=SHARES):
    return drawn_splits(examples, {example.id: str(example.input) for example in examples}, shares)


def texts(count, classes=4, start=0):
    return [Example(id=f"e{n}", input=f"text {n}", label=f"class {n % classes}") for n in range(start, start + count)]


def test_added_data_never_moves_an_example():
    before = drawn(texts(500))
    after = drawn(texts(5000))
    assert all(after[id_] == split for id_, split in before.items())


def test_each_class_is_split_with_about_the_shares():
    examples = texts(8000)
    splits = drawn(examples)
    for label in {example.label for example in examples}:
        counts = Counter(splits[example.id] for example in examples if example.label == label)
        assert counts["validation"] / 2000 == pytest.approx(0.15, abs=0.03)
        assert counts["test"] / 2000 == pytest.approx(0.15, abs=0.03)


@given(st.integers(3, 40), st.integers(2, 6))
def test_no_split_lacks_a_class_that_has_enough_examples(per_class, classes):
    examples = texts(per_class * classes, classes)
    splits = drawn(examples)
    for label in {example.label for example in examples}:
        held = {splits[example.id] for example in examples if example.label == label}
        assert held == {"train", "validation", "test"}


@given(st.integers(0, 10**6), st.integers(1, 2))
def test_a_class_of_one_or_two_is_never_without_a_training_example(start, count):
    rare = [Example(id=f"r{n}", input=f"rare {start + n}", label="rare") for n in range(count)]
    splits = drawn([*texts(60), *rare])
    assert "train" in {splits[example.id] for example in rare}


def test_a_group_stays_whole():
    examples = [Example(id=str(n), input=str(n), label="ab"[n % 2], group=f"customer {n // 7}") for n in range(700)]
    splits = drawn(examples)
    for group in {example.group for example in examples}:
        assert len({splits[example.id] for example in examples if example.group == group}) == 1
    assert set(splits.values()) == {"train", "validation", "test"}


@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from("abc")), min_size=1, max_size=60))
def test_equal_inputs_are_never_on_two_sides(rows):
    examples = [Example(id=str(n), input=f"same {text}", label=label) for n, (text, label) in enumerate(rows)]
    splits = drawn(examples)
    for text in {example.input for example in examples}:
        assert len({splits[example.id] for example in examples if example.input == text}) == 1


def test_the_order_of_the_data_decides_nothing():
    examples = texts(300)
    assert drawn(examples) == drawn(list(reversed(examples)))


@pytest.mark.parametrize(
    ("written", "meant"), [("val", "validation"), (" Dev ", "validation"), ("TRAIN", "train"), ("testing", "test")]
)
def test_usual_spellings_of_splits(written, meant):
    assert canonical_split(written) == meant


def test_a_misspelt_split_is_refused_with_the_nearest():
    with pytest.raises(DataError, match="'tset' is no name of a split") as caught:
        canonical_split("tset")
    assert "'test'" in caught.value.hint
