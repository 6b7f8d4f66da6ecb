"""What `tl recipe check` finds without training: every fault of files, columns, weights, stages and disk."""

import shutil
from collections import namedtuple

import pytest
from typer.testing import CliRunner

from tests.support import OUTSIDE
from tlcore.cli import app

TABLE = "text,stars\n" + "".join(f"a {'fine' if n % 2 else 'dull'} day {n},{n % 2}\n" for n in range(40))
RECIPE = """\
task: text-classification
data: {source: table, path: reviews.csv, label: stars}
backbone: {name: bert, weights: random}
adapter: feature-extraction
"""
NETWORK = """\
task: vector-classification
data: {source: blobs, per_class: 20}
backbone: {name: perceptron, width: 8}
adapter: {name: fine-tuning, layers: 1}
"""


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Return a function that checks one of the recipes with some settings, in a folder that holds its data."""
    site = tmp_path / "site"
    info = site / "outside_vectors-1.0.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-vectors\nVersion: 1.0.0\n")
    (info / "entry_points.txt").write_text("[tlcore]\nvectors = outside_vectors\n")
    (site / "outside_vectors").symlink_to(OUTSIDE / "src" / "outside_vectors")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.csv").write_text(TABLE)
    (tmp_path / "words").mkdir()
    (tmp_path / "text.yaml").write_text(RECIPE)
    (tmp_path / "vectors.yaml").write_text(NETWORK)

    def checked(file, *settings, deep=False):
        words = [word for setting in settings for word in ("--set", setting)] + (["--deep"] if deep else [])
        before = sorted(tmp_path.iterdir())
        done = CliRunner().invoke(app, ["recipe", "check", file, *words], prog_name="tl")
        assert sorted(tmp_path.iterdir()) == before, "checking writes nothing"
        assert "Traceback" not in done.stderr
        return done

    return checked


def test_a_recipe_whose_files_are_there_is_valid(check):
    assert check("text.yaml", "backbone.weights=./words").exit_code == 0
    assert check("vectors.yaml", deep=True).exit_code == 0


SHALLOW = {
    "no file": (["data.path=review.csv"], 3, ["review.csv"]),
    "no column": (["data.label=star"], 3, ["no column 'star'", "did you mean 'stars'?"]),
    "no column of the inputs": (["data.input=body"], 3, ["no column 'body'"]),
    "another format": (["data.path=text.yaml"], 3, ["text.yaml"]),
    "no weights": (["backbone.weights=./wrds"], 4, ["backbone.weights: there is no wrds", "words"]),
    "two at once": (
        ["data.label=star", "backbone.weights=/none/x"], 4, ["2 things", "no column 'star'", "there is no x"]
    ),
    "a fault of the text": (["train.epoch=3"], 2, ["did you mean 'epochs'?"]),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "code", "said"), SHALLOW.values(), ids=SHALLOW)
def test_a_look_at_the_files_finds_what_is_not_there(check, settings, code, said):
    done = check("text.yaml", *settings)
    assert done.exit_code == code, done.stderr
    assert done.stdout == ""
    for words in said:
        assert words in done.stderr


DEEP = {
    "an unknown stage": ("vectors.yaml", ["backbone.output=layer9"], 2, ["layer1, layer2, layer3"]),
    "too many layers": ("vectors.yaml", ["adapter.layers=9"], 2, ["not between 1 and 3"]),
    "one class": ("vectors.yaml", ["data={source: table, path: reviews.csv, label: text}"], 3, ["reviews.csv"]),
    "data and stage": (
        "vectors.yaml", ["data={source: table, path: gone.csv}", "adapter.layers=9"], 3,
        ["2 things", "gone.csv", "not between 1 and 3"],
    ),
    "a solver that does not fit": ("vectors.yaml", ["head.solver=lbfgs"], 2, ["head.solver"]),
    "weights of another kind": ("text.yaml", ["backbone={name: bert, weights: ./words}"], 4, ["config.json"]),
    "weights that are not here": ("text.yaml", ["backbone={name: bert, weights: ./gone}"], 4, ["there is no gone"]),
}  # fmt: skip


@pytest.mark.parametrize(("file", "settings", "code", "said"), DEEP.values(), ids=DEEP)
def test_a_deep_check_finds_what_a_run_would_end_with(check, file, settings, code, said):
    done = check(file, *settings, deep=True)
    assert done.exit_code == code, done.stderr
    for words in said:
        assert words in done.stderr, done.stderr


def test_a_disk_without_room_is_told_with_numbers(check, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    done = check("text.yaml", "backbone.weights=./words")
    assert done.exit_code == 5
    assert "1 MB are free" in done.stderr


def test_a_folder_that_may_not_be_written_is_told(check, tmp_path):
    (tmp_path / "runs").touch()
    done = check("vectors.yaml")
    assert done.exit_code == 2
    assert "runs cannot be written" in done.stderr


def test_a_mistake_in_a_plugin_is_told_as_one(check, monkeypatch):
    def broken(self):
        raise RuntimeError("a mistake of its own")

    monkeypatch.setattr("tl_data.table.TableSource.examples", broken)
    done = check("text.yaml", "backbone.weights=./words")
    assert done.exit_code == 8
    assert "data/table does not work: RuntimeError: a mistake of its own" in done.stderr
