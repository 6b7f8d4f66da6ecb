"""One run shared by several processes: each example once, the numbers of one process, one writer, no hang."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

RECIPE = {
    "task": "image-classification",
    "data": {"source": "folder", "path": "photos"},
    "backbone": {"name": "vgg16", "weights": "random", "size": 32, "output": "block2"},
    "train": {"epochs": 2, "precision": "fp32", "batch_size": 7},
    "evaluate": {"resamples": 20, "probe": True},
}
ADAPTERS = {
    "features": "feature-extraction",
    "top": {"name": "fine-tuning", "layers": 1},
    "all": {"name": "fine-tuning", "layers": "all"},
}
TL = [sys.executable, "-m", "tlcore.cli", "run", "recipe.yaml", "--json"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for n in range(41):
        path = tmp_path / "photos" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (36, 36), (130 if n % 2 else 110, 6 * n, 90)).save(path)
    return tmp_path


def finished(place, name, command):
    environ = {**os.environ, "TL_CACHE": str(place / f"cache {name}"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--out", name], capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    lines = (place / name / "history.jsonl").read_text().splitlines()
    return answer, [json.loads(line) for line in lines]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_two_processes_reach_the_numbers_of_one(place, adapter):
    (place / "recipe.yaml").write_text(json.dumps({**RECIPE, "adapter": ADAPTERS[adapter]}))
    alone, history = finished(place, "alone", TL)
    shared, other = finished(place, "shared", [*TL, "--processes", "2"])
    assert shared["features"]["computed"] == alone["features"]["computed"] == (0 if adapter == "all" else 41)
    exactly = adapter == "features"
    for one, two in zip(history, other, strict=True):
        loss = one["train"]["loss"]
        assert two["train"]["loss"] == (loss if exactly else pytest.approx(loss, rel=1e-4))
    for split in ("validation", "test"):
        for name, value in alone["metrics"][split].items():
            if isinstance(value, float):
                expected = value if exactly else pytest.approx(value, rel=1e-3, abs=1e-4)
                assert shared["metrics"][split][name] == expected, name
    manifest = json.loads((place / "shared" / "manifest.json").read_text())
    assert manifest["processes"] == 2


def test_torchrun_starts_it_too(place):
    (place / "recipe.yaml").write_text(json.dumps({**RECIPE, "adapter": "feature-extraction"}))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", *TL[2:]]
    answer, _ = finished(place, "torchrun", command)
    assert answer["features"]["computed"] == 41


def test_a_killed_process_ends_the_others_and_is_named(place):
    recipe = {**RECIPE, "adapter": ADAPTERS["all"], "train": {"epochs": 5000, "precision": "fp32"}}
    (place / "recipe.yaml").write_text(json.dumps(recipe))
    started = subprocess.Popen([*TL, "--processes", "2", "--out", "run"], stderr=subprocess.PIPE, text=True)
    try:
        _until(lambda: (place / "run" / "history.jsonl").exists())
        children = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(started.pid)], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        assert len(children) == 2
        began = time.monotonic()
        os.kill(int(children[1].split()[0]), signal.SIGKILL)
        _, said = started.communicate(timeout=30)
        assert time.monotonic() - began < 10
        assert started.returncode == 137
        assert "process 1 of 2 failed by signal 9 (SIGKILL)" in said
    finally:
        started.kill()


def test_a_mistake_is_told_once(place):
    (place / "recipe.yaml").write_text(json.dumps({**RECIPE, "adapter": "feature-extraction", "epocs": 3}))
    done = subprocess.run([*TL, "--processes", "2"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("epocs") == 1


def _until(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
