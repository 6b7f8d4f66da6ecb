"""`tl recipe init` looks at data and writes a recipe that runs."""

import csv
import json
import sys
from pathlib import Path

import pytest
from PIL import Image

import tlcore
from tests.support.site import Site
from tests.support.site import tl as tl_with
from tl_text.checkpoint import write_tiny
from tlcore.cli import main
from tlcore.plugins.host import PluginHost
from tlcore.plugins.registry import Registry
from tlcore.recipe import read_recipe


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


TINY_PICTURES = "backbone={name: vgg11, weights: random, output: block1, size: 32}"
TINY_TEXTS = "backbone={name: bert, weights: tiny-bert}"


def runs(file, backbone):
    """Run a recipe that was made, with a tiny network and for one epoch; return what the test split gave."""
    if backbone == TINY_TEXTS and not Path("tiny-bert").exists():
        write_tiny(Path("tiny-bert"))
    result = tlcore.run(file, overrides=[backbone, "train.epochs=1", "train.device=cpu"], warn=lambda text: None)
    return result.metrics["test"]


def read(path="recipe.yaml"):
    return read_recipe(path, Registry(PluginHost(environ={"TL_PLUGINS": ""})))


def test_a_folder_of_photos_becomes_a_recipe_that_runs(tl, tmp_path):
    photos(tmp_path / "photos", {"cat": 12, "dog": 11})
    code, out, err = tl("recipe", "init", "--data", "photos", "--out", "mine.yaml")
    assert (code, out) == (0, "mine.yaml\n")
    assert "23 examples, 2 different labels" in err
    recipe = read("mine.yaml")
    assert recipe.task.name == "vision/image-classification"
    assert runs("mine.yaml", TINY_PICTURES)["n"] > 0


def test_rare_classes_are_made_up_for(tl, tmp_path):
    photos(tmp_path / "photos", {"cat": 13, "dog": 3})
    assert tl("recipe", "init", "--data", "photos")[0] == 0
    assert read().task.options.imbalance == "auto"
    assert "more than 3 times as common" in (tmp_path / "recipe.yaml").read_text()


def test_a_table_of_texts(tl, tmp_path):
    table(tmp_path / "r.tsv", [["sentence\tlabel"]] + [[f"text {n}\t{'ab'[n % 2]}"] for n in range(20)])
    assert tl("recipe", "init", "--data", "r.tsv")[0] == 0
    assert (read().task.name, read().backbone.name) == ("text/text-classification", "text/minilm")
    assert (read().data.source.options.input, read().data.source.options.label) == ("sentence", "label")
    assert runs("recipe.yaml", TINY_TEXTS)["n"] > 0


def odd_rows(count=40, **more):
    return [
        {"nr": n, "Rezension": f"the film number {n} is good", "Urteil": "ab"[n % 2], "laenge": n * 0.5, **more}
        for n in range(count)
    ]


def write_rows(path, rows):
    table(path, [list(rows[0]), *[list(row.values()) for row in rows]])


def test_columns_with_odd_names_are_told_by_what_they_hold(tl, tmp_path):
    write_rows(tmp_path / "odd.csv", odd_rows())
    code, _, err = tl("recipe", "init", "--data", "odd.csv")
    assert code == 0, err
    assert "column 'Rezension' is taken as the input by what it holds" in err
    assert "column 'Urteil' is taken as the label by what it holds" in (tmp_path / "recipe.yaml").read_text()
    assert (read().data.source.options.input, read().data.source.options.label) == ("Rezension", "Urteil")
    assert runs("recipe.yaml", TINY_TEXTS)["n"] > 0


@pytest.mark.parametrize(
    "more", [{"Autor": "x y"}, {"Fassung": "the same film is very good"}, {"Ort": None}], ids=["label", "text", "empty"]
)
def test_a_column_more_that_could_be_meant_is_asked_about(tl, tmp_path, more):
    rows = odd_rows()
    for n, row in enumerate(rows):
        row |= {name: value and f"{value} {n % 4 if name == 'Autor' else n}" for name, value in more.items()}
    write_rows(tmp_path / "odd.csv", rows)
    code, _, err = tl("recipe", "init", "--data", "odd.csv")
    if "Ort" in more:
        assert code == 0, err
        return
    assert (code, "--set data.input=" in err) == (3, True)
    code, _, err = tl(
        "recipe", "init", "--data", "odd.csv", "--set", "data.input=Rezension", "--set", "data.label=Urteil"
    )
    assert code == 0, err
    assert "by what it holds" not in err


def test_keys_of_the_data_are_read_as_in_a_recipe(tl, tmp_path):
    write_rows(tmp_path / "r.csv", [{"text": f"t {n}", "label": "ab"[n % 2], "lang": "de"} for n in range(60)])
    words = ["--set", "data.limit=40", "--set", "data.filter={lang: [de, no]}", "--set", "data.holdout.test=0.2"]
    assert tl("recipe", "init", "--data", "r.csv", *words)[0] == 0
    assert (read().data.source.options.limit, read().data.holdout.test) == (40, 0.2)
    assert read().data.source.options.filter == {"lang": ("de", "no")}
    code, _, err = tl("recipe", "init", "--data", "r.csv", "--out", "b.yaml", "--set", "data.limt=40")
    assert (code, "did you mean 'limit'" in err) == (2, True)


def test_numbers_in_several_spellings_are_numbers(tl, tmp_path):
    rows = [{"text": f"the film {n}", "label": n // 2 if n % 2 else f"{n // 2}.0"} for n in range(60)]
    write_rows(tmp_path / "n.csv", rows)
    assert tl("recipe", "init", "--data", "n.csv")[0] == 0
    assert (read().task.name, read().data.source.options.label_is) == ("text/text-regression", "number")
    assert runs("recipe.yaml", TINY_TEXTS)["mae"] >= 0
    write_rows(tmp_path / "m.csv", [{**row, "label": n or "n/a"} for n, row in enumerate(rows)])
    code, _, err = tl("recipe", "init", "--data", "m.csv", "--out", "m.yaml")
    assert (code, "none: 'n/a'" in err) == (3, True)


def test_splits_are_counted_by_their_usual_names(tl, tmp_path):
    rows = [{"text": f"t {n}", "label": "ab"[n % 2], "split": ["Train", "dev"][n % 10 == 0]} for n in range(40)]
    write_rows(tmp_path / "s.csv", rows)
    code, _, err = tl("recipe", "init", "--data", "s.csv")
    assert code == 0, err
    assert "splits: train 36, validation 4; for test 15 % are held out of the training examples" in err


def saved_pictures(folder):
    from datasets import ClassLabel, Dataset, Features
    from datasets import Image as Picture

    photos(folder.parent / "photos", {"cat": 20, "dog": 20})
    rows = [{"image": str(folder.parent / "photos" / kind / f"{n}.png"), "label": label}
            for label, kind in enumerate(("cat", "dog")) for n in range(20)]  # fmt: skip
    for row in rows:
        row["image"] = {"bytes": Path(row["image"]).read_bytes(), "path": None}
    features = Features({"image": Picture(), "label": ClassLabel(names=["cat", "dog"])})
    Dataset.from_list(rows, features=features).save_to_disk(folder)


def test_pictures_in_a_saved_data_set_are_known_by_who_can_read_them(tl, tmp_path):
    saved_pictures(tmp_path / "saved")
    code, _, err = tl("recipe", "init", "--data", "saved")
    assert code == 0, err
    assert (read().data.source.name, read().task.name) == ("data/dataset", "vision/image-classification")
    assert runs("recipe.yaml", TINY_PICTURES)["n"] > 0


def test_parquet_is_read_as_a_table_and_as_a_folder(tl, tmp_path):
    from datasets import Dataset

    (tmp_path / "folder").mkdir()
    dataset = Dataset.from_list([{"text": f"the film {n}", "label": "ab"[n % 2]} for n in range(40)])
    for path in (tmp_path / "t.parquet", tmp_path / "folder" / "train.parquet"):
        dataset.to_parquet(path)
    for number, data in enumerate(("t.parquet", "folder")):
        code, _, err = tl("recipe", "init", "--data", data, "--out", f"{number}.yaml")
        assert code == 0, err
        assert runs(f"{number}.yaml", TINY_TEXTS)["n"] > 0


def test_weights_that_are_not_here_are_said_and_how_to_get_them(tl, tmp_path, monkeypatch):
    monkeypatch.setenv("TL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("socket.socket.connect", lambda *given: pytest.fail("a connection was opened"))
    photos(tmp_path / "photos", {"cat": 3, "dog": 3})
    code, _, err = tl("recipe", "init", "--data", "photos", "--backbone", "resnet18")
    assert (code, "`tl weights pull recipe.yaml` fetches them" in err) == (0, True), err
    code, _, err = tl("recipe", "init", "--data", "photos", "--backbone", "resnet18", "--weights", "random",
                      "--out", "b.yaml")  # fmt: skip
    assert (code, "the weights are on this machine" in err) == (0, True), err
    assert read("b.yaml").backbone.options.weights == "random"


def test_nothing_in_the_data_becomes_a_key(tl, tmp_path):
    photos(tmp_path / "pho\u2028tos\nx: ☃", {"cat\nseed: 9": 9, "\u0085#dog": 9})
    name = next(tmp_path.glob("pho*")).name
    code, _, err = tl("recipe", "init", "--data", name)
    assert code == 0, err
    assert read().seed == 7
    assert str(read().data.source.options.path).endswith(name)
    assert "\\nseed: 9" in (tmp_path / "recipe.yaml").read_text()


def test_few_examples_get_small_batches(tl, tmp_path):
    for name, count, batch in (("few", 40, 8), ("many", 800, 32)):
        write_rows(tmp_path / f"{name}.csv", [{"text": f"t {n}", "label": "ab"[n % 2]} for n in range(count)])
        assert tl("recipe", "init", "--data", f"{name}.csv", "--out", f"{name}.yaml")[0] == 0
        assert read(f"{name}.yaml").train.batch_size == batch


def test_columns_with_other_names_are_asked_for_and_can_be_given(tl, tmp_path):
    table(tmp_path / "r.csv", [["body", "topic"], *[[f"text {n}", "ab"[n % 2]] for n in range(20)]])
    code, _, err = tl("recipe", "init", "--data", "r.csv")
    assert code == 3
    assert "columns found: body, topic" in err
    assert "`--set data.input=body`" in err
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
    photos(tmp_path / "photos", {"cat": 8, "dog": 8})
    rows = [[f"photos/{kind}/{n}.png", kind] for kind in ("cat", "dog") for n in range(8)]
    table(tmp_path / "list.csv", [["image", "label"], *rows])
    assert tl("recipe", "init", "--data", "list.csv")[0] == 0
    assert read().task.name == "vision/image-classification"
    assert read().data.source.options.input_is == "path"
    assert runs("recipe.yaml", TINY_PICTURES)["n"] > 0
    rows = [["Bild", "Art"], *[row for row in rows for _ in range(2)]]
    table(tmp_path / "odd.csv", rows)
    assert tl("recipe", "init", "--data", "odd.csv", "--out", "odd.yaml")[0] == 0
    assert read("odd.yaml").data.source.options.input == "Bild"


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
        (["--data", "photos", "--out", "nowhere/r.yaml"], 2, "there is no folder nowhere"),
        (["--data", "photos", "--backbone", "bert", "--task", "text-classification"], 2, "--weights FOLDER"),
        (["--data", "photos", "--set", "data.path=x"], 2, "only keys of data"),
        (["--data", "alike.csv"], 3, "every example has the label 'b'"),
        (["--data", "tables"], 3, "name one: --data tables/all.csv"),
        (["--data", "empty"], 3, "empty"),
        (["--data", "odd"], 2, "--task image-classification"),
    ],
)
def test_what_it_cannot_do_is_said(tl, tmp_path, words, code, said):
    photos(tmp_path / "photos", {"cat": 2, "dog": 2})
    (tmp_path / "empty").mkdir()
    (tmp_path / "tables").mkdir()
    (tmp_path / "alike.csv").write_text("text,label\na,b\nc,b\n")
    (tmp_path / "tables" / "all.csv").write_text("text,label\na,b\n")
    for name in ("a", "b"):
        (tmp_path / "odd" / name).mkdir(parents=True)
        (tmp_path / "odd" / name / "x.unheard").write_text("?")
    found, _, err = tl("recipe", "init", *words)
    assert found == code
    assert said in err
    assert not (tmp_path / "recipe.yaml").exists()


SOUNDS = """
import tlcore

class Takes:
    def __init__(self, folder):
        self.folder = folder

    def examples(self):
        for path in sorted(self.folder.glob("*.wav")):
            yield tlcore.Example(id=path.stem, input=path, label=path.stem[0])

from dataclasses import dataclass
from pathlib import Path

@dataclass(frozen=True, kw_only=True)
class TakesOptions:
    path: Path = tlcore.option(help="Folder of recordings.")

@tlcore.hookimpl
def tl_tasks():
    return tlcore.standard_tasks("sound", "recording", str)

@tlcore.hookimpl
def tl_backbones():
    for name, more in (("bat", {}), ("ear", {"recommended": "bat hears higher tones", "learning_rate": 2e-4})):
        yield tlcore.BackboneSpec(
            name=name, summary="Hears.", modality="sound", media="audio", build=lambda options, saved: None,
            smoke=lambda folder: tlcore.NoOptions(), samples=lambda folder: [], **more,
        )

@tlcore.hookimpl
def tl_data_sources():
    yield tlcore.DataSourceSpec(
        name="takes", summary="A session.", modality="sound", options=TakesOptions,
        build=lambda options: Takes(options.path), smoke=lambda folder: TakesOptions(path=folder),
        recognizes=lambda path: (path / "session.txt").is_file(),
    )
"""


def test_a_modality_of_another_package_takes_part(tmp_path):
    site = Site(tmp_path / "site")
    site.folder.mkdir()
    site.install("sounds", {"sounds": "sounds"}, sounds=SOUNDS)
    (tmp_path / "takes").mkdir()
    (tmp_path / "takes" / "session.txt").touch()
    for name in ("a1", "a2", "a3", "b1", "b2", "b3"):
        (tmp_path / "takes" / f"{name}.wav").touch()
    words = ["--data", str(tmp_path / "takes"), "--out", str(tmp_path / "r.yaml")]
    done = tl_with(site, "recipe", "init", *words)
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "r.yaml").read_text()
    for line in (
        "task: sound-classification",
        "  source: takes",
        "backbone: ear ",
        "# bat hears higher tones",
        "lr: 2.0e-4}",
    ):
        assert line in written
    assert tl_with(site, "recipe", "check", str(tmp_path / "r.yaml")).returncode == 0


def test_inputs_that_no_modality_is_for_are_named(tl, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "takes" / name).mkdir(parents=True)
        (tmp_path / "takes" / name / "1.mp3").write_text("?")
    code, _, err = tl("recipe", "init", "--data", "takes")
    assert code == 2
    assert "the inputs like audio" in err
