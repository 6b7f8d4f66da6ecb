"""Are two runs really different? Their stored predictions for the same test examples, compared in pairs."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_tools.finished_runs import StoredRun
from tlcore.errors import DataError, UsageError
from tlcore.mappings import flatten
from tlcore.randomness import derived_seed

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

__all__ = ["Comparison", "Difference", "compared", "recipe_differences", "verdict"]

RESAMPLES = 2000
TAILS = (0.025, 0.975)


@dataclass(frozen=True)
class Difference:
    """One metric of a run beside the first run's, on the same examples.

    ``low`` and ``high`` hold 95 % of the differences over resampled examples; ``p`` is how often resampling turns the
    sign, in both directions. ``only_first`` and ``only_this`` count examples that only one of them gets right.
    """

    run: Path
    metric: str
    first: float
    value: float
    low: float
    high: float
    p: float
    only_first: int
    only_this: int

    @property
    def real(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Comparison:
    """All runs on the examples that they share."""

    first: Path
    count: int
    metric: str
    higher_is_better: bool
    values: Mapping[Path, float]
    differences: Sequence[Difference]


def compared(runs: Sequence[StoredRun], *, shared: bool = False) -> Comparison:
    """Compare runs with the first one by the paired bootstrap (Efron and Tibshirani, 1993, chapter 16).

    With ``shared``, runs whose test splits differ are compared on the examples that all of them have.

    Raises:
        UsageError: fewer than two runs, one without a result, or different kinds of predictions.
        DataError: different test splits.
    """
    if len(runs) < 2:
        raise UsageError("there is nothing to compare with one run", hint="give two runs or more; `tl runs` lists them")
    for run in runs:
        if run.fault:
            raise UsageError(f"{run.folder} has no result: {run.fault}")
    tables = [_predictions(run.folder) for run in runs]
    ids = _common_ids(runs, tables, shared)
    truth = [tables[0][id_][0] for id_ in ids]
    for run, table in zip(runs[1:], tables[1:], strict=True):
        other = next((id_ for id_, label in zip(ids, truth, strict=True) if table[id_][0] != label), None)
        if other is not None:
            raise DataError(
                f"example {other!r} is labelled {table[other][0]!r} in {run.folder}, but not in {runs[0].folder}",
                hint="compare runs on the same data",
            )
    guesses = [[table[id_][1] for id_ in ids] for table in tables]
    metric, higher, score, right = _measure(truth, guesses)
    import numpy

    drawn = numpy.random.default_rng(derived_seed(0, "comparison"))
    samples = drawn.integers(len(ids), size=(RESAMPLES, len(ids)))
    spread = [numpy.array([score(n, sample) for sample in samples]) for n in range(len(runs))]
    every = numpy.arange(len(ids))
    values = [score(n, every) for n in range(len(runs))]
    differences = [
        _difference(run.folder, metric, values[0], values[n], spread[n] - spread[0], right(0), right(n))
        for n, run in enumerate(runs)
        if n
    ]
    return Comparison(
        runs[0].folder, len(ids), metric, higher, dict(zip([r.folder for r in runs], values, strict=True)), differences
    )


def recipe_differences(runs: Sequence[StoredRun]) -> dict[str, list[Any]]:
    """Return each key of the recipes that is not the same in all runs, with its value in each."""
    flat = [flatten(run.recipe) for run in runs]
    keys = list(dict.fromkeys(key for one in flat for key in one))
    found = {key: [one.get(key) for one in flat] for key in keys}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values)}


def _difference(
    run: Path, metric: str, first: float, value: float, spread: Any, first_right: Any, this_right: Any
) -> Difference:
    import numpy

    low, high = numpy.quantile(spread, TAILS)
    turned = min(int((spread <= 0).sum()), int((spread >= 0).sum()))
    p = min(1.0, 2 * (turned + 1) / (len(spread) + 1))
    only_first, only_this = int((first_right & ~this_right).sum()), int((this_right & ~first_right).sum())
    return Difference(run, metric, first, value, float(low), float(high), p, only_first, only_this)


def _predictions(folder: Path) -> dict[str, tuple[Any, Any]]:
    """Return label and prediction of each test example by its id."""
    import pyarrow
    from pyarrow import parquet

    path = folder / "predictions.parquet"
    try:
        if not path.is_file() or parquet.read_metadata(path).num_rows > path.stat().st_size:
            raise ValueError("it is no table of predictions")
        table = parquet.read_table(path, columns=["id", "split", "label", "prediction"], partitioning=None).to_pydict()
    except (OSError, KeyError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {type(error).__name__}", hint="evaluate the run again") from error
    rows = [row for row in zip(*table.values(), strict=True) if row[1] == "test"]
    for id_, _, label, prediction in rows:
        if not isinstance(id_, str) or not _is_answer(label) or not _is_answer(prediction):
            raise DataError(f"{path} holds something else than predictions", where=reprlib.repr(id_))
    return {id_: (label, prediction) for id_, _, label, prediction in rows}


def _is_answer(value: Any) -> bool:
    """Say whether this is what a task may have predicted: a class, a number, or names of labels."""
    if isinstance(value, (list, tuple)):
        return all(isinstance(one, str) for one in value)
    return isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))


def _common_ids(runs: Sequence[StoredRun], tables: Sequence[Mapping[str, Any]], shared: bool) -> list[str]:
    common = set(tables[0]).intersection(*tables[1:])
    if not common:
        raise DataError("the runs have no test example in common", hint="compare runs on the same data")
    if not shared and any(len(table) != len(common) for table in tables):
        counts = ", ".join(f"{run.folder}: {len(table)}" for run, table in zip(runs, tables, strict=True))
        raise DataError(
            f"the runs were tested on different examples; {len(common)} are in all of them",
            where=counts,
            hint="compare on those alone: --shared; or give the runs the same data and seed",
        )
    return sorted(common)


def _measure(
    truth: Sequence[Any], guesses: Sequence[Sequence[Any]]
) -> tuple[str, bool, Callable[[int, NDArray[numpy.int64]], float], Callable[[int], NDArray[numpy.bool_]]]:
    """Return the metric's name, whether more is better, its value for a run on a sample, and what a run gets right."""
    import numpy

    kinds = {_kind(guess) for run in guesses for guess in run}
    if len(kinds) != 1:
        raise UsageError(
            f"the runs predict different things: {' and '.join(sorted(kinds))}", hint="compare runs of one task"
        )
    if kinds == {"numbers"}:
        errors = [
            numpy.abs(numpy.array(run, dtype=float) - numpy.array([float(label) for label in truth])) for run in guesses
        ]
        return "mae", False, lambda n, rows: float(errors[n][rows].mean()), lambda n: errors[n] == numpy.min(errors, 0)
    if kinds == {"sets of labels"}:
        names = sorted({name for one in [*truth, *(g for run in guesses for g in run)] for name in one})
        marks = [_marked(run, names) for run in guesses]
        true = _marked(truth, names)
        return (
            "macro_f1",
            True,
            lambda n, rows: _macro_f1_of_sets(true[rows], marks[n][rows]),
            lambda n: (true == marks[n]).all(axis=1),
        )
    classes = sorted({str(one) for one in truth} | {str(guess) for run in guesses for guess in run})
    place = {name: n for n, name in enumerate(classes)}
    right = numpy.array([place[str(label)] for label in truth])
    coded = [numpy.array([place[str(guess)] for guess in run]) for run in guesses]
    return (
        "macro_f1",
        True,
        lambda n, rows: _macro_f1(right[rows], coded[n][rows], len(classes)),
        lambda n: right == coded[n],
    )


def _kind(guess: Any) -> str:
    if isinstance(guess, (list, tuple)):
        return "sets of labels"
    return "numbers" if isinstance(guess, (int, float)) else "classes"


def _macro_f1(truth: Any, guesses: Any, classes: int) -> float:
    import numpy

    from tlcore.tasks.metrics import from_confusion

    confusion = numpy.bincount(truth * classes + guesses, minlength=classes * classes).reshape(classes, classes)
    hits = confusion.diagonal().astype(float)
    return from_confusion(hits, confusion.sum(axis=1).astype(float), confusion.sum(axis=0).astype(float)).macro_f1()


def _marked(sets: Sequence[Any], names: Sequence[str]) -> Any:
    import numpy

    return numpy.array([[name in one for name in names] for one in sets], dtype=bool).reshape(len(sets), len(names))


def _macro_f1_of_sets(truth: Any, guesses: Any) -> float:
    from tlcore.tasks.metrics import from_confusion

    hits = (truth & guesses).sum(axis=0).astype(float)
    return from_confusion(hits, truth.sum(axis=0).astype(float), guesses.sum(axis=0).astype(float)).macro_f1()


def verdict(one: Difference, comparison: Comparison) -> str:
    """Return in words whether a run is better than the first."""
    p = f"p = {one.p:.3f}" if one.p >= 0.001 else "p < 0.001"
    pairs = f"{one.only_this} right that the first misses, {one.only_first} the other way round"
    if not one.real:
        return f"no difference shown ({p}); {pairs}"
    better = (one.value > one.first) == comparison.higher_is_better
    return f"{'better' if better else 'worse'}, and really so ({p}); {pairs}"
