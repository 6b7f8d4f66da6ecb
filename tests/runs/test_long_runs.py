"""Many runs in one process, and many epochs in one run: memory, threads, descriptors and temporary files stay flat."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc"),
]

SCRIPT = """
import json, os, sys, shutil, threading
from pathlib import Path
from PIL import Image
import tlcore

place, kind, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for n in range(40):
    path = place / "photos" / "ab"[n % 2] / f"{n}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((36, 36), 20 + n).convert("RGB").save(path)
recipe = {
    "task": "image-classification",
    "data": {"source": "folder", "path": str(place / "photos")},
    "backbone": {"name": "resnet18", "weights": "random", "size": 32},
    "adapter": "feature-extraction",
    "train": {"epochs": 2, "precision": "fp32"},
    "evaluate": {"resamples": 10},
}
(place / "recipe.json").write_text(json.dumps(recipe))

def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
    left = sum(len(files) for _, _, files in os.walk(place / "temporary"))
    return {"MB": kilobytes / 1024, "threads": threading.active_count(), "files": len(os.listdir("/proc/self/fd")),
            "temporary": left}

seen = []
quiet = {"warn": lambda text: None}
sys.stdout = sys.stderr = open(os.devnull, "w")
if kind == "runs":
    for n in range(count):
        shutil.rmtree(tlcore.run(place / "recipe.json", out=place / f"run-{n}", **quiet).folder)
        if n in (count // 5, count - 1):
            seen.append(held())
else:
    from tlcore.training.evaluator import Evaluator
    evaluate, epochs = Evaluator.evaluate_epoch, []
    def counted(self, *given):
        epochs.append(1)
        if len(epochs) in (count // 5, count - 1):
            seen.append(held())
        return evaluate(self, *given)
    Evaluator.evaluate_epoch = counted
    tlcore.run(place / "recipe.json", out=place / "run", overrides=[f"train.epochs={count}"], **quiet)
print(json.dumps(seen), file=sys.__stdout__)
"""


@pytest.mark.parametrize(("kind", "count"), [("runs", 500), ("epochs", 2000)])
def test_nothing_grows(tmp_path, kind, count):
    (tmp_path / "temporary").mkdir()
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(tmp_path / "temporary"), "OMP_NUM_THREADS": "1"}
    count = int(os.environ.get("TL_LONG_RUNS", count))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), kind, str(count)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    early, late = json.loads(done.stdout)
    print(kind, early, late)  # noqa: T201
    assert (late["threads"], late["temporary"]) == (early["threads"], early["temporary"])
    assert late["files"] <= early["files"] + 1
    assert late["MB"] <= 1.05 * early["MB"] + 5
