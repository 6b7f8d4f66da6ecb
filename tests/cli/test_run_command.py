"""`tl run` and `tl predict` as a user types them, on the outside plugin's modality and on texts."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from tests.support import OUTSIDE
from tlcore.cli import app
from tlcore.training.model import FeatureScaler, TrainableModel

RECIPE = """
task: vector-classification
data: {source: blobs, per_class: 80}
backbone: {name: perceptron, width: 8}
adapter: feature-extraction
train: {epochs: 3, optimizer: {name: adam, lr: 1e-2}}
"""


@pytest.fixture
def site(tmp_path):
    """Return a folder in which the outside plugin is installed, as far as metadata goes."""
    place = tmp_path / "site"
    info = place / "outside_vectors-1.0.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-vectors\nVersion: 1.0.0\n")
    (info / "entry_points.txt").write_text("[tlcore]\nvectors = outside_vectors\n")
    (place / "outside_vectors").symlink_to(OUTSIDE / "src" / "outside_vectors")
    return place


@pytest.fixture
def tl(site, tmp_path, monkeypatch):
    """Return a function that runs a command in a folder of its own."""
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vectors.yaml").write_text(RECIPE)
    return lambda *words, **given: CliRunner().invoke(app, words, prog_name="tl", **given)


def test_json_is_all_that_stands_on_standard_output(tl):
    done = tl("run", "vectors.yaml", "--json")
    assert done.exit_code == 0, done.stderr
    answer = json.loads(done.stdout)
    assert set(answer) == {"run", "metrics", "seconds", "features"}
    assert answer["features"].items() >= {"computed": 240, "reused": 0}.items()
    assert Path(answer["run"], "metrics.json").is_file()
    assert answer["metrics"]["test"]["macro_f1"] > 0.8


def test_out_names_the_folder_and_nothing_in_it_is_overwritten(tl):
    assert tl("run", "vectors.yaml", "--out", "here").exit_code == 0
    again = tl("run", "vectors.yaml", "--out", "here")
    assert again.exit_code == 2
    assert "overwrites nothing" in again.stderr
    assert "--out" in again.stderr


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        (["train.epoch=3"], 2, "epochs"),
        (["train.precision=fp16"], 2, "bf16"),
        (["backbone.output=layer9"], 2, "layer1, layer2, layer3"),
        (["adapter={name: fine-tuning, layers: 9}"], 2, "not between 1 and 3"),
        (["task=image-classification"], 2, "vector"),
        (["backbone=perceptrn"], 2, "perceptron"),
        (["data.classes=1"], 2, "classes"),
        (["train.optimizer={name: sgd, lr: 1e30}", "adapter={name: fine-tuning, layers: all}"], 6, "not finite"),
    ],
)
def test_a_mistake_ends_with_its_code_and_a_message_but_no_traceback(tl, settings, code, said):
    words = [word for setting in settings for word in ("--set", setting)]
    done = tl("run", "vectors.yaml", *words)
    assert done.exit_code == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give a recipe to run, or --resume"),
        (["a.yaml", "--resume", "out"], "a recipe and --resume"),
        (["--resume", "out", "--out", "other"], "goes on in its own folder"),
    ],
)
def test_a_run_is_begun_or_gone_on_with(words, said):
    done = CliRunner().invoke(app, ["run", *words])
    assert (done.exit_code, said in done.stderr) == (2, True)


def test_predicting_from_lines_gives_a_row_for_each_also_for_a_bad_one(tl):
    assert tl("run", "vectors.yaml", "--out", "here").exit_code == 0
    done = tl("predict", "here", "-", "--format", "jsonl", input='[1.0, 0.0]\n[1.0]\n{"input": [-0.5, 0.9]}\n')
    assert done.exit_code == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row.get("prediction") for row in rows] == ["cluster 0", None, "cluster 1"]
    assert rows[1] == {"id": "line 2", "problem": "expected 2 numbers, got 1"}
    assert "1 of 3 inputs could not be read" in done.stderr
    as_csv = tl("predict", "here", "-", "--format", "csv", input="[1.0, 0.0]\n").stdout.splitlines()
    assert as_csv[0].startswith("id,prediction,confidence,probability of cluster 0")
    assert as_csv[1].startswith("line 1,cluster 0,")
    assert "cluster 0" in tl("predict", "here", "-", input="[1.0, 0.0]\n").stdout


def test_predicting_nothing_or_with_nothing_is_refused(tl):
    assert tl("predict", "nowhere", "-", input="[1, 2]\n").exit_code == 2
    assert tl("run", "vectors.yaml", "--out", "here").exit_code == 0
    assert tl("predict", "here", "gone.jsonl").exit_code == 3
    assert tl("predict", "here", "-", input="").exit_code == 3
    assert tl("predict", "here", "-", input="[1.0]\n").exit_code == 3
    assert tl("predict", "here", "-", input="not json\n").exit_code == 2


@pytest.mark.slow
def test_an_interrupt_ends_with_130_and_no_traceback(site, tmp_path):
    (tmp_path / "vectors.yaml").write_text(RECIPE)
    words = ["run", "vectors.yaml", "--out", "here", "--set", "train.epochs=100000"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from tlcore.cli import main; main()", *words],
        cwd=tmp_path, env={"PYTHONPATH": str(site), "HOME": str(tmp_path)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 600
    while not (tmp_path / "here" / "history.jsonl").is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "interrupted" in said
    assert not (tmp_path / "here" / "features").exists()


def test_a_value_that_is_not_finite_ends_the_run_with_the_step_the_example_and_the_module(tl, tmp_path, monkeypatch):
    forward, bad = FeatureScaler.forward, []

    def overflowing(self, features):
        found = forward(self, features)
        if self.training and (tmp_path / "here" / "checkpoints").exists():
            bad.extend(features[2:3].tolist())
            found[2] *= torch.inf
        return found

    monkeypatch.setattr(FeatureScaler, "forward", overflowing)
    done = tl(
        "run", "vectors.yaml", "--out", "here", "--set", "adapter={name: fine-tuning, layers: all}",
        "--set", "train.checkpoint_steps=2",
    )  # fmt: skip
    assert done.exit_code == 6, done.stderr
    assert "error: the loss is not finite at step 2; the step was not taken" in done.stderr
    assert "the first value that is not finite: the output of standardise" in done.stderr
    assert re.search(r"\n  examples: \S+\n", done.stderr)
    assert len(bad) == 2
    assert bad[0] == bad[1]
    kept = list((tmp_path / "here" / "checkpoints").glob("*/*.safetensors"))
    assert kept
    assert all(bool(value.isfinite().all()) for path in kept for value in load_file(path).values())


def test_weights_that_overflow_in_a_step_are_never_written(tl, tmp_path):
    done = tl(
        "run", "vectors.yaml", "--out", "here", "--set", "adapter={name: fine-tuning, layers: all}",
        "--set", "train.lr=1e30", "--set", "train.checkpoint_steps=1",
    )  # fmt: skip
    assert done.exit_code == 6, done.stderr
    kept = list((tmp_path / "here" / "checkpoints").glob("*/*.safetensors"))
    assert all(bool(value.isfinite().all()) for path in kept for value in load_file(path).values())


def test_where_memory_ends_it_is_explained_and_the_flag_keeps_the_step(tl, tmp_path, monkeypatch):
    whole = ["--set", "adapter={name: fine-tuning, layers: all}", "--set", "train.precision=fp32"]
    assert tl("run", "vectors.yaml", "--out", "whole", *whole).exit_code == 0
    forward = TrainableModel.forward

    def small(self, state):
        if self.training and len(next(iter(state.values()))) > 9:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(self, state)

    monkeypatch.setattr(TrainableModel, "forward", small)
    refused = tl("run", "vectors.yaml", "--out", "refused", *whole)
    assert refused.exit_code == 5
    assert "Tried to allocate 2.00 GiB" in refused.stderr
    assert "--fit-memory" in refused.stderr
    done = tl("run", "vectors.yaml", "--out", "parts", "--fit-memory", *whole)
    assert done.exit_code == 0, done.stderr
    assert "now runs in microbatches of" in done.stderr
    losses = [
        [json.loads(line)["train"]["loss"] for line in (tmp_path / name / "history.jsonl").read_text().splitlines()]
        for name in ("whole", "parts")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
