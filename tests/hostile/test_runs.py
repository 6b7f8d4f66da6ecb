"""Hostile folders of finished runs, where they are reproduced, compared, listed and evaluated."""

import pyarrow
import pytest
from pyarrow import parquet

from tests.support.hostile import (
    DEEP,
    GONE,
    NESTED,
    PIPE,
    ZEROS,
    Case,
    accepted,
    edit,
    more_rows_than_bytes,
    parquet_table,
    refused,
)

pytestmark = pytest.mark.slow


def reproduced(name, content):
    return lambda work: ["reproduce", str(work.copy("run", {name: content})), "--out", "out"]


def compared(name, content, *options):
    return lambda work: ["compare", str(work.good / "run"), str(work.copy("run", {name: content})), *options]


def compared_predictions(content):
    return compared("predictions.parquet", content)


def predicted(value):
    """Return a builder: compare a run whose predictions all have one value."""

    def write(path):
        columns = parquet.read_table(path).to_pydict()
        parquet_table(columns | {"prediction": [value] * len(columns["id"])})(path)

    return compared_predictions(write)


def listed(files, *options):
    def build(work):
        work.copy("run", files)
        return ["runs", str(work.folder), *options]

    return build


def evaluated(manifest):
    return lambda work: ["evaluate", str(work.copy("run", {"manifest.json": manifest})), "--out", "out"]


def evaluated_on_a_table(work):
    manifest = edit(recipe__data={"source": "data/table", "input": {"a": 1}, "label": [1]})
    return [*evaluated(manifest)(work), "--data", str(work.good / "reviews.csv")]


COLUMNS = ("id", "split", "label", "prediction")
DUPLICATE = pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 5, [*COLUMNS, "id"])
LISTS = {"id": [["a"]], "split": ["test"], "label": ["x"], "prediction": ["y"]}
TABLES = {"id": ["a"], "split": ["test"], "label": [{"a": 1}], "prediction": [{"b": 1}]}
CONTROL_CHARACTERS = {"recipe__name": "\x1b[2J", "recipe__\x1b[31mx": "<script>", "recipe__list": [1, "\x9b2J"]}
INVALID_METRICS = {"selection": 5, "test": [1]}
INVALID_RECIPE = {"task": 5, "backbone": [1], "adapter": "x", "data": 7, "name": ["\x1b[2J"]}
INVALID_RUN = {
    "metrics.json": INVALID_METRICS,
    "manifest.json": {"seconds": [1], "started": {"a": 1}, "recipe": INVALID_RECIPE},
}
CONTROL_CHARACTERS_RUN = {
    "metrics.json": edit(selection={"metric": "\x1b[2Jx"}, test={"\x1b[2Jx": 1.0, "b": float("nan")}),
    "manifest.json": edit(started="\x1b[2J"),
}
INVALID_EVALUATION = {"recipe__data": 7, "recipe__train": [1], "recipe__evil": "os.system"}
MISTAKES = {"recipe__evaluate__mistakes": 10**12, "recipe__evaluate__report": "html"}
REPORT = ("--report", "report.html")
REPRODUCED = {
    "nested manifest": reproduced("manifest.json", NESTED),
    "manifest that is a pipe": reproduced("manifest.json", PIPE),
    "endless manifest": reproduced("manifest.json", ZEROS),
    "working folder that is a number": reproduced("manifest.json", edit(place=5)),
    "working folder with NUL": reproduced("manifest.json", edit(place="a\0b")),
    "backbone that is a number": reproduced("manifest.json", edit(backbone=5)),
    "nested metrics": reproduced("metrics.json", NESTED),
    "missing metrics": reproduced("metrics.json", GONE),
    "history of numbers": reproduced("history.jsonl", "5\n6\n"),
    "missing predictions": reproduced("predictions.parquet", GONE),
}
COMPARED = {
    "nested metrics": compared("metrics.json", NESTED),
    "endless metrics": compared("metrics.json", ZEROS),
    "damaged predictions": compared_predictions(b"PAR1" * 10),
    "duplicate column": compared_predictions(parquet_table(DUPLICATE)),
    "missing column": compared_predictions(parquet_table({"id": ["a"], "split": ["test"]})),
    "ids that are lists": compared_predictions(parquet_table(LISTS)),
    "labels that are tables": compared_predictions(parquet_table(TABLES)),
    "predictions that are null": predicted(None),
    "predictions that are NaN": predicted(float("nan")),
    "more rows than bytes": compared_predictions(more_rows_than_bytes(*COLUMNS)),
}
CASES = {f"reproduce: {name}": refused(build) for name, build in REPRODUCED.items()}
CASES |= {f"compare: {name}": Case(build, (2, 3, 4)) for name, build in COMPARED.items()}
CASES |= {
    "compare: invalid metrics": accepted(compared("metrics.json", INVALID_METRICS)),
    "compare: control characters": accepted(compared("manifest.json", edit(**CONTROL_CHARACTERS), *REPORT)),
    "compare: deep recipe": Case(compared("manifest.json", edit(recipe__x=DEEP), *REPORT), (0, 2, 3, 4)),
    "list: invalid types": accepted(listed(INVALID_RUN)),
    "list: seconds that are a table": accepted(listed({"manifest.json": edit(seconds={"a": "b"})})),
    "list: huge number": refused(
        listed({"metrics.json": edit(test__macro_f1=10**400)}, "--sort", "macro_f1"), "no run has", 2
    ),
    "list: manifest that is a pipe": accepted(listed({"manifest.json": PIPE}, "--json")),
    "list: endless metrics": accepted(listed({"metrics.json": ZEROS})),
    "list: control characters": accepted(listed(CONTROL_CHARACTERS_RUN)),
    "evaluate: nested manifest": refused(evaluated(NESTED)),
    "evaluate: manifest that is a pipe": refused(evaluated(PIPE)),
    "evaluate: endless manifest": refused(evaluated(ZEROS)),
    "evaluate: invalid manifest": Case(evaluated({"backbone": 5, "seconds": "x", "versions": [1], "data": 3}), (0, 4)),
    "evaluate: invalid recipe": refused(evaluated(edit(**INVALID_EVALUATION)), code=2),
    "evaluate: invalid columns": refused(evaluated_on_a_table, code=2),
    "evaluate: huge number of resamples": Case(evaluated(edit(recipe__evaluate__resamples=10**12)), (2, 4)),
    "evaluate: huge number of mistakes": Case(evaluated(edit(**MISTAKES)), (0, 2, 4)),
}


@pytest.mark.parametrize("case", CASES)
def test_hostile_run_executes_nothing(case, check):
    check(CASES[case])
