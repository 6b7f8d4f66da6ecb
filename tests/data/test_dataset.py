"""From a source to checked examples: nothing is lost, and what is odd is said."""

from collections import Counter

import pytest

from tlcore import DataError, Example, Problem
from tlcore.data.dataset import are_quantities, require_few_problems, split_examples

SHARES = {"validation": 0.2, "test": 0.2}


class Listed:
    """A source that yields what it was given."""

    def __init__(self, *items):
        self.items = items

    def examples(self):
        return iter(self.items)


def rows(count, **given):
    return [Example(id=f"{n}", input=f"text {n}", label="ab"[n % 2], **given) for n in range(count)]


def read(*items, max_bad=None):
    return split_examples(Listed(*items), shares=SHARES, max_bad=max_bad)


def test_given_splits_are_kept_and_their_names_made_one():
    given = [
        Example(id=split + label, input=split + label, label=label, split=split)
        for split in ("training", "val", "test")
        for label in "ab"
    ]
    dataset = read(*given)
    assert dataset.counts() == {"train": 2, "validation": 2, "test": 2}
    assert not any("drawn" in note for note in dataset.notes)


def test_a_missing_validation_split_is_drawn_from_train_and_said():
    items = [
        Example(id=f"{n}", input=f"{n}", label="ab"[n % 2], split="test" if n < 20 else "train") for n in range(100)
    ]
    dataset = read(*items)
    assert dataset.counts()["test"] == 20
    assert dataset.counts()["validation"] > 5
    assert "20% for validation" in dataset.notes[0]


def test_some_splits_given_and_some_not_is_an_error():
    with pytest.raises(DataError, match="1 examples name no split"):
        read(Example(id="a", input="a", label="x", split="train"), Example(id="b", input="b", label="y"))


def test_an_id_given_twice_is_an_error():
    with pytest.raises(DataError, match="'same' stands on two"):
        read(Example(id="same", input="a", label="x"), Example(id="same", input="b", label="y"))


def test_an_example_without_a_label_is_skipped_and_listed():
    dataset = read(*rows(30), Example(id="lost", input="no label"))
    assert [problem for problem in dataset.problems if problem.skipped] == [Problem("lost", "it has no label")]
    assert "lost" not in dataset.examples


def test_a_file_that_is_gone_is_skipped_and_listed(tmp_path):
    dataset = read(*rows(30), Example(id="gone", input=tmp_path / "gone.jpg", label="a"))
    assert Problem("gone", "no such file") in dataset.problems


def test_a_leak_and_a_contradiction_are_said():
    items = [*rows(30, split="train"), *[Example(id=f"v{n}", input=f"v{n}", label="a", split="val") for n in range(3)]]
    items += [
        Example(id="t1", input="text 3", label="b", split="test"),
        Example(id="t2", input="new", label="a", split="test"),
    ]
    items.append(Example(id="zz", input="text 4", label="b", split="train"))
    dataset = read(*items)
    assert any("LEAK: 1 input stands in" in note for note in dataset.notes)
    reasons = {problem.id: problem.reason for problem in dataset.problems}
    assert reasons["3"] == "the same input stands in train and, as t1, in test"
    assert "labelled 'a' and, as zz, 'b'" in reasons["4"]
    assert not any(problem.skipped for problem in dataset.problems)


def test_a_leak_stops_the_run_where_the_recipe_says_so():
    class Source:
        def examples(self):
            yield from rows(30, split="train")
            yield from (Example(id=f"v{n}", input=f"v{n}", label="a", split="val") for n in range(3))
            yield Example(id="t1", input="text 3", label="b", split="test")
            yield Example(id="t2", input="text 4", label="b", split="test")

    assert split_examples(Source(), shares={}, max_bad=None, leaks="note").counts()["test"] == 2
    with pytest.raises(DataError, match="2 inputs stand in more than one split") as caught:
        split_examples(Source(), shares={}, max_bad=None, leaks="stop")
    assert "3: the same input stands in train and, as t1, in test" in caught.value.where
    assert "data.leaks=note" in caught.value.hint


def test_a_class_that_is_absent_from_the_test_split_is_said():
    items = [
        *rows(20, split="train"),
        *[Example(id=f"v{n}", input=f"v{n}", label="ab"[n % 2], split="val") for n in range(4)],
    ]
    items.append(Example(id="t", input="t", label="a", split="test"))
    assert "no example in test of: b" in read(*items).notes


def test_a_class_whose_every_file_is_unreadable_stops_the_run():
    dataset = read(*rows(40))
    bad = [Problem(id_, "truncated") for id_, example in dataset.examples.items() if example.label == "b"]
    with pytest.raises(DataError, match="every training example of class 'b' is unreadable"):
        dataset.drop(bad)


def test_an_unreadable_quantity_stops_no_run():
    dataset = read(*[Example(id=f"{n}", input=f"text {n}", label=f"{n / 4}") for n in range(12)])
    assert not [note for note in dataset.notes if "only one training example" in note or "no example in" in note]
    gone = dataset.split("train")[0].id
    dataset.drop([Problem(gone, "truncated")])
    assert gone not in dataset.examples
    numbers = read(*[Example(id=f"{n}", input=f"text {n}", label=n / 4) for n in range(12)])
    numbers.drop([Problem(numbers.split("train")[0].id, "truncated")])


def test_of_several_labels_each_is_a_class():
    items = [Example(f"{n}", f"text {n}", label=("a", "b") if n % 2 else ("a",), split="train") for n in range(20)]
    items += [Example(f"{s}", s, label=("a",), split=s) for s in ("validation", "test")]
    items.append(Example("one", "one", label=("a", "rare"), split="train"))
    items.append(Example("none", "none", label=(), split="train"))
    dataset = read(*items)
    assert "no example in test of: b, rare" in dataset.notes
    assert "only one training example of: rare" in dataset.notes
    with pytest.raises(DataError, match="every training example of class 'rare' is unreadable"):
        dataset.drop([Problem("one", "truncated")])


@pytest.mark.parametrize(
    ("labels", "quantities"),
    [(["1", "2", "3", "4", "5"] * 4, False), ([f"{n}" for n in range(9)], True), (["0", "1"], False),
     ([f"{n % 30}" for n in range(900)], True), (["a", "1", "2", "3"], False), ([], False)],
)  # fmt: skip
def test_numbers_that_come_again_and_again_may_be_classes(labels, quantities):
    assert are_quantities(Counter(labels)) is quantities


@pytest.mark.parametrize(
    ("bad", "usable", "max_bad", "stops"),
    [(10, 90, None, False), (11, 90, None, True), (20, 1980, None, False), (21, 1979, None, True),
     (3, 97, 2, True), (3, 97, 3, False), (6, 94, 0.05, True), (5, 95, 0.05, False)],
)  # fmt: skip
def test_how_many_bad_examples_a_run_accepts(bad, usable, max_bad, stops):
    problems = [Problem(str(n), "unreadable") for n in range(bad)] + [Problem("note", "odd", skipped=False)] * 50
    if not stops:
        require_few_problems(problems, usable, max_bad)
        return
    with pytest.raises(DataError, match=r"data\.max_bad"):
        require_few_problems(problems, usable, max_bad)


def test_no_examples_is_an_error_with_the_reasons():
    with pytest.raises(DataError, match="no usable example") as caught:
        read(Problem("row 1", "empty text"))
    assert "row 1: empty text" in caught.value.where


def test_where_nothing_can_be_used_no_limit_is_to_be_raised():
    with pytest.raises(DataError, match="none of the 20 examples can be used") as caught:
        require_few_problems([Problem(str(n), "no such file") for n in range(20)], 0, None)
    assert "max_bad" not in caught.value.hint
