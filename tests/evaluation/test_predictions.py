"""The file of predictions is written whatever kinds of labels a source mixes."""

import pytest
from pyarrow import parquet

from tlcore import Classification, Example, MultiLabel, Regression
from tlcore.evaluation.predictions import prediction_columns, write_predictions


@pytest.mark.parametrize(
    ("task", "labels", "written"),
    [
        (MultiLabel(), [("a", "b"), "b", [], {"b"}], [["a", "b"], ["b"], [], ["b"]]),
        (Regression(), ["1", 2.5, 3, "4.0"], ["1", "2.5", "3", "4.0"]),
        (Regression(), [1, 2.5, 3, 4], [1.0, 2.5, 3.0, 4.0]),
        (Classification(), ["x", 1, "y", True], ["x", "1", "y", "True"]),
    ],
)
def test_labels_of_several_kinds_become_one_column(tmp_path, task, labels, written):
    task.fit(labels)
    examples = [Example(id=str(n), input="", label=label, split="test") for n, label in enumerate(labels)]
    outputs = task.encode(labels).float().reshape(4, -1).expand(4, task.outputs)
    halves = [prediction_columns(task, examples[part], outputs[part]) for part in (slice(2), slice(2, 4))]
    write_predictions(tmp_path / "predictions.parquet", halves)
    assert parquet.read_table(tmp_path / "predictions.parquet").column("label").to_pylist() == written
