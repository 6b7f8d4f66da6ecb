"""Which split an example belongs to: what the data says, else a hash of what the example is.

The hash decides for each example by itself, so adding data never moves an example from one split to another, and equal
inputs are never on both sides. Each class is split with the same shares in expectation.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tlcore.contracts import SPLITS, Example
from tlcore.data.compact import Digests
from tlcore.errors import DataError, nearest

__all__ = ["SPLIT_NAMES", "canonical_split", "drawn_splits"]

SPLIT_NAMES = {
    "train": "train", "training": "train",
    "validation": "validation", "val": "validation", "valid": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


def canonical_split(name: str) -> str:
    """Return ``train``, ``validation`` or ``test`` for the usual spellings.

    Raises:
        DataError: another name.
    """
    found = SPLIT_NAMES.get(name.strip().casefold())
    if found is None:
        meant = nearest(name, SPLIT_NAMES)
        raise DataError(
            f"{name!r} is no name of a split",
            hint=f"did you mean {meant!r}?" if meant else f"names: {', '.join(SPLIT_NAMES)}",
        )
    return found


def drawn_splits(
    examples: Sequence[Example], digests: Mapping[str, str], shares: Mapping[str, float]
) -> dict[str, str]:
    """Return the split of each example id: ``validation`` and ``test`` with the given shares, ``train`` for the rest.

    Examples of one group stay together, and so do examples of equal content. A class that would be absent from a split
    although it has enough examples lends it the one whose hash lies nearest; of fewer examples one is for training,
    where alone a class can be learnt. Groups are never torn apart for that.
    """
    bounds = _bounds(shares)
    splits = {example.id: _split_at(_position(_key(example, digests)), bounds) for example in examples}
    # A key shared by several labels or groups stays where the hash put it, so that equal inputs stay together.
    shared = _shared_keys(examples, digests)
    by_label: dict[str, list[Example]] = {}
    for example in examples:
        if isinstance(example.label, str) and example.group is None and _found_by(example, digests) not in shared:
            by_label.setdefault(example.label, []).append(example)
    rare = {label for label, found in by_label.items() if len({_found_by(e, digests) for e in found}) < len(bounds)}
    if 2 * len(rare) > len(by_label):  # values to predict or texts, and no classes
        by_label = {label: found for label, found in by_label.items() if label not in rare}
    for label in sorted(by_label):
        if len({splits[example.id] for example in by_label[label]}) < len(bounds):
            _lend(by_label[label], {e.id: _key(e, digests) for e in by_label[label]}, splits, bounds)
    return splits


def _lend(members: list[Example], keys: Mapping[str, str], splits: dict[str, str], bounds: Mapping[str, float]) -> None:
    distinct = sorted(set(keys.values()), key=_position)
    by_key: dict[str, list[str]] = {}
    for example in members:
        by_key.setdefault(keys[example.id], []).append(example.id)
    if len(distinct) < len(bounds):
        if all(splits[ids[0]] != "train" for ids in by_key.values()):
            splits.update(dict.fromkeys(by_key[distinct[-1]], "train"))
        return
    for split in sorted(bounds, key=SPLITS.index, reverse=True):
        held = Counter(splits[ids[0]] for ids in by_key.values())
        if held[split]:
            continue
        spare = [key for key in distinct if held[splits[by_key[key][0]]] > 1]
        if spare:
            chosen = min(spare, key=lambda key: abs(_position(key) - bounds[split]))
            for id_ in by_key[chosen]:
                splits[id_] = split


def _bounds(shares: Mapping[str, float]) -> dict[str, float]:
    """Return where on the unit interval each split ends; the order of splits is fixed, with train last."""
    bounds, end = {}, 0.0
    for split in ("test", "validation"):
        if shares.get(split):
            end += shares[split]
            bounds[split] = end
    return {**bounds, "train": 1.0}


def _split_at(position: float, bounds: Mapping[str, float]) -> str:
    return next(split for split, end in bounds.items() if position < end)


def _position(key: str) -> float:
    return int(hashlib.sha256(key.encode()).hexdigest()[:13], 16) / 16**13


def _key(example: Example, digests: Mapping[str, str]) -> str:
    return f"group {example.group}" if example.group is not None else f"content {digests[example.id]}"


def _found_by(example: Example, digests: Mapping[str, str]) -> str | bytes:
    """Return what differs where the key does, in less memory."""
    if example.group is None and isinstance(digests, Digests):
        return digests.raw(example.id)
    return _key(example, digests)


def _shared_keys(examples: Iterable[Example], digests: Mapping[str, str]) -> set[str | bytes]:
    """Return the keys under which examples of different labels stand."""
    first: dict[str | bytes, Any] = {}
    shared = set()
    for example in examples:
        key = _found_by(example, digests)
        if str(first.setdefault(key, example.label)) != str(example.label):
            shared.add(key)
    return shared
