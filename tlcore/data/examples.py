"""From a data source to the examples of a run: identified, split, checked, and everything left out accounted for."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tlcore.contracts import SPLITS, DataSource, Example, Problem
from tlcore.data.identity import content_digest
from tlcore.data.splitting import canonical_split, drawn_splits
from tlcore.errors import DataError, UnreadableError

__all__ = ["Dataset", "require_few_problems", "split_examples"]

SHOWN = 5


@dataclass
class Dataset:
    """The examples of a run by id, each with its split, and what was left out or is odd."""

    examples: dict[str, Example]
    digests: dict[str, str]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def split(self, name: str) -> list[Example]:
        """Return the examples of one split, ordered by id."""
        return [self.examples[id_] for id_ in sorted(self.examples) if self.examples[id_].split == name]

    def counts(self) -> dict[str, int]:
        """Return how many examples each split has."""
        found = Counter(example.split for example in self.examples.values())
        return {split: found[split] for split in SPLITS}

    def drop(self, problems: Sequence[Problem]) -> None:
        """Leave out examples that turned out to be unreadable.

        Raises:
            DataError: a class lost its last training example by that.
        """
        before = self._training_labels()
        for problem in problems:
            self.examples.pop(problem.id, None)
        self.problems += problems
        after = self._training_labels()
        if gone := before - after:
            raise DataError(
                f"every training example of class {min(gone)!r} is unreadable",
                where="\n".join(f"{problem.id}: {problem.reason}" for problem in problems[:SHOWN]),
                hint="replace these files, or take the class out",
            )

    def _training_labels(self) -> set[str]:
        """Return the names among the training labels; a label of another kind, such as a number, is no class."""
        labels = (example.label for example in self.examples.values() if example.split == "train")
        return {label for label in labels if isinstance(label, str)}


def split_examples(
    source: DataSource, *, shares: Mapping[str, float], max_bad: int | float | None, found: Iterable[Problem] = ()
) -> Dataset:
    """Read a source and decide which split each example belongs to.

    ``shares`` are those of ``validation`` and ``test`` that are drawn from the training examples where the data names
    no such split.

    Raises:
        DataError: no examples, an id given twice, more skipped examples than ``max_bad`` allows, an empty split.
    """
    problems = list(found)
    examples: dict[str, Example] = {}
    digests: dict[str, str] = {}
    for item in source.examples():
        if isinstance(item, Problem):
            problems.append(item)
            continue
        if item.id in examples:
            raise DataError(f"the id {item.id!r} stands on two examples", hint="ids must be unique")
        problem = _identify(item, digests)
        if problem is None:
            examples[item.id] = item
        else:
            problems.append(problem)
    if not examples:
        reasons = "\n".join(f"{problem.id}: {problem.reason}" for problem in problems[:SHOWN])
        raise DataError("the data holds no usable example", where=reasons or None, hint="check the data section")
    require_few_problems(problems, len(examples), max_bad)
    dataset = Dataset(examples, digests, problems)
    _assign_splits(dataset, shares)
    _report_equal_inputs(dataset)
    _report_classes(dataset)
    return dataset


def require_few_problems(problems: Sequence[Problem], usable: int, max_bad: int | float | None) -> None:
    """Stop where more examples are bad than the recipe allows: by default 1 % or 10, whichever is larger.

    Raises:
        DataError: too many; the message shows the first few.
    """
    skipped = [problem for problem in problems if problem.skipped]
    total = usable + len(skipped)
    limit: float
    limit = max(10, total // 100) if max_bad is None else max_bad if isinstance(max_bad, int) else max_bad * total
    if len(skipped) > limit:
        shown = [f"{problem.id}: {problem.reason}" for problem in skipped[:SHOWN]]
        raise DataError(
            f"{len(skipped)} of {total} examples cannot be used, more than data.max_bad allows ({limit:g})",
            where="\n".join(shown) + (f"\n… and {len(skipped) - SHOWN} more" if len(skipped) > SHOWN else ""),
            hint=f"mend them, or go on without them: --set data.max_bad={len(skipped)}",
        )


def _identify(example: Example, digests: dict[str, str]) -> Problem | None:
    if example.label is None:
        return Problem(example.id, "it has no label")
    try:
        digests[example.id] = content_digest(example.input)
    except UnreadableError as error:
        return Problem(example.id, str(error))
    return None


def _assign_splits(dataset: Dataset, shares: Mapping[str, float]) -> None:
    given = {id_: canonical_split(e.split) for id_, e in dataset.examples.items() if e.split is not None}
    if given and len(given) < len(dataset.examples):
        missing = next(id_ for id_ in dataset.examples if id_ not in given)
        raise DataError(
            f"{len(dataset.examples) - len(given)} examples name no split while others do, such as {missing!r}",
            hint="give each example a split, or none",
        )
    splits = given or dict.fromkeys(dataset.examples, "train")
    wanted = {split: share for split, share in shares.items() if split not in splits.values()}
    pool = [example for id_, example in dataset.examples.items() if splits[id_] == "train"]
    if wanted and pool:
        splits = {**splits, **drawn_splits(pool, dataset.digests, wanted)}
        drawn = " and ".join(f"{share:.0%} for {split}" for split, share in wanted.items())
        dataset.notes.append(f"drawn from the training examples by a hash of their content: {drawn}")
    for id_, example in dataset.examples.items():
        dataset.examples[id_] = dataclasses.replace(example, split=splits[id_])
    for split, count in dataset.counts().items():
        if not count:
            raise DataError(
                f"the {split} split is empty ({len(dataset.examples)} examples in all)",
                hint="give more data, or name the split of each example",
            )


def _report_equal_inputs(dataset: Dataset) -> None:
    """Say where one input stands in two splits (a leak) or under two labels (a contradiction)."""
    same: dict[str, list[Example]] = defaultdict(list)
    for id_ in sorted(dataset.examples):
        same[dataset.digests[id_]].append(dataset.examples[id_])
    leaks = contradictions = repeats = 0
    for twins in same.values():
        if len(twins) == 1:
            continue
        repeats += len(twins) - 1
        first = twins[0]
        if other := next((twin for twin in twins if twin.split != first.split), None):
            leaks += 1
            reason = f"the same input stands in {first.split} and, as {other.id}, in {other.split}"
            dataset.problems.append(Problem(first.id, reason, skipped=False))
        if other := next((twin for twin in twins if twin.label != first.label), None):
            contradictions += 1
            reason = f"the same input is labelled {first.label!r} and, as {other.id}, {other.label!r}"
            dataset.problems.append(Problem(first.id, reason, skipped=False))
    if leaks:
        dataset.notes.append(f"LEAK: {leaks} inputs stand in more than one split; scores on them flatter the model")
    if contradictions:
        dataset.notes.append(f"{contradictions} inputs stand under more than one label")
    if repeats:
        dataset.notes.append(f"{repeats} examples repeat the input of another")


def _report_classes(dataset: Dataset) -> None:
    labels = {split: Counter(str(e.label) for e in dataset.split(split)) for split in SPLITS}
    if any(not isinstance(example.label, str) for example in dataset.examples.values()):
        return  # a task of another kind: its labels are no classes
    if len(labels["train"]) > max(50, len(dataset.examples) // 4):
        return  # texts or numbers rather than classes
    for split in ("validation", "test"):
        if absent := sorted(set(labels["train"]) - set(labels[split])):
            dataset.notes.append(f"no example in {split} of: {', '.join(absent[:SHOWN])}{' …' * (len(absent) > SHOWN)}")
    lonely = sorted(name for name, count in labels["train"].items() if count == 1)
    if lonely:
        dataset.notes.append(f"only one training example of: {', '.join(lonely[:SHOWN])}")
