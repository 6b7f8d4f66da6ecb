"""What a run's manifest counts."""

from tlcore import Example
from tlcore.data.dataset import Dataset
from tlcore.runs.provenance import class_counts


def dataset(labels):
    examples = {str(n): Example(str(n), "x", label=label, split="train") for n, label in enumerate(labels)}
    return Dataset(examples, dict.fromkeys(examples, ""))


def test_each_of_several_labels_is_counted():
    found = class_counts(dataset([("a", "b"), (), ("b",)]))
    assert {name: counts["train"] for name, counts in found.items()} == {"a": 1, "b": 2}


def test_quantities_are_no_classes_but_a_few_numbers_may_be():
    assert class_counts(dataset([str(n / 2) for n in range(100)])) == {}
    assert class_counts(dataset([n % 5 / 2 for n in range(100)])) == {}
    assert len(class_counts(dataset([str(n % 5) for n in range(100)]))) == 5
    assert len(class_counts(dataset([f"class {n}" for n in range(100)]))) == 100
