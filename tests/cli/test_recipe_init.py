"""`tl recipe init` looks at data and writes a recipe that runs."""

import csv
import json
import sys

import pytest
from PIL import Image

import tlcore
from tlcore.cli import main
from tlcore.plugins import PluginHost
from tlcore.recipe import read_recipe
from tlcore.registry import Registry


@pytest.fixture
def tl(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def called(*words):
        monkeypatch.setattr(sys, "argv", ["tl", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, told.err

    return called


def photos(folder, counts):
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for n in range(count):
            Image.new("RGB", (40, 40), (9 * n % 255, 80, 200)).save(folder / name / f"{n}.png")


def table(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def read(path="recipe.yaml"):
    return read_recipe(path, Registry(PluginHost(environ={"TL_PLUGINS": ""})))


def test_a_folder_of_photos_becomes_a_recipe_that_runs(tl, tmp_path):
    photos(tmp_path / "photos", {"cat": 12, "dog": 11})
    code, out, err = tl("recipe", "init", "--data", "photos", "--out", "mine.yaml")
    assert (code, out) == (0, "mine.yaml\n")
    assert "23 examples, 2 different labels" in err
    recipe = read("mine.yaml")
    assert recipe.task.name == "vision/image-classification"
    shrunk = ["backbone={name: vgg11, weights: random, output: block1, size: 32}", "train.epochs=1"]
    assert tlcore.run("mine.yaml", overrides=shrunk, warn=lambda text: None).metrics["test"]["n"] > 0


def test_rare_classes_are_made_up_for(tl, tmp_path):
    photos(tmp_path / "photos", {"cat": 13, "dog": 3})
    assert tl("recipe", "init", "--data", "photos")[0] == 0
    assert read().task.options.imbalance == "auto"
    assert "more than 3 times as common" in (tmp_path / "recipe.yaml").read_text()


def test_a_table_of_texts(tl, tmp_path):
    table(tmp_path / "r.tsv", [["sentence\tlabel"]] + [[f"text {n}\t{'ab'[n % 2]}"] for n in range(20)])
    assert tl("recipe", "init", "--data", "r.tsv")[0] == 0
    assert (read().task.name, read().backbone.name) == ("text/text-classification", "text/minilm")


def test_columns_with_other_names_are_asked_for_and_can_be_given(tl, tmp_path):
    table(tmp_path / "r.csv", [["body", "topic"], *[[f"text {n}", "ab"[n % 2]] for n in range(20)]])
    code, _, err = tl("recipe", "init", "--data", "r.csv")
    assert code == 3
    assert "columns found: body, topic" in err
    assert "--set data.input" in err
    assert tl("recipe", "init", "--data", "r.csv", "--set", "data.input=body", "--set", "data.label=topic")[0] == 0
    assert read().data.source.options.label == "topic"


def test_numbers_make_a_regression_and_lists_several_labels(tl, tmp_path):
    table(tmp_path / "n.csv", [["text", "label"], *[[f"text {n}", str(n * 0.5)] for n in range(40)]])
    assert tl("recipe", "init", "--data", "n.csv")[0] == 0
    assert read().task.name == "text/text-regression"
    rows = [{"text": f"text {n}", "label": ["a", "b"][: n % 3]} for n in range(20)]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert tl("recipe", "init", "--data", "m.jsonl", "--out", "m.yaml")[0] == 0
    assert read("m.yaml").task.name == "text/text-multilabel"


def test_a_table_of_picture_paths(tl, tmp_path):
    photos(tmp_path / "photos", {"cat": 4, "dog": 4})
    rows = [[f"photos/{kind}/{n}.png", kind] for kind in ("cat", "dog") for n in range(4)]
    table(tmp_path / "list.csv", [["image", "label"], *rows])
    assert tl("recipe", "init", "--data", "list.csv")[0] == 0
    assert read().task.name == "vision/image-classification"
    assert read().data.source.options.input_is == "path"


def test_nothing_is_overwritten(tl, tmp_path):
    photos(tmp_path / "photos", {"cat": 2, "dog": 2})
    (tmp_path / "recipe.yaml").write_text("mine")
    code, _, err = tl("recipe", "init", "--data", "photos")
    assert (code, "exists already" in err) == (2, True)
    assert (tmp_path / "recipe.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--data", "photoz"], 3, "did you mean 'photos'"),
        (["--data", "photos", "--task", "image-clasification"], 2, "image-classification"),
        (["--data", "photos", "--backbone", "minilm"], 2, "backbone minilm is not for image"),
        (["--data", "photos", "--set", "train.epochs=3"], 2, "only keys of data"),
        (["--data", "empty"], 3, "empty"),
        (["--data", "odd"], 2, "--task image-classification"),
    ],
)
def test_what_it_cannot_do_is_said(tl, tmp_path, words, code, said):
    photos(tmp_path / "photos", {"cat": 2, "dog": 2})
    (tmp_path / "empty").mkdir()
    for name in ("a", "b"):
        (tmp_path / "odd" / name).mkdir(parents=True)
        (tmp_path / "odd" / name / "x.unheard").write_text("?")
    found, _, err = tl("recipe", "init", *words)
    assert found == code
    assert said in err
    assert not (tmp_path / "recipe.yaml").exists()
