"""From a data source to the examples of a run: identified, split, checked, and everything left out accounted for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tlcore.contracts import SPLITS, DataSource, Example, Problem
from tlcore.data.compact import Digests, held, place
from tlcore.data.digests import content_digest
from tlcore.data.splits import canonical_split, drawn_splits
from tlcore.errors import DataError, UnreadableError
from tlcore.notes import noted
from tlcore.plugins.validation import examples_of

__all__ = ["Dataset", "are_quantities", "label_names", "require_few_problems", "split_examples"]

SHOWN = 5
MOST_NUMBERS = 20
"""With more different values than this, labels that are all numbers are quantities rather than classes."""


@dataclass
class Dataset:
    """The examples of a run by id, each with its split, and what was left out or is odd."""

    examples: dict[str, Example]
    digests: Mapping[str, str]
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
        before = self.label_counts("train")
        for problem in problems:
            self.examples.pop(problem.id, None)
        self.problems += problems
        gone = before.keys() - self.label_counts("train").keys()
        if gone and not are_quantities(before):
            raise DataError(
                f"every training example of class {min(gone)!r} is unreadable",
                where="\n".join(f"{problem.id}: {problem.reason}" for problem in problems[:SHOWN]),
                hint="replace these files, or take the class out",
            )

    def label_counts(self, split: str) -> Counter[str]:
        """Return how many examples of a split have each label; of an example with several, each is counted."""
        return Counter(name for e in self.examples.values() if e.split == split for name in label_names(e.label))


def label_names(label: Any) -> tuple[str, ...]:
    """Return the names that a label consists of: one, several, or none where it is no text."""
    if isinstance(label, (tuple, list)):
        return tuple(name for name in label if isinstance(name, str))
    return (label,) if isinstance(label, str) else ()


def are_quantities(counts: Mapping[str, int]) -> bool:
    """Say whether labels are values to predict rather than classes: numbers, and hardly any of them twice or too many.

    Few numbers that come again and again, such as stars from 1 to 5, may be classes.
    """
    many = len(counts) > MOST_NUMBERS or (len(counts) > 2 and 2 * len(counts) > sum(counts.values()))
    return many and all(map(_is_number, counts))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def split_examples(
    source: DataSource,
    *,
    shares: Mapping[str, float],
    max_bad: int | float | None,
    leaks: Literal["note", "stop"] = "note",
    found: Iterable[Problem] = (),
) -> Dataset:
    """Read a source and decide which split each example belongs to.

    ``shares`` are those of ``validation`` and ``test`` that are drawn from the training examples where the data names
    no such split; ``leaks`` says what happens where one input stands in several splits.

    Raises:
        DataError: no examples, an id given twice, more skipped examples than ``max_bad`` allows, an empty split, a leak
            that is to stop the run.
    """
    problems = list(found)
    examples: dict[str, Example] = {}
    digests, labels = Digests(), dict[Any, Any]()
    notes: list[str] = []
    with noted(notes):
        for item in examples_of(source):
            if isinstance(item, Problem):
                problems.append(item)
                continue
            if item.id in examples:
                raise DataError(f"the id {item.id!r} stands on two examples", hint="ids must be unique")
            problem = _identify(item, digests)
            if problem is None:
                examples[item.id] = held(item, labels)
            else:
                problems.append(problem)
    if not examples:
        reasons = "\n".join(f"{problem.id}: {problem.reason}" for problem in problems[:SHOWN])
        raise DataError("the data holds no usable example", where=reasons or None, hint="check the data section")
    require_few_problems(problems, len(examples), max_bad)
    dataset = Dataset(examples, digests, problems, notes)
    _assign_splits(dataset, shares)
    _report_equal_inputs(dataset, digests, leaks)
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
            f"{len(skipped)} of {total} examples cannot be used, more than data.max_bad allows ({limit:g})"
            if usable
            else f"none of the {total} examples can be used",
            where="\n".join(shown) + (f"\n… and {len(skipped) - SHOWN} more" if len(skipped) > SHOWN else ""),
            hint=f"mend them, or go on without them: --set data.max_bad={len(skipped)}"
            if usable
            else "see the reasons above: do the keys of `data` say what the inputs are, and does the task take such?",
        )


def _identify(example: Example, digests: Digests) -> Problem | None:
    if example.label is None or example.label != example.label:  # a number that is none, as tables mark gaps
        return Problem(example.id, "it has no label")
    try:
        digests[example.id] = content_digest(example.input)
    except UnreadableError as error:
        return Problem(example.id, str(error))
    return None


def _assign_splits(dataset: Dataset, shares: Mapping[str, float]) -> None:
    names = Counter(example.split for example in dataset.examples.values() if example.split is not None)
    canonical = {name: _canonical(name, count) for name, count in names.items()}
    given = {id_: canonical[e.split] for id_, e in dataset.examples.items() if e.split is not None}
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
        place(example, splits[id_])
    for split, count in dataset.counts().items():
        if not count:
            raise DataError(
                f"the {split} split is empty ({len(dataset.examples)} examples in all, "
                f"{len(set(dataset.digests.values()))} of different content)",
                hint="give more data, or name the split of each example",
            )


def _canonical(name: str, count: int) -> str:
    try:
        return canonical_split(name)
    except DataError as error:
        where = f"the split of {count} example{'s' * (count > 1)}"
        raise DataError(error.what, where=where, hint=error.hint) from error


def _report_equal_inputs(dataset: Dataset, digests: Digests, on_leak: Literal["note", "stop"]) -> None:
    """Say where one input stands in two splits (a leak) or under two labels (a contradiction).

    Raises:
        DataError: there is a leak, and it is to stop the run.
    """
    seen: set[bytes] = set()
    repeated: set[bytes] = set()
    for id_ in dataset.examples:
        (repeated if digests.raw(id_) in seen else seen).add(digests.raw(id_))
    same: dict[bytes, list[Example]] = defaultdict(list)
    for id_ in sorted(dataset.examples) if repeated else ():
        if digests.raw(id_) in repeated:
            same[digests.raw(id_)].append(dataset.examples[id_])
    leaks: list[Problem] = []
    contradictions = repeats = 0
    for twins in same.values():
        repeats += len(twins) - 1
        first = twins[0]
        if other := next((twin for twin in twins if twin.split != first.split), None):
            reason = f"the same input stands in {first.split} and, as {other.id}, in {other.split}"
            leaks.append(Problem(first.id, reason, skipped=False))
        if other := next((twin for twin in twins if twin.label != first.label), None):
            contradictions += 1
            reason = f"the same input is labelled {first.label!r} and, as {other.id}, {other.label!r}"
            dataset.problems.append(Problem(first.id, reason, skipped=False))
    dataset.problems += leaks
    if leaks and on_leak == "stop":
        shown = [f"{problem.id}: {problem.reason}" for problem in leaks[:SHOWN]]
        raise DataError(
            f"{_stand(len(leaks))} in more than one split, and data.leaks is stop",
            where="\n".join(shown) + (f"\n… and {len(leaks) - SHOWN} more" if len(leaks) > SHOWN else ""),
            hint="take them out of all splits but one, or go on with them: --set data.leaks=note",
        )
    if leaks:
        dataset.notes.append(f"LEAK: {_stand(len(leaks))} in more than one split; scores on them flatter the model")
    if contradictions:
        dataset.notes.append(f"{_stand(contradictions)} under more than one label")
    if repeats:
        dataset.notes.append(
            "1 example repeats the input of another"
            if repeats == 1
            else f"{repeats} examples repeat the input of another"
        )


def _stand(count: int) -> str:
    return "1 input stands" if count == 1 else f"{count} inputs stand"


def _report_classes(dataset: Dataset) -> None:
    counts = {split: dataset.label_counts(split) for split in SPLITS}
    if are_quantities(counts["train"]) or len(counts["train"]) > max(50, len(dataset.examples) // 4):
        return  # numbers or texts rather than classes
    for split in ("validation", "test"):
        if absent := sorted(counts["train"].keys() - counts[split].keys()):
            dataset.notes.append(f"no example in {split} of: {', '.join(absent[:SHOWN])}{' …' * (len(absent) > SHOWN)}")
    lonely = sorted(name for name, count in counts["train"].items() if count == 1)
    if lonely:
        dataset.notes.append(f"only one training example of: {', '.join(lonely[:SHOWN])}")
