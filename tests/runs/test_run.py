"""A whole run with a modality that tlcore has never heard of: its files, its refusals, its model in a fresh process."""

import importlib
import json
import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest
import torch
import yaml
from pyarrow import parquet

import tlcore
from tests.support import OUTSIDE
from tlcore.plugins.host import PluginHost
from tlcore.plugins.registry import Registry

RECIPE = """
task: vector-classification
data: {source: blobs, per_class: 80}
backbone: {name: perceptron, width: 8}
adapter: {name: ADAPTER}
train: {epochs: 4, optimizer: {name: adam, lr: 1e-2}}
seed: 3
"""


SHADES = """
import io

from PIL import Image

from tlcore import DataSourceSpec, Example, hookimpl


def png(shade):
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (shade,) * 3).save(file, "PNG")
    return file.getvalue()


class Shades:
    def examples(self):
        for n in range(60):
            yield Example(id=str(n), input=png(n + 180 * (n % 2)), label=("dark", "light")[n % 2])


@hookimpl
def tl_data_sources():
    yield DataSourceSpec(name="shades", summary="s", modality="image", build=lambda _: Shades(), smoke=lambda _: None)
"""


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.syspath_prepend(str(OUTSIDE / "src"))
    declared = [*entry_points(group="tlcore"), EntryPoint("vectors", "outside_vectors", "tlcore")]
    return Registry(PluginHost(declared))


@pytest.fixture
def recipe(tmp_path):
    def written(adapter="feature-extraction", text=RECIPE):
        path = tmp_path / "vectors.yaml"
        path.write_text(text.replace("ADAPTER", adapter))
        return path

    return written


def run(path, registry, tmp_path, **given):
    return tlcore.run(path, registry=registry, out=tmp_path / given.pop("out", "run"), **given)


ADAPTERS = [
    "feature-extraction",
    "fine-tuning, layers: 1",
    "fine-tuning, layers: all, decay: 0.5",
    "fine-tuning, layers: layer2",
]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_run_leaves_everything_that_it_promises(recipe, registry, tmp_path, adapter):
    result = run(recipe(adapter), registry, tmp_path)
    folder = result.folder
    assert result.metrics["test"]["macro_f1"] > 0.8
    promised = "recipe.yaml manifest.json metrics.json history.jsonl predictions.parquet confusion.csv report.html"
    for name in (*promised.split(), "problems.jsonl", "model/model.safetensors", "model/artifact.json"):
        assert (folder / name).is_file(), name
    assert not (folder / "features").exists()
    assert not (folder / "checkpoints").exists()
    assert json.loads((folder / "metrics.json").read_text()) == json.loads(json.dumps(result.metrics))
    assert len((folder / "history.jsonl").read_text().splitlines()) == 4
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["seed"] == 3
    assert sum(manifest["counts"].values()) == 240
    table = parquet.read_table(folder / "predictions.parquet").to_pydict()
    assert set(table["split"]) == {"test", "validation"}
    assert len(table["id"]) == manifest["counts"]["test"] + manifest["counts"]["validation"]
    rows = (folder / "confusion.csv").read_text().splitlines()
    assert rows[0] == "truth \\ prediction,cluster 0,cluster 1,cluster 2"
    assert sum(int(cell) for row in rows[1:] for cell in row.split(",")[1:]) == manifest["counts"]["test"]


def test_the_line_decides_what_is_trained(recipe, registry, tmp_path):
    manifest = json.loads(
        (run(recipe("fine-tuning, layers: 1"), registry, tmp_path).folder / "manifest.json").read_text()
    )
    assert manifest["backbone"]["freeze_line"] == 2
    assert manifest["backbone"]["first_trained"] == "layer3"
    assert manifest["backbone"]["trained_parameters"] == (8 * 8 + 8) + (8 * 3 + 3)
    assert manifest["backbone"]["frozen_parameters"] == (2 * 8 + 8) + (8 * 8 + 8)
    assert manifest["features"].items() >= {"computed": 240, "reused": 0}.items()


def test_the_resolved_recipe_run_again_gives_the_same_run(recipe, registry, tmp_path):
    first = run(recipe("fine-tuning, layers: 2"), registry, tmp_path)
    again = run(first.folder / "recipe.yaml", registry, tmp_path, out="again")
    assert again.metrics == first.metrics
    losses = [
        [json.loads(line)["train"]["loss"] for line in (result.folder / "history.jsonl").read_text().splitlines()]
        for result in (first, again)
    ]
    assert losses[0] == losses[1]
    assert yaml.safe_load((again.folder / "recipe.yaml").read_text()) == yaml.safe_load(
        (first.folder / "recipe.yaml").read_text()
    )


def test_a_fresh_process_predicts_what_the_run_wrote(recipe, registry, tmp_path):
    result = run(recipe("fine-tuning, layers: 2"), registry, tmp_path)
    table = parquet.read_table(result.folder / "predictions.parquet").to_pylist()
    source = registry.find("data", "blobs").spec
    inputs = {example.id: example.input for example in source.build(source.options(per_class=80)).examples()}
    code = f"""
import json, sys
from importlib.metadata import EntryPoint, entry_points
sys.path.insert(0, {str(OUTSIDE / "src")!r})
import tlcore
from tlcore.plugins.host import PluginHost
from tlcore.plugins.registry import Registry
host = PluginHost([*entry_points(group="tlcore"), EntryPoint("vectors", "outside_vectors", "tlcore")])
model = tlcore.load({str(result.folder)!r}, registry=Registry(host))
print(json.dumps(model.predict(json.loads(sys.stdin.read()))))
"""
    given = json.dumps([inputs[row["id"]] for row in table])
    answer = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, text=True, check=True)
    for found, row in zip(json.loads(answer.stdout), table, strict=True):
        assert found["prediction"] == row["prediction"]
        assert found["probability of cluster 1"] == pytest.approx(row["probability of cluster 1"], abs=1e-6)


def test_a_model_needs_only_the_plugins_of_its_task_backbone_and_adapter(recipe, tmp_path, monkeypatch):
    """Trained on an outside plugin's data source, loaded where neither that nor a built-in data source is there."""
    (tmp_path / "shades.py").write_text(SHADES)
    monkeypatch.syspath_prepend(str(tmp_path))
    declared = [*entry_points(group="tlcore"), EntryPoint("shades", "shades", "tlcore")]
    text = (
        "task: image-classification\ndata: shades\nadapter: {name: fine-tuning, layers: 1}\n"
        "backbone: {name: resnet18, weights: random, output: layer1, size: 32}\n"
        "train: {epochs: 2}\nevaluate: {probe: false, resamples: 0, report: none}\n"
    )
    folder = run(recipe(text=text), Registry(PluginHost(declared)), tmp_path).folder
    needed = PluginHost(disabled=["data", "demo", "report", "text"], environ={"TL_PLUGINS": ""})
    model = tlcore.load(folder, registry=Registry(needed))
    png = importlib.import_module("shades").png
    answers = model.predict([png(10), b"not an image", png(230)])
    assert [answers[0]["prediction"], answers[2]["prediction"]] == ["dark", "light"]
    assert "problem" in answers[1]
    with pytest.raises(tlcore.PluginError, match="needs the plugin 'vision', which is switched off"):
        tlcore.load(folder, registry=Registry(PluginHost(disabled=["vision"])))


def test_a_saved_model_holds_no_keys_of_the_recipe_and_no_place_of_its_data(recipe, registry, tmp_path):
    folder = run(recipe("fine-tuning, layers: 1"), registry, tmp_path).folder
    about = json.loads((folder / "model" / "artifact.json").read_text())
    assert about["format"] == 4
    assert about["tlcore"] == tlcore.__version__
    assert about["adapter"]["name"] == "adapters/fine-tuning"
    assert about["adapter"]["options"]["layers"] == 1
    assert about["backbone"] == {
        "name": "vectors/perceptron", "options": {"width": 8, "depth": 3, "output": None},
    }  # fmt: skip
    assert not {"recipe", "data", "train", "head", "features", "evaluate", "track", "seed"} & set(about)
    assert json.loads((folder / "manifest.json").read_text())["recipe"]["train"]["epochs"] == 4


def test_loading_does_not_move_the_global_random_numbers(recipe, registry, tmp_path):
    folder = run(recipe("lora, layers: 1"), registry, tmp_path).folder
    before = torch.get_rng_state()
    tlcore.load(folder, registry=registry)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_input_that_cannot_be_read_says_so_and_shifts_nothing(recipe, registry, tmp_path):
    model = tlcore.load(run(recipe(), registry, tmp_path).folder, registry=registry)
    answers = model.predict([(1.0, 0.0), (1.0, 0.0, 0.0), (-0.5, 0.87)])
    assert answers[0]["prediction"] == "cluster 0"
    assert answers[1] == {"problem": "expected 2 numbers, got 3"}
    assert answers[2]["prediction"] == "cluster 1"
    assert model.predict([]) == []
    assert "problem" in model.predict([(1.0,)])[0]


def test_nothing_is_overwritten(recipe, registry, tmp_path):
    run(recipe(), registry, tmp_path)
    with pytest.raises(tlcore.UsageError, match="overwrites nothing"):
        run(recipe(), registry, tmp_path)


def test_runs_get_folders_of_their_own(recipe, registry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [tlcore.run(recipe(), registry=registry, overrides=["train.epochs=1"]).folder for _ in range(2)]
    assert folders[0] != folders[1]
    assert folders[0].parent == Path("runs/vectors")


@pytest.mark.parametrize("name", ["model.safetensors", "artifact.json"])
def test_a_changed_model_is_refused(recipe, registry, tmp_path, name):
    folder = run(recipe(), registry, tmp_path).folder
    raw = bytearray((folder / "model" / name).read_bytes())
    raw[-3] ^= 1
    (folder / "model" / name).write_bytes(raw)
    with pytest.raises(tlcore.WeightsError, match="was changed since"):
        tlcore.load(folder, registry=registry)


def test_a_run_without_a_model_is_refused_by_name(tmp_path, registry):
    with pytest.raises(tlcore.UsageError, match="there is no model at"):
        tlcore.load(tmp_path / "nowhere", registry=registry)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "recipe.yaml").touch()
    with pytest.raises(tlcore.UsageError, match="did not finish"):
        tlcore.load(tmp_path / "half", registry=registry)


def test_one_class_is_an_error_before_anything_is_written(recipe, registry, tmp_path, monkeypatch):
    source = registry.find("data", "blobs").spec.build

    class OneClass:
        def __init__(self, options):
            self.inner = source(options)

        def examples(self):
            return (example for example in self.inner.examples() if example.label == "cluster 0")

    spec = registry.find("data", "blobs").spec
    object.__setattr__(spec, "build", OneClass)
    with pytest.raises(tlcore.DataError, match="at least two classes"):
        run(recipe(), registry, tmp_path)
    assert not (tmp_path / "run").exists()


def test_an_interrupted_run_leaves_no_features_and_no_model(recipe, registry, tmp_path):
    def stop(phase, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(recipe(), registry, tmp_path, progress=stop)
    assert not (tmp_path / "run" / "features").exists()
    assert not (tmp_path / "run" / "model").exists()


def test_mixing_that_cannot_work_is_refused_before_anything_is_computed(recipe, registry, tmp_path):
    with pytest.raises(tlcore.UsageError):
        run(recipe(), registry, tmp_path, overrides=["train.mix=0.5"])
    assert not (tmp_path / "run").exists()
