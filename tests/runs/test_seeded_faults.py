"""Sixty faults that people make, each found by `tl recipe check`: what, at which line, and what to do next."""

import re

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from tl_text.checkpoint import write_tiny
from tlcore.cli import app

TEXT = {
    "task": "text-classification",
    "data": {"source": "table", "path": "reviews.csv", "label": "stars"},
    "backbone": {"name": "bert", "weights": "./tiny"},
    "adapter": "feature-extraction",
}
PHOTOS = {
    "task": "image-classification",
    "data": {"source": "folder", "path": "photos"},
    "backbone": {"name": "resnet18", "weights": "random", "size": 32},
    "adapter": {"name": "fine-tuning", "layers": 1},
    "train": {"device": "cpu"},
}
ROWS = [f"a {'fine' if n % 2 else 'dull'} day {n},{n % 2}" for n in range(40)]
TABLES = {
    "reviews.csv": ["text,stars", *ROWS],
    "one.csv": ["text,stars", *(f"day {n},1" for n in range(40))],
    "few.csv": ["text,stars", "a,1", "b,2", "c,1"],
    "unlabelled.csv": ["text,stars", *(f"day {n}," for n in range(40))],
    "empty.csv": [],
    "header.csv": ["text,stars"],
    "splits.csv": ["text,stars,split", *(f"{row},{'trian' if n < 20 else 'test'}" for n, row in enumerate(ROWS))],
    "tests.csv": ["text,stars,split", *(f"{row},test" for row in ROWS)],
    "classes.csv": ["text,stars,split", *(f"{row},train" for row in ROWS), "a third kind of day,2,test"],
    "numbers.csv": ["text,score", *(f"day {n},{n if n % 9 else 'many'}" for n in range(40))],
    "paths.csv": ["image,kind", *(f"photos/cat/{n}.png,cat\ngone/{n}.png,dog" for n in range(12))],
    "names.txt": ["zero"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with tables, pictures and weights, most of them with something wrong."""
    folder = tmp_path_factory.mktemp("faults")
    for name, lines in TABLES.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    (folder / "latin.csv").write_bytes("text,stars\nschön,1\nübel,2\n".encode("latin-1"))
    for name, classes, count in (("photos", ("cat", "dog"), 12), ("single", ("cat",), 12), ("two", ("cat", "dog"), 1)):
        for number, kind in enumerate(classes):
            (folder / name / kind).mkdir(parents=True)
            for n in range(count):
                Image.new("RGB", (40, 40), (20 * n, 100 * number, 0)).save(folder / name / kind / f"{n}.png")
    (folder / "bare").mkdir()
    for name in ("tiny", "wordless", "weightless", "damaged", "foreign"):
        write_tiny(folder / name)
    for path in [*(folder / "wordless").glob("*vocab*"), *(folder / "wordless").glob("token*")]:
        path.unlink()
    (folder / "weightless" / "model.safetensors").unlink()
    (folder / "damaged" / "model.safetensors").write_bytes(b"no")
    for path in (folder / "foreign" / "model.safetensors", folder / "other.safetensors"):
        save_file({"x.weight": torch.zeros(3, 3)}, path)
    return folder


@pytest.fixture
def check(place, monkeypatch):
    """Return a function that writes a recipe with some keys changed and checks it."""
    monkeypatch.chdir(place)

    def checked(base, changes, deep):
        recipe = {key: dict(value) if isinstance(value, dict) else value for key, value in base.items()}
        for key, value in changes.items():
            *sections, last = key.split(".")
            section = recipe
            for word in sections:
                section = section.setdefault(word, {})
            section[last] = value
        text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
        (place / "recipe.yaml").write_text(text)
        done = CliRunner().invoke(
            app, ["recipe", "check", "recipe.yaml", *(["--deep"] if deep else [])], prog_name="tl"
        )
        assert "Traceback" not in done.stderr
        at = [text.splitlines()[int(line) - 1] for line in re.findall(r"recipe\.yaml:(\d+):\d+", done.stderr)]
        return done, at

    return checked


HUB = {"source": "hub", "dataset": "stanfordnlp/imdb"}
FOUND_AT_A_GLANCE = [
    # base, what is changed, exit code, what stands in the line that is named, what is said
    (TEXT, {"data.path": "review.csv"}, 3, "path: review.csv", ["review.csv does not exist", "reviews.csv"]),
    (TEXT, {"data.path": "empty.csv"}, 3, "path:", ["empty.csv is empty", "names the columns"]),
    (TEXT, {"data.path": "header.csv"}, 3, "path:", ["holds no rows"]),
    (TEXT, {"data.path": "latin.csv"}, 3, "path:", ["latin.csv:2", "not UTF-8", "--set data.encoding=latin-1"]),
    (TEXT, {"data.label": "star"}, 3, "label: star", ["no column 'star'", "did you mean 'stars'?"]),
    (TEXT, {"data.input": "body"}, 3, "input: body", ["no column 'body'", "columns found: text, stars"]),
    (TEXT, {"data.split": "fold"}, 3, "split: fold", ["no column 'fold'"]),
    (TEXT, {"data.group": "customer"}, 3, "group: customer", ["no column 'customer'"]),
    (TEXT, {"data.id": "nr"}, 3, "id: nr", ["no column 'nr'"]),
    (TEXT, {"data.encoding": "utf-99"}, 2, "encoding: utf-99", ["no encoding 'utf-99'", "latin-1"]),
    (TEXT, {"data.delimiter": ";"}, 3, "label:", ["separated by ','", "leave data.delimiter out"]),
    (TEXT, {"data.classes": "gone.txt"}, 3, "classes: gone.txt", ["gone.txt does not exist"]),
    (TEXT, {"data.filter": {"lang": "de"}}, 3, "lang: de", ["no column 'lang'", "columns found"]),
    (TEXT, {"data.filter": {"stars": 9}}, 3, "stars: 9", ["leaves nothing", "values found: 0, 1"]),
    (TEXT, {"data.source": "tabel"}, 2, "source: tabel", ["did you mean 'table'?"]),
    (TEXT, {"data.holdout": {"validation": 0.6, "test": 0.6}}, 2, "validation", ["sum must be below 1"]),
    (TEXT, {"data.holdout": {"validation": 0}}, 2, "validation: 0", ["number > 0 and < 1"]),
    (PHOTOS, {"data.path": "fotos"}, 3, "path: fotos", ["fotos does not exist", "photos"]),
    (PHOTOS, {"data.path": "bare"}, 3, "path: bare", ["is empty", "cat/1.jpg"]),
    (PHOTOS, {"data.path": "reviews.csv"}, 3, "path:", ["is a file, not a folder", "source: table"]),
    (TEXT, {"backbone.weights": "./tny"}, 4, "weights: ./tny", ["there is no tny", "tiny"]),
    (PHOTOS, {"backbone.weights": "./othr.safetensors"}, 4, "weights:", ["there is no othr", "other.safetensors"]),
    (TEXT, {"backbone.name": "brt"}, 2, "name: brt", ["did you mean 'bert'?"]),
    (TEXT, {"backbone": "resnet18"}, 2, "backbone: resnet18", ["is for image", "for text: bert"]),
    (TEXT, {"backbone.augment": {"flip": "both"}}, 2, "flip: both", ["unknown key 'flip'", "word_dropout"]),
    (PHOTOS, {"backbone.augment": {"flp": "both"}}, 2, "flp: both", ["did you mean 'flip'?"]),
    (PHOTOS, {"backbone.augment": {"swap": 0.1}}, 2, "swap: 0.1", ["unknown key 'swap'", "crop, flip"]),
    (TEXT, {"task": "image-classification"}, 2, "name: bert", ["is for text", "for image: resnet"]),
    (TEXT, {"task": {"name": "text-classification", "metric": "f2"}}, 2, "metric: f2", ["unknown key 'metric'"]),
    (TEXT, {"adapter": "lorra"}, 2, "adapter: lorra", ["did you mean 'lora'?"]),
    (TEXT, {"adapter": {"name": "fine-tuning", "unfreeze": "all"}}, 2, "unfreeze: all", ["head-first or gradual"]),
    (TEXT, {"adapter": {"name": "feature-extraction", "layers": 2}}, 2, "layers: 2", ["unknown key 'layers'"]),
    (TEXT, {"train.optimizer": "adamm"}, 2, "optimizer: adamm", ["did you mean 'adam'?"]),
    (TEXT, {"train.optimizer": {"name": "adam", "momentum": 0.9}}, 2, "momentum", ["{name: sgd} or {name: rmsprop}"]),
    (TEXT, {"train.optimizer": {"name": "adam", "lr": "fast"}}, 2, "lr: fast", ["number > 0"]),
    (TEXT, {"train.scheduler": "cosin"}, 2, "scheduler: cosin", ["did you mean 'cosine'?"]),
    (TEXT, {"train.batch_size": 0}, 2, "batch_size: 0", ["whole number >= 1"]),
    (TEXT, {"train.epochs": "many"}, 2, "epochs: many", ["whole number >= 1"]),
    (TEXT, {"train.precision": "fp8"}, 2, "precision: fp8", ["fp32, bf16, fp16"]),
    (TEXT, {"train.device": "gpu"}, 2, "device: gpu", ["auto, cpu or cuda"]),
    (TEXT, {"track": ["tensorbord"]}, 2, "tensorbord", ["did you mean 'tensorboard'?"]),
    (TEXT, {"train.learning_rate": 3}, 2, "learning_rate: 3", ["unknown key 'learning_rate'"]),
    (TEXT, {"seed": -1}, 2, "seed: -1", ["whole number >= 0"]),
]
FOUND_BY_A_CLOSE_LOOK = [
    (PHOTOS, {"data.path": "single"}, 3, None, ["at least two classes", "'cat'"]),
    (PHOTOS, {"data.path": "two"}, 3, "source: folder", ["the validation split is empty", "more data"]),
    (PHOTOS, {"backbone.output": "layer9"}, 2, "output: layer9", ["no stage 'layer9'", "did you mean 'layer4'?"]),
    (PHOTOS, {"backbone.weights": "other.safetensors"}, 4, "name: resnet18", ["do not fit resnet18", "conv1.weight"]),
    (PHOTOS, {"backbone.weights": "imagenet"}, 4, "name: resnet18", ["not on this machine", "tl weights add"]),
    (PHOTOS, {"backbone.weights": "imagenett"}, 2, "weights: imagenett", ["'imagenet'"]),
    (PHOTOS, {"adapter.layers": 9}, 2, "layers: 9", ["not between 1 and 5", "layer4"]),
    (PHOTOS, {"adapter.layers": "layr4"}, 2, "layers: layr4", ["did you mean 'layer4'?"]),
    (PHOTOS, {"head": {"solver": "lbfgs"}}, 2, "solver: lbfgs", ["feature-extraction"]),
    (PHOTOS, {"train.mix": 0.5}, 2, "mix: 0.5", ["backbone.augment.mixup"]),
    (PHOTOS, {"train.precision": "fp16"}, 2, "precision: fp16", ["overflows", "bf16"]),
    (
        PHOTOS, {"data": {"source": "table", "path": "paths.csv", "input_is": "path", "label": "kind"}},
        3, "source: table", ["paths.csv:3: there is no file gone/0.png", "12 of 24"],
    ),
    (TEXT, {"data": {"source": "package", "package": "empyty", "file": "*.csv"}}, 3, "package", ["empyty"]),
    (TEXT, {"data": HUB}, 4, "source: hub", ["stanfordnlp/imdb", "save_to_disk"]),
    (TEXT, {"data.path": "one.csv"}, 3, None, ["at least two classes"]),
    (TEXT, {"data.path": "few.csv"}, 3, "source: table", ["split is empty"]),
    (TEXT, {"data.path": "unlabelled.csv"}, 3, "", ["unlabelled.csv:2: the label is empty"]),
    (TEXT, {"data.path": "splits.csv"}, 3, "source: table", ["'trian'", "20 examples", "did you mean 'train'?"]),
    (TEXT, {"data.path": "tests.csv"}, 3, "source: table", ["the train split is empty"]),
    (TEXT, {"data.path": "classes.csv"}, 3, None, ["label '2'", "in the test split", "training classes: 0, 1"]),
    (TEXT, {"data.classes": "names.txt"}, 3, "", ["no name for the label '1'", "reviews.csv:3"]),
    (
        TEXT, {"task": "text-regression", "data": {"source": "table", "path": "numbers.csv", "label": "score"}},
        3, None, ["'many' is no number"],
    ),
    (TEXT, {"backbone.weights": "./wordless"}, 4, "name: bert", ["no tokenizer", "vocab.txt"]),
    (TEXT, {"backbone.weights": "./weightless"}, 4, "name: bert", ["no weights", "model.safetensors"]),
    (TEXT, {"backbone.weights": "./damaged"}, 4, "name: bert", ["2 bytes in all", "fetch or copy the file again"]),
    (TEXT, {"backbone.weights": "./foreign"}, 4, "name: bert", ["do not fit", "left over: x.weight"]),
    (TEXT, {"backbone.max_length": 99999}, 2, "max_length: 99999", ["32 places", "write 32 or less"]),
    (TEXT, {"backbone.output": "encoder.7"}, 2, "output: encoder.7", ["did you mean 'encoder.1'?"]),
    (TEXT, {"adapter": {"name": "lora", "layers": "encodr.1"}}, 2, "layers: encodr.1", ["'encoder.1'"]),
]  # fmt: skip


def named(fault):
    return " ".join(f"{key}={value}" for key, value in fault[1].items())[:70]


@pytest.mark.parametrize("fault", FOUND_AT_A_GLANCE, ids=named)
def test_a_look_at_recipe_and_files_finds_it(check, fault):
    base, changes, code, line, said = fault
    done, at = check(base, changes, deep=False)
    assert done.exit_code == code, done.output
    assert at, done.stderr
    assert line in at[0], done.stderr
    for words in said:
        assert words in done.stderr


@pytest.mark.parametrize("fault", FOUND_BY_A_CLOSE_LOOK, ids=named)
def test_a_look_at_all_data_and_the_network_finds_it(check, monkeypatch, fault):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    base, changes, code, line, said = fault
    done, at = check(base, changes, deep=True)
    assert done.exit_code == code, done.output
    if line is not None:  # what task, backbone and adapter say of each other has no one place
        assert at, done.stderr
        assert line in at[0], done.stderr
    for words in said:
        assert words in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_absent_is_found(check):
    done, at = check(PHOTOS, {"train.device": "cuda"}, deep=True)
    assert done.exit_code == 2
    assert at == ["  device: cuda"]
    assert "--set train.device=auto" in done.stderr


def test_all_faults_are_told_at_once(check):
    changes = {"data.label": "star", "data.input": "body", "backbone.weights": "./tny", "train.epochs": -1, "sed": 3}
    done, at = check(TEXT, changes, deep=False)
    assert done.exit_code == 2
    assert "4 things stand in the way" in done.stderr
    assert {line.strip() for line in at} >= {"epochs: -1", "sed: 3", "weights: ./tny"}
    for words in ("'star'", "'body'", "did you mean 'seed'?", "there is no tny"):
        assert words in done.stderr


def test_there_are_sixty_and_sound_recipes_have_none(check):
    assert len(FOUND_AT_A_GLANCE) + len(FOUND_BY_A_CLOSE_LOOK) >= 60
    for base in (TEXT, PHOTOS):
        done, at = check(base, {}, deep=True)
        assert (done.exit_code, at) == (0, []), done.stderr


def test_what_a_run_would_remark_is_told(check):
    adapter = {"name": "fine-tuning", "layers": 1, "unfreeze": "head-first", "unfreeze_every": 50}
    done, _ = check(PHOTOS, {"adapter": adapter}, deep=True)
    assert done.exit_code == 0
    assert "note: 1 of the adapter's phases begin after the last of 25 epochs" in done.stderr
