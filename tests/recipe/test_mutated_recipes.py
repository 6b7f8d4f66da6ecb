"""A recipe that somebody, or something, has spoilt: it is valid, or every fault is told with its place."""

import copy
import os
import re
import signal
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import ROOT
from tlcore.errors import PluginError, RecipeError
from tlcore.plugins.host import PluginHost
from tlcore.plugins.registry import Registry
from tlcore.recipe import parse_recipe, read_recipe, recipe_yaml

RECIPES = ROOT / "recipes"
REGISTRY = Registry(PluginHost(environ={"TL_PLUGINS": ""}))
FULL = """
name: everything
task: {name: image-classification, label_smoothing: 0.1}
data:
  source: table
  path: pictures.csv
  input_is: path
  filter: {lang: [de, fr], kind: new}
  holdout: {validation: 0.1, test: 0.2}
  max_bad: 0.05
backbone: {name: resnet18, weights: random, augment: {flip: horizontal}}
adapter: {name: fine-tuning, layers: 2}
train:
  epochs: 3
  optimizer: {name: sgd, lr: 1e-2, nesterov: true}
  scheduler: {name: step, gamma: 0.5}
  lr: find
  early_stopping: 4
features: {store: never}
evaluate: {report: none, mistakes: 3}
track: [tensorboard]
seed: 3
"""
TEXTS = [FULL, *(path.read_text("utf-8") for path in sorted(RECIPES.glob("*.yaml")))]
PATIENCE = 30
"""Seconds after which reading a recipe counts as hanging."""

odd_values = st.sampled_from(
    [None, True, -1, 0, 1e309, float("nan"), 10**30, "", " ", "no", "012", "1:30", "<<", "\0", "x" * 300, "/", "~"]
) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
WORDS = """~ -1 .nan .inf 1_000 012 0o17 1:30 2020-01-01 [ ] { } & * ! !!int !!python/object:os.system @ ` % | > ' "
# : - ? <<: --- ... &a *a {a:{a:1}} !!binary"""
ODD_PIECES = ("\t", "\n", "  ", "- ", "\n\t", "\r", "\0", "\a", "\ufeff", "\u2028", "\ud800",
              "\n%YAML 1.1\n", "\n---\n",
              "&a [*a]", *WORDS.split())  # fmt: skip
odd_pieces = st.sampled_from(ODD_PIECES) | st.text(max_size=6)
raw_bytes = st.binary(max_size=4) | st.sampled_from([b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b"\xc3", b"\xed\xa0\x80"])


def places(tree, path=()):
    """Return the path of each value in a tree, the root apart."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [found for key, value in inner for found in ((*path, key), *places(value, (*path, key)))]


def at(tree, path):
    for key in path:
        tree = tree[key]
    return tree


def mutated_tree(draw, tree):
    """Drop, rename, retype, nest, copy or swap one value of a recipe."""
    found = places(tree)
    if not isinstance(tree, dict) or not found:
        return draw(odd_values)
    path = draw(st.sampled_from(found))
    parent, key = at(tree, path[:-1]), path[-1]
    what = draw(st.sampled_from(["drop", "rename", "retype", "nest", "unnest", "copy", "swap"]))
    if what == "drop":
        del parent[key]
    elif what == "rename" and isinstance(parent, dict):
        letters = list(str(key))
        letters[draw(st.integers(0, max(len(letters) - 1, 0))) : len(letters) - draw(st.integers(0, 2))] = draw(
            st.text(max_size=3)
        )
        parent["".join(letters)] = parent.pop(key)
    elif what == "nest":
        parent[key] = draw(st.sampled_from([{str(key): parent[key]}, [parent[key]], {"name": parent[key]}]))
    elif what == "unnest" and isinstance(parent[key], dict) and isinstance(parent, dict):
        parent |= parent.pop(key)
    elif what in ("copy", "swap"):
        other = draw(st.sampled_from(found))
        holder = at(tree, other[:-1])
        value = copy.deepcopy(parent[key])
        if what == "swap" and other[: len(path)] != path and path[: len(other)] != other:
            parent[key] = copy.deepcopy(holder[other[-1]])
        holder[other[-1]] = value
    else:
        parent[key] = draw(odd_values)
    return tree


def mutated_text(draw, text):
    """Change a line, its indentation or its place, or put something between two characters."""
    lines = text.split("\n")
    n = draw(st.integers(0, len(lines) - 1))
    what = draw(st.sampled_from(["drop", "double", "indent", "dedent", "move", "insert", "value"]))
    if what == "drop":
        del lines[n]
    elif what == "double":
        lines.insert(n, lines[n])
    elif what == "indent":
        lines[n] = draw(st.sampled_from([" ", "  ", "\t", "    - "])) + lines[n]
    elif what == "dedent":
        lines[n] = lines[n][draw(st.integers(1, 3)) :]
    elif what == "move":
        lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(n))
    elif what == "insert":
        place = draw(st.integers(0, len(lines[n])))
        lines[n] = lines[n][:place] + draw(odd_pieces) + lines[n][place:]
    else:
        lines[n] = lines[n].partition(":")[0] + ": " + draw(odd_pieces)
    return "\n".join(lines)


@st.composite
def spoilt_recipes(draw):
    """Return the bytes of a file that was a valid recipe once."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(0, 3))):
        tree = mutated_tree(draw, yaml.safe_load(text) if text.strip() else {})
        text = yaml.safe_dump(tree, allow_unicode=True, default_flow_style=draw(st.sampled_from([None, True, False])))
        try:
            yaml.safe_load(text)
        except (yaml.YAMLError, ValueError):
            break
    for _ in range(draw(st.integers(0, 3))):
        text = mutated_text(draw, text)
    content = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 5)) == 0:
        place = draw(st.integers(0, len(content)))
        content = content[:place] + draw(raw_bytes) + content[place + draw(st.integers(0, 2)) :]
    return content


def read_or_refused(folder: Path, content: bytes) -> None:
    path = folder / "x.yaml"
    path.write_bytes(content)
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("reading it hangs"))
    signal.alarm(PATIENCE)
    recipe = refusal = None
    try:
        recipe = read_recipe(path, REGISTRY)
    except (RecipeError, PluginError) as error:
        refusal = error
    finally:
        signal.alarm(0)
    place = re.escape(str(path)) + r":[1-9]\d*"
    if isinstance(refusal, RecipeError):
        assert refusal.exit_code == 2
        assert refusal.faults
        assert all(re.match(place, fault.where) and fault.what for fault in refusal.faults), refusal
        assert len(str(refusal)) < 100_000
    elif refusal is not None:  # it names a plugin that is not installed
        assert "is not installed" in refusal.what.replace("which is not", "is not")
        assert re.match(place, refusal.where), refusal.where
    else:
        assert parse_recipe(recipe_yaml(recipe), REGISTRY, file="y.yaml", name="y") == recipe
    assert os.listdir(folder) == ["x.yaml"], "reading a recipe writes nothing"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


NO_HURRY = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


@pytest.mark.slow
@settings(max_examples=500, **NO_HURRY)
@given(content=spoilt_recipes())
def test_a_spoilt_recipe_is_read_or_refused_with_the_place_of_each_fault(folder, content):
    read_or_refused(folder, content)


@pytest.mark.long
@settings(max_examples=10_000, **NO_HURRY)
@given(content=spoilt_recipes())
def test_ten_thousand_spoilt_recipes_are_read_or_refused(folder, content):
    read_or_refused(folder, content)


def test_what_is_spoilt_was_valid(folder):
    for text in TEXTS:
        assert parse_recipe(text, REGISTRY, file="x.yaml", name="x").train.epochs >= 1
