"""Real processes that share a run: whatever the numbers, each example counts once, and only one writes the run."""

import collections
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from itertools import chain

import pytest
from PIL import Image
from pyarrow import parquet

pytestmark = pytest.mark.long

COUNTS = (*range(1, 41), 103)
BATCHES = (1, 2, 5, 16)

# All numbers are whole and small: whatever the order in which they are added up, outputs are the same to the bit.
MEMBER = """
import dataclasses, json, sys
from pathlib import Path
import torch
from torch import nn
from tlcore import Classification, Example, Plan
from tlcore.features.readers import InputReader
from tlcore.recipe import TrainSection
from tlcore.training.device import accelerator_for
from tlcore.training.model import TrainableModel
from tlcore.training.trainer import Trainer, TrainerConfig

class Doubled(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(2, 2, bias=False)
        self.dense.weight.data = torch.tensor([[2.0, 1.0], [0.0, 3.0]])

    def forward(self, state):
        return {"hidden": self.dense(state["hidden"])}

class Whole:
    feature_dim = 2

    def __init__(self):
        self.stages = {"one": Doubled()}
        self.seen = []

    def prepare(self, examples, view=None):
        self.seen += [example.id for example in examples]
        return {"hidden": torch.tensor([example.input for example in examples])}

    def pool(self, state):
        return state["hidden"]

accelerator, found = accelerator_for("cpu", "fp32"), []
assert accelerator.num_processes == int(sys.argv[2])
for count in json.loads(sys.argv[3]):
    examples = [Example(str(n), (float(n % 7), float(n % 5)), "abc"[n * n % 3 if n > 2 else n]) for n in range(count)]
    for size in json.loads(sys.argv[4]):
        backbone, task = Whole(), Classification()
        task.restore({"classes": ["a", "b", "c"], "majority": "a"})
        head = nn.Linear(2, 3)
        head.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]]) / 8
        head.bias.data.zero_()
        plan = Plan(freeze_line=0, head=head)
        reader = InputReader(backbone, {example.id: example for example in examples})
        section = dataclasses.replace(TrainSection(), batch_size=size)
        trainer = Trainer(TrainableModel(backbone, plan), reader, task, accelerator, TrainerConfig(section, seed=3))
        metrics = trainer.evaluator.metrics(examples)
        batches = trainer.data_of(examples).batches(0)
        shares = [[id_ for part in trainer.train_step.microbatches(batch) for id_ in part] for batch in batches]
        found.append({
            "count": count, "size": size, "metrics": metrics, "scored": backbone.seen, "batches": batches,
            "shares": shares,
        })
(Path(sys.argv[1]) / f"{accelerator.process_index}.json").write_text(json.dumps(found))
"""


def members(folder, world):
    """Run the script in so many processes; return what each of them found."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {**os.environ, "OMP_NUM_THREADS": "1"}
    if world > 1:
        common |= {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        common |= {"ACCELERATE_USE_CPU": "true"}
    words = [sys.executable, "-c", MEMBER, str(folder), str(world), json.dumps(COUNTS), json.dumps(BATCHES)]
    started = []
    for rank in map(str, range(world)):
        environ = {**common, "RANK": rank, "LOCAL_RANK": rank} if world > 1 else common
        started.append(subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environ))
    for member in started:
        _, said = member.communicate(timeout=600)
        assert member.returncode == 0, said[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world)]


def figures(metrics, prefix=""):
    for name, value in metrics.items():
        if isinstance(value, dict):
            yield from figures(value, f"{prefix}{name}.")
        elif isinstance(value, (int, float)):
            yield f"{prefix}{name}", value


def test_each_example_counts_once_and_scores_are_those_of_one_process(tmp_path):
    (alone,) = members(tmp_path / "1", 1)
    for world in (2, 3):
        together = members(tmp_path / str(world), world)
        for one, *found in zip(alone, *together, strict=True):
            count, case = one["count"], (world, one["count"], one["size"])
            ids = sorted(map(str, range(count)))
            scored = [sorted(member["scored"]) for member in found]
            # Of fewer examples than there are processes each computes all.
            assert scored == [ids] * world if count < world else sorted(chain(*scored)) == ids, case
            assert sorted(chain(*one["batches"])) == ids, case
            for member in found:
                assert member["batches"] == one["batches"], case
                theirs = dict(figures(member["metrics"]))
                assert theirs == pytest.approx(dict(figures(one["metrics"])), abs=1e-12, rel=0), case
            for number, batch in enumerate(one["batches"]):
                assert sorted(chain(*(member["shares"][number] for member in found))) == sorted(batch), case


RECIPE = {
    "task": "image-classification",
    "data": {"source": "folder", "path": "photos"},
    "backbone": {"name": "vgg16", "weights": "random", "size": 32, "output": "block2"},
    "adapter": {"name": "fine-tuning", "layers": 1},
    "train": {"epochs": 2, "precision": "fp32", "batch_size": 7, "checkpoint_steps": 2},
    "evaluate": {"resamples": 20, "probe": True},
}
TL = [sys.executable, "-m", "tlcore.cli", "run", "recipe.yaml", "--json", "--processes"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for n in range(103):
        path = tmp_path / "photos" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (36, 36), (130 if n % 2 else 110, 2 * n, 90)).save(path)
    (tmp_path / "recipe.yaml").write_text(json.dumps(RECIPE))
    return tmp_path


def run(command):
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_a_run_of_three_processes_predicts_each_example_once(place):
    alone, three = (run([*TL, count, "--out", count]) for count in ("1", "3"))
    assert [three["features"][key] for key in ("computed", "reused")] == [0, 103]
    rows = [parquet.read_table(place / count / "predictions.parquet").to_pylist() for count in ("1", "3")]
    assert [row["id"] for row in rows[0]] == [row["id"] for row in rows[1]]
    assert len({row["id"] for row in rows[1]}) == len(rows[1]) > 0
    for split in ("validation", "test"):
        assert three["metrics"][split]["n"] == alone["metrics"][split]["n"]
        assert three["metrics"][split]["loss"] == pytest.approx(alone["metrics"][split]["loss"], rel=1e-3, abs=1e-4)


CALLS = "open,openat,openat2,creat,rename,renameat,renameat2,link,linkat,clone,clone3,fork,vfork"
WRITES = re.compile(r"^open(?:at2?)?\(.*O_(?:WRONLY|RDWR|CREAT).* = \d+<(?P<path>.*)>$|^creat\(.* = \d+<(?P<made>.*)>$")
RENAMES = re.compile(r'^(?:rename|link)(?:at2?)?\(.*, (?:AT_FDCWD<(?P<under>[^>]*)>, )?"(?P<path>[^"]*)".*\) = 0$')
STARTS = re.compile(r"^(?:clone3?|v?fork)\((?P<how>.*) = (?P<number>\d+)$")
UNSHARED = re.compile(r"/dev/|/proc/|pipe:|socket:|anon_inode:|.*\(deleted\)$|/memfd:")


def written_by(folder):
    """Return the files that each member's processes wrote, from what strace left for each thread.

    What the launcher starts is a member; what a member starts belongs to it.
    """
    lines = {int(path.suffix[1:]): path.read_text(errors="replace").splitlines() for path in folder.glob("trace.*")}
    children = collections.defaultdict(list)
    for number, calls in lines.items():
        for call in calls:
            if found := STARTS.match(call):
                children[number].append((int(found["number"]), "CLONE_THREAD" in found["how"]))
    born = {child for found in children.values() for child, _ in found}
    (launcher,) = set(lines) - born

    def family(number):
        yield number
        for child, _ in children[number]:
            yield from family(child)

    members = [number for number, thread in children[launcher] if not thread]
    return [{path for one in family(member) for path in written(lines.get(one, []))} for member in members]


def written(calls):
    for call in calls:
        if found := WRITES.match(call):
            path = found["path"] or found["made"]
        elif found := RENAMES.match(call):
            path = os.path.abspath(os.path.join(found["under"] or "", found["path"]))  # members stay in this folder
        else:
            continue
        if not UNSHARED.match(path):
            yield path


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("adapter", ["feature-extraction", {"name": "fine-tuning", "layers": "all"}])
def test_no_file_but_locks_of_the_store_is_written_by_two_processes(place, adapter):
    (place / "recipe.yaml").write_text(json.dumps({**RECIPE, "adapter": adapter}))
    (place / "calls").mkdir()
    strace = ["strace", "-ff", "-qq", "-y", "-s", "4096", "-e", f"trace={CALLS}", "-e", "signal=none"]
    run([*strace, "-o", str(place / "calls" / "trace"), *TL, "2", "--out", "run"])
    found = [files for files in written_by(place / "calls") if files]
    own = [path for files in found for path in files if path.startswith(f"{place}/run/")]
    assert any(path.endswith("/metrics.json") for path in own), own
    assert sum(any(path.startswith(f"{place}/run/") for path in files) for files in found) == 1, "one writes the run"
    counted = collections.Counter(path for files in found for path in files)
    print(len(found), "processes,", len(counted), "files")  # noqa: T201
    both = {path for path, count in counted.items() if count > 1}
    # The store is made for several: they try each other's locks, and put the same about.json in place as a whole.
    assert {
        path for path in both if not re.search(r"/features/\w+/(about\.json|claims/(lock|\w+\.claim))$", path)
    } == set()
