"""`tl reproduce`: the same numbers again, or what differs and what may be why."""

import json
import os
import subprocess
import sys

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import tlcore
from tlcore.cli import app

RECIPE = {
    "task": "image-classification",
    "data": {"source": "folder", "path": "photos"},
    "backbone": {"name": "resnet18", "weights": "random", "size": 32},
    "adapter": {"name": "fine-tuning", "layers": 1, "dropout": 0.2},
    "train": {"epochs": 2, "batch_size": 8, "precision": "fp32"},
    "evaluate": {"resamples": 10, "probe": False, "report": "none"},
}


@pytest.fixture
def first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TL_CACHE", str(tmp_path / "cache"))
    for n in range(40):
        path = tmp_path / "photos" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((36, 36), 20 + n).convert("RGB").point(lambda v, n=n: v // (1 + n % 2)).save(path)
    (tmp_path / "recipe.yaml").write_text(json.dumps(RECIPE))
    return tlcore.run("recipe.yaml", warn=lambda text: None).folder.resolve()


def tl(*words):
    return CliRunner().invoke(app, ["reproduce", *map(str, words)])


@pytest.mark.slow
def test_it_is_the_same_to_the_last_bit_also_from_elsewhere(first, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = tl(first, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["different"], found["surroundings"]) == ([], [])
    assert found["run"] != str(first)
    assert (first.parent / found["run"] / "report.html").exists() is False
    assert "the same to the last bit" in tl(first, "--out", tmp_path / "third").stdout


@pytest.mark.slow
def test_other_data_and_another_processor_are_named_beside_what_differs(first, tmp_path):
    Image.new("RGB", (36, 36), "red").save(tmp_path / "photos" / "a" / "new.png")
    manifest = json.loads((first / "manifest.json").read_text("utf-8"))
    assert manifest["processor"]["kernels"] == torch.backends.cpu.get_cpu_capability()
    manifest["processor"] = {"name": "Z80", "kernels": "none", "threads": 1000}
    (first / "manifest.json").write_text(json.dumps(manifest))
    done = tl(first)
    assert done.exit_code == 6
    assert "metrics." in done.stderr
    assert "predictions.parquet: other bytes" in done.stderr
    for what in ("data.digest", "processor.name: Z80", "processor.kernels: none", "processor.threads: 1000"):
        assert f"it ran with another {what}" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("around", "named"),
    [
        ({"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}, "processor.kernels"),
        ({"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}, "processor.kernels"),
        ({"OMP_NUM_THREADS": str(torch.get_num_threads() + 1)}, "processor.threads"),
    ],
)
def test_other_kernels_and_threads_are_told_where_a_run_is_repeated_with_them(first, around, named):
    words = [sys.executable, "-m", "tlcore.cli", "reproduce", str(first), "--json"]
    done = subprocess.run(words, env={**os.environ, **around}, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert done.returncode == (6 if found["different"] else 0), done.stderr
    other = {line.split(":")[0] for line in found["surroundings"]}
    assert other - {"weights"} == {named}  # kernels also draw random weights
    if found["different"]:
        assert f"it ran with another {named}" in done.stderr


def test_an_unfinished_or_no_run_is_refused(first, tmp_path):
    (first / "begun.json").write_text("{}")
    done = tl(first)
    assert (done.exit_code, "tl run --resume" in done.stderr) == (2, True)
    assert tl(tmp_path / "photos").exit_code == 4
