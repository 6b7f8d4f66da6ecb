"""Eight runs on one store: each example computed once; right also where builders are killed or states pruned."""

import json
import os
import subprocess
import sys

import pytest

from tests.support import ROOT

RUNS = 8
EXAMPLES = 120

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")]

# One process imports and forks the runs, so that eight of them cost little more than one.
SERVER = """
import json, os, random, signal, sys, time
from pathlib import Path
import accelerate, torch, torchvision.transforms.v2, sklearn.metrics
import tl_adapters.lines, tl_report, tl_vision.network, tlcore.runs.run
from tlcore.features.maintenance import cache_root, evict

place, kind, runs = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
drawn = random.Random(1)

def begin(n):
    number = os.fork()
    if number:
        return number
    torch.set_num_threads(1)
    out = os.open(place / f"said-{n}.txt", os.O_CREAT | os.O_WRONLY)
    os.dup2(out, 1); os.dup2(out, 2)
    if kind == "without locks":
        import fcntl
        fcntl.flock = lambda handle, flags: None
    code = 1
    try:
        tlcore.run(place / "recipe.json", out=place / f"run-{n}")
        code = 0
    except BaseException:
        import traceback
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)

living = {begin(n): n for n in range(runs)}
killed, codes = 0, {}
until = time.monotonic() + 300
while living and time.monotonic() < until:
    if kind == "killed" and killed < runs // 2:
        time.sleep(drawn.uniform(0.2, 0.6))
        number = drawn.choice(sorted(living))
        os.kill(number, signal.SIGKILL)
        killed += 1
    if kind == "pruned":
        evict(cache_root(), 0)
    number, status = os.waitpid(-1, os.WNOHANG)
    if number:
        codes[living.pop(number)] = os.waitstatus_to_exitcode(status)
    time.sleep(0.01)
print(json.dumps({"codes": codes, "left": len(living)}))
"""


def crowd(place, kind):
    """Let the runs compete; return the manifest of each that ended well, and the exit codes."""
    code = (
        "from PIL import Image\n"
        f"for n in range({EXAMPLES}): Image.effect_noise((36, 36), 20 + n).convert('RGB').save(f'{{n % 2}}/{{n}}.png')"
    )
    for label in "01":
        (place / "photos" / label).mkdir(parents=True)
    subprocess.run([sys.executable, "-c", code], cwd=place / "photos", check=True)
    recipe = {
        "task": "image-classification",
        "data": {"source": "folder", "path": str(place / "photos")},
        "backbone": {"name": "resnet18", "weights": "random", "size": 64},
        "adapter": "feature-extraction",
        "train": {"epochs": 2, "precision": "fp32"},
        "evaluate": {"resamples": 0, "probe": False, "report": "none"},
    }
    (place / "recipe.json").write_text(json.dumps(recipe))
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "TL_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SERVER, str(place), kind, str(RUNS)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["left"] == 0
    well = [n for n, code in found["codes"].items() if code == 0]
    said = {n: (place / f"said-{n}.txt").read_text("utf-8")[-800:] for n, code in found["codes"].items() if code > 0}
    assert not said
    return [json.loads((place / f"run-{n}" / "manifest.json").read_text("utf-8")) for n in well], well


def the_same(place, numbers):
    found = {(place / f"run-{n}" / "metrics.json").read_text("utf-8") for n in numbers}
    return len(found) == 1


def test_each_example_is_computed_once(tmp_path):
    manifests, numbers = crowd(tmp_path, "plain")
    assert len(manifests) == RUNS
    assert sum(manifest["features"]["computed"] for manifest in manifests) == EXAMPLES
    assert the_same(tmp_path, numbers)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["without locks", "killed", "pruned"])
def test_they_end_right_whatever_happens_around_them(tmp_path, kind):
    manifests, numbers = crowd(tmp_path, kind)
    assert len(manifests) >= RUNS // 2
    assert the_same(tmp_path, numbers)
