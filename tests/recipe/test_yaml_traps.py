"""Traps of YAML, each as a file: the value is what was meant, or a message says where the trap is."""

import os
import threading

import pytest

from tlcore.errors import RecipeError, TLError, UsageError
from tlcore.plugins.host import PluginHost
from tlcore.plugins.registry import Registry
from tlcore.recipe import read_recipe

REGISTRY = Registry(PluginHost(environ={"TL_PLUGINS": ""}))
RECIPE = """\
task: text-classification
data:
  source: table
  path: a.csv
  filter: {kind: %s}
backbone: {name: bert, weights: here}
adapter: feature-extraction
train:
  lr: %s
  epochs: %s
  fit_memory: %s
"""
LINES = {"text": 5, "number": 9, "count": 10, "truth": 11}
USUAL = {"text": "x", "number": "0.1", "count": "3", "truth": "true"}

KEPT = [
    ("text", "no", "no"),
    ("text", "off", "off"),
    ("text", "y", "y"),
    ("text", "True", "True"),
    ("text", "012", "012"),
    ("text", "0o14", "0o14"),
    ("text", "1:30", "1:30"),
    ("text", "1e-4", "1e-4"),
    ("text", "1_000", "1_000"),
    ("text", "1.50", "1.50"),
    ("text", ".inf", ".inf"),
    ("text", "NaN", "NaN"),
    ("text", "2024-05-01", "2024-05-01"),
    ("text", "2024-05-01 10:00:00", "2024-05-01 10:00:00"),
    ("text", "0xFF", "0xFF"),
    ("text", "=", "="),
    ("text", "'null'", "null"),
    ("text", "''", ""),
    ("text", "a#b", "a#b"),
    ("text", "'it''s'", "it's"),
    ("text", r'"\u00e9\n"', "é\n"),
    ("text", "&a no", "no"),
    ("text", "+49 30 1", "+49 30 1"),
    ("text", "\u4e16\U0001f697", "\u4e16\U0001f697"),
    ("number", "1e-4", 1e-4),
    ("number", "1.e-4", 1e-4),
    ("number", "+.5", 0.5),
    ("number", "1", 1.0),
    ("number", "find", "find"),
    ("number", "~", None),
    ("number", "null", None),
    ("count", "0x10", 16),
    ("count", "0o10", 8),
    ("truth", "false", False),
]
"""What a value is written as, and what it means where the key holds this kind of value."""

REFUSED = [
    ("text", "~", "expected"),
    ("text", "", "expected"),
    ("text", "!!str 1", "the tag"),
    ("text", "!!binary aGVsbG8=", "the tag"),
    ("text", "!!python/object/apply:os.system [exit]", "the tag"),
    ("text", "!!python/name:os.system ''", "the tag"),
    ("text", "*nobody", "undefined alias"),
    ("text", "@home", "YAML"),
    ("text", "`x`", "YAML"),
    ("text", "a: b", "expected"),
    ("number", "012", "in digits"),
    ("number", "1_000.5", "in digits"),
    ("number", "1:30", "in digits"),
    ("number", "0,1", "expected"),
    ("number", ".inf", "finite"),
    ("number", "-.INF", "finite"),
    ("number", ".nan", "finite"),
    ("number", "nan", "finite"),
    ("number", "1e400", "expected"),
    ("number", "-0.1", "> 0"),
    ("number", "true", "expected"),
    ("number", "'0.1'", "without quotes"),
    ("number", "2024-05-01", "expected"),
    ("number", "0.1 # a comment\n  lr: 0.2", "duplicate key 'lr' (lines 9 and 10)"),
    ("count", "3.0", "whole number"),
    ("count", "1e3", "whole number"),
    ("count", "012", "in digits"),
    ("count", "1_000", "in digits"),
    ("count", "1:30", "in digits"),
    ("count", "yes", "whole number"),
    ("count", "0", ">= 1"),
    ("count", "99999999999999999999", "whole number"),
    ("count", "[3]", "got a list"),
    ("truth", "no", "true or false"),
    ("truth", "on", "true or false"),
    ("truth", "True", "true or false"),
    ("truth", "0", "true or false"),
    ("truth", "'true'", "without quotes"),
]


def recipe_with(kind: str, written: str) -> str:
    return RECIPE % tuple({**USUAL, kind: written}.values())


def read(tmp_path, content: str | bytes):
    path = tmp_path / "x.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_recipe(path, REGISTRY)


def fault(tmp_path, content: str | bytes) -> str:
    """Return the only fault of a recipe, from its line on."""
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, content)
    assert caught.value.exit_code == 2
    [one] = caught.value.faults
    assert os.listdir(tmp_path) == ["x.yaml"]
    return str(one).removeprefix(f"{tmp_path / 'x.yaml'}:")


@pytest.mark.parametrize(("kind", "written", "meant"), KEPT, ids=str)
def test_a_value_is_what_was_meant(tmp_path, kind, written, meant):
    recipe = read(tmp_path, recipe_with(kind, written))
    train = recipe.train
    found = {
        "text": recipe.data.source.options.filter["kind"], "number": train.lr, "count": train.epochs,
        "truth": train.fit_memory,
    }  # fmt: skip
    assert found[kind] == meant
    assert type(found[kind]) is type(meant)


@pytest.mark.parametrize(("kind", "written", "words"), REFUSED, ids=str)
def test_a_value_that_may_mean_something_else_is_refused_where_it_stands(tmp_path, kind, written, words):
    told = fault(tmp_path, recipe_with(kind, written))
    assert words in told
    assert told.partition(":")[0] in (str(LINES[kind]), str(LINES[kind] + written.count("\n")))


GOOD = recipe_with("text", "x")
FILES = {
    "empty": (b"", 1, "empty"),
    "only comments": (b"# a\n\n# b\n", 1, "empty"),
    "only a document's start": (b"---\n", 1, "empty"),
    "null": (b"~", 1, "empty"),
    "a list in place of a section": (b"- task: x\n", 1, "got a list"),
    "a text in place of a section": (b"task\n", 1, "got 'task'"),
    "UTF-16 with its mark": (GOOD.encode("utf-16"), 1, "not UTF-8"),
    "UTF-16 without a mark": (GOOD.encode("utf-16-le"), 1, "U+0000"),
    "UTF-32": (GOOD.encode("utf-32"), 1, "not UTF-8"),
    "Latin-1": (GOOD.encode() + "# größer\n".encode("latin-1"), 12, "not UTF-8"),
    "a NUL byte": (GOOD.encode() + b"name: a\0b\n", 12, "U+0000"),
    "an ESC": (GOOD.encode() + b"name: \x1b[31m\n", 12, "U+001B"),
    "a lonely half of a character": (GOOD.encode() + b'name: "\\ud83d"\n', 12, "not valid Unicode"),
    "a mark in the middle": (GOOD.encode() + "\ufeffseed: 1\n".encode(), 12, "unknown key '\\ufeffseed'"),
    "tabs for spaces": (GOOD.replace("  epochs", "\tepochs").encode(), 10, "a tab"),
    "a tab after spaces": (GOOD.replace("  epochs", "  \tepochs").encode(), 10, "YAML"),
    "indented too far": (GOOD.replace("  epochs", "   epochs").encode(), 10, "YAML"),
    "not indented enough": (GOOD.replace("  epochs", " epochs").encode(), 10, "YAML"),
    "not indented at all": (GOOD.replace("  fit_memory", "fit_memory").encode(), 11, "it belongs to train"),
    "a colon without a space": (GOOD.replace("epochs: 3", "epochs:3").encode(), 11, "YAML"),
    "two documents": ((GOOD + "---\n" + GOOD).encode(), 12, "second document"),
    "a directive": (b"%YAML 1.1\n---\n" + GOOD.replace("epochs: 3", "epochs: 012").encode(), 12, "in digits"),
    "a directive of another version": (b"%YAML 3.0\n---\n" + GOOD.encode(), 1, "YAML"),
    "a directive of tags": (b"%TAG ! tag:x.org,2000:\n---\n" + GOOD.encode() + b"name: !x a\n", 14, "the tag"),
    "a directive without a document": (b"%YAML 1.2\n" + GOOD.encode(), 2, "YAML"),
    "a key twice": (GOOD.encode() + b"task: text-regression\n", 12, "duplicate key 'task' (lines 1 and 12)"),
    "a key twice, deep": (GOOD.replace("kind: x", "kind: x, kind: y").encode(), 5, "duplicate key 'kind'"),
    "a key twice, in other quotes": (GOOD.encode() + b"'seed': 1\nseed: 2\n", 13, "duplicate key 'seed'"),
    "a merge key": (GOOD.replace("  epochs", "  <<: {views: 2}\n  epochs").encode(), 10, "merge key"),
    "a merge key of an alias": (
        GOOD.replace("train:\n", "features: &f {memory: 1}\ntrain:\n  <<: *f\n").encode(), 10, "merge key"
    ),
    "a complex key": (GOOD.encode() + b"? [a, b]\n: 1\n", 12, "a single word"),
    "a section as a key": (GOOD.encode() + b"? {a: b}\n: 1\n", 12, "a single word"),
    "a number as a key": (GOOD.encode() + b"1: 2\n", 12, "unknown key '1'"),
    "null as a key": (GOOD.encode() + b"~: 2\n", 12, "unknown key '~'"),
    "no as a key": (GOOD.encode() + b"no: 2\n", 12, "unknown key 'no'"),
    "an empty key": (GOOD.encode() + b": 2\n", 12, "YAML"),
    "a key in capitals": (GOOD.replace("epochs", "Epochs").encode(), 10, "did you mean 'epochs'?"),
    "a key with a hyphen": (GOOD.replace("fit_memory", "fit-memory").encode(), 11, "did you mean 'fit_memory'?"),
    "a quote that does not end": (GOOD.encode() + b"name: 'abc\n", 13, "YAML"),
    "a bracket that does not end": (GOOD.encode() + b"track: [mlflow\n", 13, "YAML"),
    "a list that goes over into a section": (GOOD.encode() + b"track:\n- mlflow\nname: a\n x: b\n", 15, "YAML"),
    "a list and keys in one": (GOOD.encode() + b"track: [a: b, mlflow]\n", 12, "got a section"),
    "an alias to itself": (GOOD.encode() + b"track: &a [*a]\n", 12, "too deep"),
    "an anchor twice": (GOOD.encode() + b"name: &a x\nseed: &a 1\n", 13, "YAML"),
    "300 KB": (GOOD.encode() + b"#" * 300_000, 1, "256 KiB"),
    "300 KB of letters of three bytes": (GOOD.encode() + b"# " + "世".encode() * 100_000, 1, "256 KiB"),
    "a line of 200 KB": (GOOD.encode() + b"name: " + b"x" * 200_000, 12, "cannot be a folder's name"),
    "a key of 200 KB": (GOOD.encode() + b"? " + b"x" * 200_000 + b"\n: 1", 12, "unknown key"),
    "60 deep": (GOOD.encode() + b"track: " + b"[" * 60 + b"]" * 60, 12, "too deep"),
    "60 deep in lines": (b"".join(b" " * n + b"a:\n" for n in range(60)), 50, "too deep"),
    "10,001 values": (GOOD.encode() + b"track: [" + b"1," * 10_001 + b"]", 12, "too many"),
    "1,001 aliases": (GOOD.encode() + b"name: &a x\ntrack: [" + b"*a," * 1001 + b"]", 13, "too many"),
    "a billion laughs": (
        b"a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 10)), None,
        "too many",
    ),
    "JSON with a key twice": (b'{"task": "a",\n"task": "b"}', None, "duplicate key 'task' (lines 1 and 2)"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "line", "words"), FILES.values(), ids=FILES)
def test_a_file_with_a_trap_is_refused_with_its_line(tmp_path, content, line, words):
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, content)
    told = [str(one).removeprefix(f"{tmp_path / 'x.yaml'}:") for one in caught.value.faults]
    meant = [one for one in told if words in one]
    assert meant, told
    assert line is None or len(told) == 1, told
    assert line is None or meant[0].partition(":")[0] == str(line), meant
    assert len(meant[0]) < 1000
    assert os.listdir(tmp_path) == ["x.yaml"]


HARMLESS = {
    "a byte order mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "ends of lines of Windows": GOOD.replace("\n", "\r\n").encode(),
    "ends of lines of an old Mac": GOOD.replace("\n", "\r").encode(),
    "a start and an end of the document": b"---\n" + GOOD.encode() + b"...\n",
    "the version of YAML": b"%YAML 1.2\n---\n" + GOOD.encode(),
    "no end of the last line": GOOD.rstrip().encode(),
    "an empty section": GOOD.encode() + b"evaluate:\n",
}


@pytest.mark.parametrize("content", HARMLESS.values(), ids=HARMLESS)
def test_what_is_no_trap_changes_nothing(tmp_path, content):
    assert read(tmp_path, content) == read(tmp_path, GOOD)


def test_no_more_faults_are_shown_than_somebody_reads(tmp_path):
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, GOOD + "".join(f"key{n}: 1\n" for n in range(3000)))
    assert len(caught.value.faults) == 3000
    assert len(str(caught.value).splitlines()) < 120
    assert "… and 2900 more" in str(caught.value)


def test_what_is_no_file_is_refused_at_once(tmp_path):
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    ended: list[BaseException] = []

    def reading():
        try:
            read_recipe(pipe, REGISTRY)
        except TLError as error:
            ended.append(error)

    reader = threading.Thread(target=reading, daemon=True)
    reader.start()
    reader.join(20)
    assert [type(error) for error in ended] == [UsageError], "it waits for somebody to write into the pipe"
    for path, words in (("", "cannot be read"), ("gone.yaml", "there is no recipe"), ("loop.yaml", "cannot be read")):
        if path == "loop.yaml":
            (tmp_path / path).symlink_to(path)
        with pytest.raises(UsageError, match=words):
            read_recipe(tmp_path / path, REGISTRY)
    with pytest.raises(UsageError, match="no file but a pipe or a device"):
        read_recipe("/dev/zero", REGISTRY)
    with pytest.raises(UsageError, match="cannot be read"):
        read_recipe(tmp_path / ("x" * 300 + ".yaml"), REGISTRY)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(GOOD)
    path.chmod(0)
    with pytest.raises(UsageError, match="cannot be read"):
        read_recipe(path, REGISTRY)
