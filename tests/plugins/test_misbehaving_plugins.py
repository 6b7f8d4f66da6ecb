"""Plugins that misbehave while a run is at work: it ends with an error that names them, or they harm nothing."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tlcore
from tests.support import MISBEHAVING, OUTSIDE
from tests.support.site import Site
from tlcore.cli import app

GOOD = {
    "task": "vector-classification",
    "data": {"source": "blobs", "per_class": 20},
    "backbone": {"name": "perceptron", "width": 8},
    "adapter": "feature-extraction",
    "train": {"epochs": 1, "batch_size": 8, "precision": "fp32"},
    "evaluate": {"resamples": 0, "probe": False, "report": "none"},
}
PLUGIN, DATA, NUMBERS = 8, 3, 6

ENDING = [
    ("task", "metric nan", NUMBERS, "macro_f1 is nan"),
    ("task", "metric text", PLUGIN, "Odd.evaluate gave 'good' as its macro_f1"),
    ("task", "metric absent", PLUGIN, "Odd.evaluate gave no macro_f1"),
    ("task", "metric tensor", PLUGIN, "'accuracy' that cannot be written"),
    ("task", "scores by chance", PLUGIN, "other metrics for the same outputs"),
    ("task", "no evaluation", PLUGIN, "not a tlcore.Evaluation"),
    ("task", "loss vector", PLUGIN, "Odd.loss gave a tensor [8]"),
    ("task", "loss whole", PLUGIN, "of int64"),
    ("task", "loss detached", PLUGIN, "through which no gradient flows back"),
    ("task", "loss elsewhere", PLUGIN, "no gradient has come back to head"),
    ("task", "loss nan", NUMBERS, "the loss, although the outputs are finite"),
    ("task", "loss raising", PLUGIN, "failed in method: RuntimeError\n"),
    ("task", "loss stopping", PLUGIN, "failed in method: StopIteration"),
    ("task", "loss exiting", PLUGIN, "failed in method: SystemExit: 0"),
    ("task", "decode short", PLUGIN, "8 values of 'prediction' for 9 examples"),
    ("task", "decode tensors", PLUGIN, "values of 'prediction' that are not plain ones"),
    ("task", "encode short", PLUGIN, "Odd.encode gave a tensor [44]"),
    ("task", "encode beyond", PLUGIN, "failed in Odd.loss: IndexError"),
    ("task", "mistakes short", PLUGIN, "Odd.mistakes gave a tensor [8]"),
    ("task", "sampling short", PLUGIN, "not one weight for 45 examples"),
    ("data", "ids whole", PLUGIN, "an example whose id"),
    ("data", "ids twice", DATA, "the id '0' stands on two examples"),
    ("data", "ids unwritable", PLUGIN, "not a text that can be written"),
    ("data", "no labels", DATA, "it has no label"),
    ("data", "labels nan", DATA, "it has no label"),
    ("data", "labels odd", PLUGIN, "a label that is a value of type object"),
    ("data", "breaking off", PLUGIN, "failed in breaking_off: KeyError: 'row'"),
    ("data", "dicts", PLUGIN, "neither an Example nor a Problem"),
    ("data", "nothing", PLUGIN, "Odd.examples gave None"),
    ("backbone", "prepare None", PLUGIN, "Odd.prepare gave None"),
    ("backbone", "prepare numpy", PLUGIN, "type ndarray as 'hidden'"),
    ("backbone", "prepare meta", PLUGIN, "not a dense tensor on the CPU"),
    ("backbone", "prepare moved", PLUGIN, "mixes up rows"),
    ("backbone", "prepare by chance", PLUGIN, "it draws at random"),
    ("backbone", "prepare types", PLUGIN, "of other names or types"),
    ("backbone", "prepare raising", PLUGIN, "failed in method: Exception\n"),
    ("backbone", "prepare exiting", PLUGIN, "failed in method: SystemExit: 0"),
    ("backbone", "stage short", PLUGIN, "rows of features for 16 that they took"),
    ("backbone", "stage keeping", PLUGIN, "change weights or buffers of theirs"),
    ("backbone", "stage of companions", PLUGIN, "make a row depend on the others"),
    ("backbone", "stage numpy", PLUGIN, "Odd.pool gave a value of type ndarray"),
    ("backbone", "stage raising", PLUGIN, "failed in method: Exception\n"),
    ("backbone", "stage cut off", PLUGIN, "no gradient has come back to layer3"),
    ("backbone", "pool narrow", PLUGIN, "while feature_dim is 8"),
    ("backbone", "unwritable", PLUGIN, "'size' that cannot be written as JSON"),
    ("adapter", "line outside", PLUGIN, "Odd.plan drew its line at 99, outside of 0 to 3"),
    ("adapter", "line name", PLUGIN, "drew its line at 'layer3'"),
    ("adapter", "nothing trained", PLUGIN, "the adapter trains nothing"),
    ("adapter", "head wide", PLUGIN, "gave a head that makes a tensor [2, 4]"),
    ("adapter", "replacing", PLUGIN, "Odd.plan changed the backbone"),
    ("adapter", "sharing", PLUGIN, "are one tensor, which could not be saved"),
    ("adapter", "uphill", PLUGIN, "scaled the learning rate of layer3 by -1.0"),
    ("adapter", "injecting nothing", PLUGIN, "made a NoneType of 'layer3'"),
    ("adapter", "phase outside", PLUGIN, "outside of 2 to 3"),
    ("adapter", "None", PLUGIN, "Odd.plan gave None"),
]  # fmt: skip


ALIKE = (
    "metric text", "metric tensor", "no evaluation", "loss whole", "loss stopping", "loss nan", "decode tensors",
    "sampling short", "prepare numpy", "prepare meta", "prepare raising", "stage numpy", "stage raising",
    "injecting nothing", "prepare exiting", "mistakes short",
)  # fmt: skip
"""Faults that are found where others of these are; they take as long as those."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return a folder in which the plugins are installed, and a cache that knows them."""
    site = Site(tmp_path_factory.mktemp("site"))
    for package, folder in (("odd", MISBEHAVING), ("outside_vectors", OUTSIDE / "src")):
        (site.folder / package).symlink_to(folder / package)
        site.install(f"{package}-package", {package: package})
    return site.folder, tmp_path_factory.mktemp("cache")


@pytest.fixture
def tl(installed, tmp_path, monkeypatch):
    """Return a function that runs a good recipe but for one part."""
    site, cache = installed
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("TL_CACHE", str(cache))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.chdir(tmp_path)

    def run(kind, fault, *words, **changed):
        recipe = {**GOOD, **changed, "features": {"store": "never"}}
        recipe[kind] = {"source" if kind == "data" else "name": "odd", "fault": fault}
        Path("recipe.yaml").write_text(json.dumps(recipe))
        return CliRunner().invoke(app, ["run", "recipe.yaml", "--out", "out", *words])

    return run


def marked(kind, fault, *expected):
    marks = pytest.mark.long if fault in ALIKE else ()
    return pytest.param(kind, fault, *expected, id=f"{kind}: {fault}", marks=marks)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "fault", "code", "said"), [marked(*case) for case in ENDING])
def test_a_run_ends_with_an_error_that_names_what_is_at_fault(tl, kind, fault, code, said):
    trained = {"adapter": "fine-tuning"} if fault == "stage cut off" else {}
    done = tl(kind, fault, **trained)
    assert done.exit_code == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not Path("out", "manifest.json").exists()


def test_from_python_too_the_error_names_the_plugin(tl):
    tl("task", "loss raising")
    with pytest.raises(tlcore.PluginError, match=r"plugin odd .* failed in method: RuntimeError"):
        tlcore.run("recipe.yaml", out="again", warn=lambda text: None)


def metrics_of(done):
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)["metrics"]["test"]


def test_what_costs_no_result_is_noted(tl, tmp_path, installed):
    installed[1].chmod(0o777)
    done = tl("task", "preview raising", "--json")
    installed[1].chmod(0o755)
    assert metrics_of(done)["n"] == 6
    assert "Odd.preview failed, so a mistake is shown without its input: ValueError: cannot show it" in done.stderr
    # Its hooks changed what they heard of, and one ended the process.
    assert "failed at tl_run_finished: SystemExit: 0" in done.stderr
    assert json.loads(Path("out", "history.jsonl").read_text())["epoch"] == 1


def test_what_a_plugin_prints_or_draws_changes_no_result(tl, capfd):
    whole = metrics_of(tl("task", "none", "--json"))
    Path("out").rename("first")
    assert metrics_of(tl("task", "another seed", "--json")) == whole
    Path("out").rename("second")
    capfd.readouterr()
    assert metrics_of(tl("task", "printing", "--json")) == whole


def test_labels_of_several_types_are_written(tl):
    assert metrics_of(tl("data", "labels mixed", "--json"))["n"] > 0
