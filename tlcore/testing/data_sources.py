"""What tlcore relies on in a data source."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tlcore.contracts import SPLITS, DataSource, Example
from tlcore.plugins.validation import examples_of
from tlcore.specs import DataSourceSpec
from tlcore.testing.promises import conformance, require, smoke_options

__all__ = ["check_data_source"]


@conformance()
def check_data_source(spec: DataSourceSpec, folder: Path) -> None:
    """Check that a data source gives examples with ids that are unique and stay the same."""
    options = smoke_options(spec, folder)
    source: DataSource = spec.build(options)
    examples = _examples(source)
    require(bool(examples), "the smoke options give no example")
    twice = [id_ for id_, count in Counter(example.id for example in examples).items() if count > 1]
    require(not twice, f"ids are not unique: {', '.join(twice[:5])}")
    for example in examples:
        require(example.input is not None, f"example {example.id} has no input")
        require(example.split in (None, *SPLITS), f"example {example.id} is in the split {example.split!r}")
        require(all(isinstance(name, str) for name in example.columns), f"a column of {example.id} has no text as name")
    read = {example.id: (example.label, example.split, example.group) for example in examples}
    for again in (source, spec.build(options)):
        other = {example.id: (example.label, example.split, example.group) for example in _examples(again)}
        require(other == read, "a second reading gives other ids, labels, splits or groups than the first")


def _examples(source: DataSource) -> list[Example]:
    return [item for item in examples_of(source) if isinstance(item, Example)]
