"""The same recipe gives the same bits, whatever hashing, order of folders, locale, time zone or place is around it."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import numpy
import pytest
from PIL import Image

from tests.support import ROOT

pytestmark = pytest.mark.slow

RECIPE = {
    "task": "image-classification",
    "data": {"source": "folder", "path": "PHOTOS"},
    "backbone": {"name": "resnet18", "weights": "random", "size": 32, "augment": {"flip": "horizontal"}},
    "adapter": {"name": "fine-tuning", "layers": 1, "dropout": 0.2},
    "train": {"epochs": 2, "batch_size": 8, "precision": "fp32", "device": "cpu", "views": 2},
    "evaluate": {"resamples": 10, "report": "none"},
}
SCRIPT = """
import locale, os, random, sys
recipe, threads, shuffled, letters, *outs = sys.argv[1:]
if shuffled != "no":
    drawn = random.Random(shuffled)
    listdir, scandir = os.listdir, os.scandir

    class Entries(list):
        def __enter__(self):
            return self
        def __exit__(self, *error):
            pass
        def close(self):
            pass
        def __next__(self):
            return self.pop()

    def shaken(found):
        found = list(found)
        drawn.shuffle(found)
        return found

    os.listdir = lambda *given: shaken(listdir(*given))
    os.scandir = lambda *given: Entries(shaken(scandir(*given)))
if letters == "turkish":  # what a Turkish locale does to letters in libraries written in C, where it is installed
    try:
        locale.setlocale(locale.LC_ALL, "tr_TR.UTF-8")
    except locale.Error:
        sys.exit(77)
elif letters != "no":
    locale.setlocale(locale.LC_ALL, letters)
import torch
torch.set_num_threads(int(threads))
import tlcore
for out in outs:
    tlcore.run(recipe, out=out, warn=lambda text: None)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("same")
    drawn = numpy.random.default_rng(0)
    for n in range(40):
        path = folder / "photos" / ("İçi", "iç")[n % 2] / f"{n}.png"  # letters on which locales disagree
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = drawn.integers(0, 256, (36, 36, 3), dtype=numpy.uint8) // (1 + n % 2)
        Image.fromarray(pixels.astype(numpy.uint8)).save(path)
    (folder / "recipe.yaml").write_text(json.dumps(RECIPE).replace("PHOTOS", str(folder / "photos")))
    return folder


def what_a_run_gives(place, name, **around):
    """Run in a process and with a store of its own; return the digests of weights, predictions and history."""
    return what_runs_give(place, name, 1, **around)[0]


def what_runs_give(place, name, count, *, threads=1, shuffled="no", letters="no", where=None, **environment):
    """Run one after the other in a process, with a store of its own; return what ``what_a_run_gives`` does for each."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins"), os.environ.get("PYTHONPATH", "")])
    surrounding = {
        **os.environ, "PYTHONPATH": path, "TL_CACHE": str(place / f"cache-{name}"), "OMP_NUM_THREADS": str(threads),
        **environment,
    }  # fmt: skip
    outs = [place / f"run-{name}-{number}" for number in range(count)]
    words = [str(place / "recipe.yaml"), str(threads), shuffled, letters, *map(str, outs)]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], env=surrounding, cwd=where or place, capture_output=True, text=True
    )
    if done.returncode == 77:
        pytest.skip("no Turkish locale here")
    assert done.returncode == 0, done.stderr[-3000:]
    shutil.rmtree(place / f"cache-{name}")
    return [left_in(out) for out in outs]


def left_in(out):
    history = [json.loads(line) for line in (out / "history.jsonl").read_text("utf-8").splitlines()]
    found = {"history": [{key: value for key, value in record.items() if key != "seconds"} for record in history]}
    for file in ("model/model.safetensors", "predictions.parquet", "metrics.json"):
        found[file] = hashlib.sha256((out / file).read_bytes()).hexdigest()
    shutil.rmtree(out)
    return found


@pytest.fixture(scope="module")
def usual(place):
    return what_a_run_gives(place, "usual", PYTHONHASHSEED="0")


AROUND = {
    "hash seed 1, another order of files": {"PYTHONHASHSEED": "1", "shuffled": "1"},
    "C locale, another time zone": {"PYTHONHASHSEED": "2", "letters": "C", "LC_ALL": "C", "TZ": "Asia/Kathmandu"},
    "UTF-8 locale, another folder": {"PYTHONHASHSEED": "3", "LC_ALL": "C.UTF-8", "elsewhere": True, "shuffled": "3"},
}
MORE = {
    **{f"hash seed {n}": {"PYTHONHASHSEED": str(n), "shuffled": str(n)} for n in range(4, 7)},
    "Turkish": {"letters": "turkish"},
    "west of Greenwich": {"TZ": "America/St_Johns"},
}


@pytest.mark.parametrize(
    "around",
    [*AROUND.values(), *(pytest.param(one, marks=pytest.mark.long) for one in MORE.values())],
    ids=[*AROUND, *MORE],
)
def test_nothing_around_it_changes_a_bit(place, usual, around, tmp_path):
    given = {key: value for key, value in around.items() if key != "elsewhere"}
    where = tmp_path if around.get("elsewhere") else None
    assert what_a_run_gives(place, "around", where=where, **given) == usual


@pytest.mark.long
@pytest.mark.parametrize("threads", [1, 2])
def test_twenty_runs_are_one(place, threads):
    """Five processes, each of which runs it four times: the first time states are computed, then read."""
    found = [one for n in range(5) for one in what_runs_give(place, f"{threads}-{n}", 4, threads=threads)]
    assert len(found) == 20
    assert all(one == found[0] for one in found)


FEATURES = """
import sys, torch
from PIL import Image
from pathlib import Path
from tl_vision import ResNetOptions, VGG16Options
from tl_vision.network import PictureNetwork
from tl_text import BertOptions
from tl_text.bert import Bert
from tl_text.checkpoint import opened, write_tiny
from tlcore import Example
from tlcore.features.extractor import FeatureExtractor
from tlcore.training.device import accelerator_for
from safetensors.torch import save_file

folder = Path(sys.argv[1])
pictures = [Example(str(n), folder / "photos" / "iç" / f"{n}.png") for n in range(1, 33, 2)]
texts = [Example(str(n), f"a good film of {n} minutes, and more than that" * (1 + n % 3)) for n in range(16)]
torch.manual_seed(1)
accelerator = accelerator_for("cpu", "fp32")
found = {}
resnet = PictureNetwork("resnet18", ResNetOptions(weights="random", size=64), None)
found["resnet18"] = FeatureExtractor(resnet, 5, accelerator).batch(pictures)["features"]
if not (folder / "bert").exists():
    write_tiny(folder / "bert")
bert = Bert(BertOptions(weights=folder / "bert"), opened(folder / "bert"))
found["bert"] = FeatureExtractor(bert, len(bert.stages), accelerator).batch(texts)["features"]
save_file(found, sys.argv[2])
print(torch.backends.cpu.get_cpu_capability())
"""


def test_the_kernels_of_another_processor_give_the_same_features_within_a_tolerance(place):
    """AVX2 stands for another machine, where this one has more."""
    from safetensors.torch import load_file

    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins"), os.environ.get("PYTHONPATH", "")])
    capable, found = [], []
    for name, kernels in (("own", {}), ("avx2", {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"})):
        out = place / f"{name}.safetensors"
        done = subprocess.run(
            [sys.executable, "-c", FEATURES, str(place), str(out)],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **kernels}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        capable.append(done.stdout.strip())
        found.append(load_file(out))
    if capable[0] == capable[1]:
        pytest.skip(f"this processor has {capable[0]} and no more")
    for name, own in found[0].items():
        difference = float((own - found[1][name]).abs().max() / own.abs().max())
        print(name, capable, difference)  # noqa: T201
        assert difference <= 1e-5
