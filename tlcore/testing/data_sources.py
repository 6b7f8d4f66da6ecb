"""What tlcore relies on in a data source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tlcore.contracts import SPLITS, DataSource, Example, Problem
from tlcore.specs import DataSourceSpec
from tlcore.testing.promises import require, smoke_options

__all__ = ["check_data_source"]


def check_data_source(spec: DataSourceSpec, folder: Path) -> None:
    """Check that a data source gives examples with ids that are unique and stay the same."""
    options = smoke_options(spec, folder)
    source: DataSource = spec.build(options)
    first, second = list(source.examples()), list(source.examples())
    for item in first:
        require(isinstance(item, (Example, Problem)), f"examples yields {item!r}, neither Example nor Problem")
        require(isinstance(item.id, str) and bool(item.id), f"the id {item.id!r} is no text")
    examples = [item for item in first if isinstance(item, Example)]
    require(bool(examples), "the smoke options give no example")
    twice = [id_ for id_, count in Counter(item.id for item in examples).items() if count > 1]
    require(not twice, f"ids are not unique: {', '.join(twice[:5])}")
    for example in examples:
        require(example.input is not None, f"example {example.id} has no input")
        require(example.split in (None, *SPLITS), f"example {example.id} is in the split {example.split!r}")
        require(example.group is None or isinstance(example.group, str), f"the group of {example.id} is no text")
        require(
            isinstance(example.columns, Mapping) and all(isinstance(name, str) for name in example.columns),
            f"the columns of {example.id} are no mapping from text",
        )
    for other in (second, list(spec.build(options).examples())):
        same = {item.id: (item.label, item.split, item.group) for item in other if isinstance(item, Example)}
        require(
            same == {one.id: (one.label, one.split, one.group) for one in examples},
            "a second reading gives other ids, labels, splits or groups than the first",
        )
