"""Hostile tables, data sets and recipes: nothing in them is executed, and no path leads outside."""

import gzip
import json

import pyarrow
import pytest

from tests.support.hostile import (
    CANARY,
    DEEP,
    NESTED,
    PICKLED,
    PIPE,
    SCRIPT,
    ZEROS,
    Case,
    accepted,
    more_rows_than_bytes,
    parquet_table,
    refused,
)

pytestmark = pytest.mark.slow


def evaluated(work, data):
    return ["evaluate", str(work.good / "run"), "--set", f"data={json.dumps(data)}", "--out", "out"]


def table(content, name="t.parquet", **keys):
    """Return a builder: evaluate a good run on a table."""
    return lambda work: evaluated(work, {"source": "table", "path": str(work.put(name, content))} | keys)


def data_set(files):
    """Return a builder: evaluate a good run on a folder of files."""

    def build(work):
        for name, content in files.items():
            work.put(f"set/{name}", content)
        return evaluated(work, {"source": "dataset", "path": str(work.folder / "set")})

    return build


def features(text, label):
    return {"info": {"features": {"text": text, "label": label}}}


def recipe(text):
    return lambda work: ["recipe", "check", str(work.put("recipe.yaml", text))]


def run(content):
    return lambda work: ["run", str(work.put("recipe.yaml", content))]


def named_recipe(work):
    return recipe((work.good / "recipe.yaml").read_text() + "name: ../../escaped\n")(work)


def extension(name):
    """Return a Parquet file with a column whose type is a pickle."""
    storage = {"ARROW:extension:name": name, "ARROW:extension:metadata": PICKLED}
    fields = [pyarrow.field("text", pyarrow.string(), metadata=storage), pyarrow.field("label", pyarrow.string())]
    return parquet_table(pyarrow.table([["good film", "not at all"], ["good", "bad"]], schema=pyarrow.schema(fields)))


EXPONENTIAL = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
EXPONENTIAL += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
OUTSIDE = [
    "../../../../etc/passwd",
    "/etc/passwd",
    "..\\..\\x",
    "~/x",
    "%2e%2e/x",
    "a\0b",
    "//host/x",
    "a" * 5000,
]
PATHS = "\n".join(json.dumps({"path": name, "label": "good"}) for name in OUTSIDE)
ROWS = {"text": ["good film", "not at all"] * 5, "label": ["good", "bad"] * 5}
STRING = {"_type": "Value", "dtype": "string"}
ARRAY = {"_type": "Array2D", "shape": [10**9, 10**9], "dtype": "x"}
PANDAS_COLUMN = {"name": "x", "pandas_type": "object", "numpy_type": "object", "metadata": PICKLED.hex()}
PANDAS = {"columns": [PANDAS_COLUMN], "index_columns": [5]}
# What the Hugging Face library writes into the metadata of a Parquet file, by its kind of harm.
FEATURES = {
    "a number": 5,
    "deep JSON": {"info": {"features": DEEP}},
    "an unknown type": features({"_type": "os.system"}, {"_type": "__class__"}),
    "images": features({"_type": "Image"}, STRING),
    "a list": {"info": {"features": [1, 2]}},
    "code": features({"_type": "Value", "dtype": "__import__('os').mkdir('x')"}, {"_type": "ClassLabel", "names": 5}),
    "huge arrays": features(ARRAY, {"_type": "ClassLabel", "names": ["a"] * 10**6}),
}
READ_OR_REFUSED = {
    f"features of {name}": data_set({"train.parquet": parquet_table(ROWS, {"huggingface": json.dumps(about)})})
    for name, about in FEATURES.items()
} | {
    "extension type of datasets": data_set(
        {"train.parquet": extension("datasets.features.features.Array2DExtensionType")}
    ),
    "metadata of pandas": table(parquet_table(ROWS, {"pandas": json.dumps(PANDAS)})),
}
REFUSED = {
    "Parquet of pickles": (table(parquet_table({"text": [PICKLED] * 4, "label": ["good", "bad"] * 2})), ""),
    "CSV that is a pickle": (table(PICKLED, "t.csv"), ""),
    "compressed pickle": (table(gzip.compress(PICKLED), "t.csv.gz"), ""),
    "gzip named CSV": (table(b"\x1f\x8b" + bytes(100), "t.csv"), "compressed by gzip"),
    "table that is a pipe": (table(PIPE, "t.csv"), "t.csv"),
    "endless table": (table(ZEROS, "t.csv"), "t.csv"),
    "more rows than bytes": (table(more_rows_than_bytes("text", "label")), "rows"),
    "paths of other folders": (table(PATHS, "t.jsonl", input="path", input_is="path"), "leads out of"),
    "data set that is endless": (data_set({"train.parquet": ZEROS}), ""),
    "data set that is a pipe": (data_set({"train.parquet": PIPE}), ""),
    "endless state": (data_set({"state.json": ZEROS}), ""),
    "nested state": (data_set({"state.json": NESTED}), "cannot be read"),
    "one file of 99,999": (
        data_set({"train-00000-of-99999.parquet": parquet_table({"text": ["good"], "label": ["good"]})}),
        "",
    ),
    "data set of a parent folder": (
        data_set({"state.json": {"_data_files": [{"filename": "../../escaped.arrow"}]}, "dataset_info.json": {}}),
        "refused: it names something outside",
    ),
    "data set with a script": (data_set({"set.py": SCRIPT}), "holds no data set"),
    "data set of pickles": (
        data_set(dict.fromkeys(("state.json", "dataset_info.json", "dataset_dict.json", "data.arrow"), PICKLED)),
        "cannot be read",
    ),
}
RECIPES = {
    "recipe with a tag": (recipe(f"task: !!python/object/apply:os.mkdir ['{CANARY}']\n"), "is not allowed"),
    "exponential recipe": (recipe("\n".join(EXPONENTIAL)), "too many"),
    "recipe that is a pickle": (run(PICKLED), ""),
    "recipe that is a pipe": (run(PIPE), ""),
    "run name that is a path": (named_recipe, "name"),
}
CASES = {name: Case(build, (0, 3)) for name, build in READ_OR_REFUSED.items()}
CASES |= {name: refused(build, message, 3) for name, (build, message) in REFUSED.items()}
CASES |= {name: refused(build, message, 2) for name, (build, message) in RECIPES.items()}
CASES |= {"extension type of pyarrow": accepted(table(extension("arrow.py_extension_type")))}


@pytest.mark.parametrize("case", CASES)
def test_hostile_data_executes_nothing(case, check):
    check(CASES[case])
