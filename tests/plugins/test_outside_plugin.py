"""A stranger's package, built and installed as a stranger would, runs without a change to tlcore."""

import functools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from pyarrow import parquet

import tlcore
from tests.support import OUTSIDE
from tests.support.outside_recipe import FEATURES, RECIPE, TOP_LAYERS

TL = Path(sysconfig.get_path("scripts")) / "tl"


def run(*command: str | Path, **given) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, check=False, **given)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Return a fresh target into which the package was installed from its wheel."""
    place = tmp_path_factory.mktemp("stranger")
    source = shutil.copytree(OUTSIDE, place / "source", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    build = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place / "wheels", source)
    assert build.returncode == 0, build.stdout + build.stderr
    [wheel] = (place / "wheels").glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", place / "target"]
    install = run(*pip, wheel)
    assert install.returncode == 0, install.stderr
    return place / "target"


@pytest.fixture(scope="module")
def tl(installed, tmp_path_factory):
    """Return a function that runs the command ``tl`` where the package is installed."""
    environ = {**os.environ, "PYTHONPATH": str(installed)}
    return lambda *words: run(TL, *words, cwd=tmp_path_factory.mktemp("here"), env=environ)


@pytest.fixture(scope="module")
def finished(tl, tmp_path_factory):
    """Return a function that runs a recipe once: its folder, and what it said on standard output."""

    @functools.cache
    def run_once(task: str, source: str, adapter: str) -> tuple[Path, dict]:
        place = tmp_path_factory.mktemp(task)
        (place / "vectors.yaml").write_text(RECIPE.format(task=task, source=source, adapter=adapter))
        done = tl("run", place / "vectors.yaml", "--json", "--out", place / "run")
        assert done.returncode == 0, done.stderr
        return place / "run", json.loads(done.stdout)

    return run_once


def test_the_wheel_holds_the_package_and_its_entry_point(installed):
    assert (installed / "outside_vectors" / "network.py").is_file()
    [entry_points] = installed.glob("outside_vectors-1.0.0.dist-info/entry_points.txt")
    assert "vectors = outside_vectors" in entry_points.read_text()


def test_it_is_listed_and_shown_like_what_is_built_in(tl):
    listed = tl("list", "--json")
    assert listed.returncode == 0, listed.stderr
    names = {(one["kind"], one["full_name"]): one for one in json.loads(listed.stdout)}
    for kind, name in (("task", "vector-regression"), ("backbone", "perceptron"), ("data", "blobs")):
        assert names[kind, f"vectors/{name}"]["distribution"] == "outside-vectors"
    shown = tl("show", "backbone", "perceptron").stdout
    for word in ("outside-vectors 1.0.0", "vector", "width", "16", "Width of the hidden layers.", ">= 1"):
        assert word in shown
    plugins = json.loads(tl("plugins", "--json").stdout)
    [ours] = [one for one in plugins["plugins"] if one["name"] == "vectors"]
    assert (ours["distribution"], ours["version"]) == ("outside-vectors", "1.0.0")
    assert ours["offers"]["tasks"] == ["vector-classification", "vector-regression"]


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [FEATURES, TOP_LAYERS], ids=["feature-extraction", "fine-tuning"])
def test_it_runs_under_the_built_in_adapters(finished, adapter):
    folder, answer = finished("classification", "blobs", adapter)
    assert answer["metrics"]["test"]["macro_f1"] > 0.9
    assert answer["features"]["computed"] == 180
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["plugins"]["vectors"] == "outside-vectors 1.0.0"
    assert "cluster 1" in (folder / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [FEATURES, TOP_LAYERS], ids=["feature-extraction", "fine-tuning"])
def test_a_task_without_classes_runs_too(finished, adapter):
    folder, answer = finished("regression", "slope", adapter)
    assert answer["metrics"]["test"]["rmse"] < 0.4  # the labels deviate by 1.3
    assert answer["metrics"]["selection"] == {"metric": "rmse", "higher_is_better": False}
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    best = min(history, key=lambda record: record["validation"]["rmse"])
    assert answer["metrics"]["best_epoch"] == best["epoch"]
    rows = parquet.read_table(folder / "predictions.parquet").to_pylist()
    assert {type(row["prediction"]) for row in rows} == {float}
    assert "oot mean squared error" in (folder / "report.html").read_text()


@pytest.mark.slow
def test_its_model_is_loaded_in_a_fresh_process_with_the_same_predictions(finished, installed):
    folder, _ = finished("regression", "slope", TOP_LAYERS)
    code = (
        "import json, sys, tlcore\n"
        "from outside_vectors import SlopeOptions, build_slope\n"
        "points = {one.id: one.input for one in build_slope(SlopeOptions()).examples()}\n"
        "found = tlcore.load(sys.argv[1]).predict(list(points.values()))\n"
        "print(json.dumps({id_: row['prediction'] for id_, row in zip(points, found)}))\n"
    )
    done = run(sys.executable, "-c", code, folder, env={**os.environ, "PYTHONPATH": str(installed)})
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    rows = parquet.read_table(folder / "predictions.parquet").to_pylist()
    assert [again[row["id"]] for row in rows] == pytest.approx([row["prediction"] for row in rows], abs=1e-5)


def test_without_the_package_its_model_says_what_is_missing(finished):
    folder, _ = finished("classification", "blobs", FEATURES)
    with pytest.raises(tlcore.PluginError, match="needs the plugin 'vectors', which is not installed"):
        tlcore.load(folder)


def test_a_recipe_that_mixes_modalities_is_refused(tl, tmp_path):
    path = tmp_path / "mixed.yaml"
    text = RECIPE.format(task="classification", source="blobs", adapter=FEATURES)
    path.write_text(text.replace("perceptron, width: 16", "vgg16, weights: random"))
    done = tl("recipe", "check", path)
    assert done.returncode == 2
    assert "vector" in done.stderr
    assert "image" in done.stderr


def test_it_passes_the_conformance_checks(installed, tmp_path):
    code = (
        "import sys, pathlib, outside_vectors\n"
        "from tlcore.testing import check_plugin\n"
        "labels = {'vector-regression': (0.5, 1.0, 2.5, -3.0)}\n"
        "check_plugin(outside_vectors, pathlib.Path(sys.argv[1]), labels=labels)\n"
    )
    done = run(sys.executable, "-c", code, tmp_path, env={**os.environ, "PYTHONPATH": str(installed)})
    assert done.returncode == 0, done.stderr
