"""One run shared by several processes: each example once, the numbers of one process, one writer, no hang."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tlcore import UsageError
from tlcore.distributed.process_group import patience, require_all

pytestmark = pytest.mark.slow

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


def finished(place, name, command, **given):
    environ = {**os.environ, "TL_CACHE": str(place / f"cache {name}"), "OMP_NUM_THREADS": "1", **given}
    done = subprocess.run([*command, "--out", name], capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    lines = (place / name / "history.jsonl").read_text().splitlines()
    return answer, [json.loads(line) for line in lines]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_two_processes_reach_the_numbers_of_one(place, adapter):
    (place / "recipe.yaml").write_text(json.dumps({**RECIPE, "adapter": ADAPTERS[adapter]}))
    alone, history = finished(place, "alone", TL)
    with_code(place, WATCHING.replace("PLACE", repr(str(place))))
    shared, other = finished(place, "shared", [*TL, "--processes", "2"], PYTHONPATH=path_with_code(place))
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
    opened = [set((place / f"opened by {rank}").read_text().splitlines()) for rank in (0, 1)]
    assert any(path.startswith(str(place / "shared")) for path in opened[0])
    assert not any(path.startswith(str(place / "shared")) for path in opened[1]), "one process writes the run"
    shared_files = (opened[0] & opened[1]) - {os.devnull}
    # Processes open each other's claims to try whether they are locked.
    assert [path for path in shared_files if not re.search(r"/claims/(lock|\w+\.claim)$", path)] == []


# Python imports sitecustomize before anything else.
WATCHING = """
import os, sys

if "RANK" in os.environ:
    log = os.open(f"{PLACE}/opened by {os.environ['RANK']}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def heard(event, given):
        if event == "open" and given[2] & WRITING and isinstance(given[0], str) and given[0].startswith("/"):
            os.write(log, f"{given[0]}\\n".encode())

    sys.addaudithook(heard)
"""


def with_code(place, code):
    (place / "site").mkdir()
    (place / "site" / "sitecustomize.py").write_text(code)


def path_with_code(place):
    return os.pathsep.join([str(place / "site"), os.environ.get("PYTHONPATH", "")])


def test_torchrun_starts_it_too(place):
    (place / "recipe.yaml").write_text(json.dumps({**RECIPE, "adapter": "feature-extraction"}))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", *TL[2:]]
    answer, _ = finished(place, "torchrun", command)
    assert answer["features"]["computed"] == 41


LONG = {**RECIPE, "adapter": ADAPTERS["all"], "train": {"epochs": 5000, "precision": "fp32"}}


class Shared:
    """A run of two processes that trains for very long, and who its processes are."""

    def __init__(self, place, **environ):
        (place / "recipe.yaml").write_text(json.dumps(LONG))
        self._place = place
        given = {**os.environ, "OMP_NUM_THREADS": "1", **environ}
        self.launcher = subprocess.Popen(
            [*TL, "--processes", "2", "--out", "run"], stderr=subprocess.PIPE, text=True, env=given
        )

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        for number in [self.launcher.pid, *self.members]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)

    members = ()

    def training(self):
        """Wait until it trains; return the numbers of its processes."""
        until(lambda: (self._place / "run" / "history.jsonl").exists())
        self.members = children_of(self.launcher.pid)
        assert len(self.members) == 2
        return self.members

    def ended(self):
        """Wait until all have ended; return the exit code and what was printed."""
        _, said = self.launcher.communicate(timeout=600)
        until(lambda: not any(map(alive, self.members)))
        return self.launcher.returncode, said


def children_of(number):
    words = ["ps", "-o", "pid=", "--ppid", str(number)]
    return [int(line) for line in subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()]


def alive(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.long), 1])
def test_a_killed_process_ends_the_others_and_is_named_first(place, rank):
    with Shared(place) as run:
        os.kill(run.training()[rank], signal.SIGKILL)
        code, said = run.ended()
    assert code == 137
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert errors[0] == f"error: process {rank} of 2 was killed (signal 9, SIGKILL)"
    assert "hint: go on: tl run --resume" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("asked", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_a_signal_to_the_launcher_stops_all_with_a_checkpoint(place, asked):
    with Shared(place) as run:
        run.training()
        run.launcher.send_signal(asked)
        code, said = run.ended()
    assert code == 128 + asked
    assert said.count("stopping after this step") == 1
    assert "hint: go on: tl run --resume" in said
    assert list((place / "run" / "checkpoints").glob("*/*.safetensors"))


@pytest.mark.long
def test_processes_whose_launcher_is_killed_end_by_themselves(place):
    with Shared(place) as run:
        members = run.training()
        run.launcher.kill()
        until(lambda: not any(map(alive, members)), seconds=30)
    assert list((place / "run" / "checkpoints").glob("*/*.safetensors"))


# What may happen to one of two processes, in the middle of training.
FAULTS = {
    "raises": ("raise RuntimeError('a fault of its own')", 1, "process 1 of 2 failed with exit code 1; it said:"),
    "leaves": ("os._exit(0)", 1, "process 1 of 2 left before the run was done, with exit code 0"),
    "hangs": (
        "time.sleep(3600)",
        7,
        "process 1 of 2 does not answer: process 0 of 2 heard nothing of the others for 30 s",
    ),
}
FAULTY = """
import os, time

if os.environ.get("RANK") == "1":
    from tlcore.training.step import TrainStep
    take = TrainStep.step

    def faulty(self, ids, compute_loss, number, *randomness):
        if number == 12:
            FAULT
        return take(self, ids, compute_loss, number, *randomness)

    TrainStep.step = faulty
"""


def with_fault(place, does):
    """Start a run whose second process does this at step 12, each epoch being one."""
    with_code(place, FAULTY.replace("FAULT", does))
    return Shared(place, PYTHONPATH=path_with_code(place), TL_PROCESS_TIMEOUT="30")


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=[pytest.mark.long] if fault != "hangs" else []) for fault in FAULTS]
)
def test_a_process_that_fails_in_whatever_way_ends_all_with_its_cause(place, fault):
    does, expected, first = FAULTS[fault]
    with with_fault(place, does) as run:
        run.training()
        code, said = run.ended()
    assert code == expected, said
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert errors[0] == f"error: {first}"
    assert ("a fault of its own" in said) == (fault == "raises")


@pytest.mark.long
def test_processes_whose_weights_drift_apart_are_stopped_within_the_epoch(place):
    with with_fault(place, "next(iter(self._parameters())).data[0, 0] += 1e-6") as run:
        run.training()
        code, said = run.ended()
    assert code == 6, said
    assert "error: the processes no longer have the same weights at step 12; no further step was taken" in said


def test_a_launcher_that_silently_starts_one_process_is_noticed(place):
    (place / "recipe.yaml").write_text(json.dumps({**RECIPE, "adapter": "feature-extraction"}))
    words = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "-m", *TL[2:], "--out", "run"]
    environ = {name: value for name, value in os.environ.items() if name != "WORLD_SIZE"}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, env=environ)
    assert done.returncode != 0
    assert "error: 2 processes were asked for, got 1\nhint: use `tl run RECIPE --processes 2`" in done.stderr
    assert "exit status 2" in done.stderr
    assert not (place / "run").exists()


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"WORLD_SIZE": "2"}, "2 processes were asked for, got 1"),
        ({"ACCELERATE_MIXED_PRECISION": "no", "MASTER_PORT": "29500"}, "several processes were asked for, got 1"),
        ({"ACCELERATE_MIXED_PRECISION": "no"}, None),
        ({"MASTER_PORT": "29500"}, None),
        ({"ACCELERATE_MIXED_PRECISION": "no", "MASTER_PORT": "29500", "WORLD_SIZE": "1"}, None),
    ],
)
def test_fewer_processes_than_asked_for_is_a_usage_error(monkeypatch, environ, said):
    for name in ("WORLD_SIZE", "ACCELERATE_MIXED_PRECISION", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    if said is None:
        require_all(1)
        return
    with pytest.raises(UsageError, match=said) as caught:
        require_all(1)
    assert "tl run RECIPE --processes" in caught.value.hint


@pytest.mark.parametrize("text", ["soon", "0", "-3", "1e3"])
def test_a_time_to_wait_that_is_no_number_of_seconds_is_refused(monkeypatch, text):
    monkeypatch.setenv("TL_PROCESS_TIMEOUT", text)
    with pytest.raises(UsageError, match="TL_PROCESS_TIMEOUT"):
        patience()


def test_a_mistake_is_told_once(place):
    (place / "recipe.yaml").write_text(json.dumps({**RECIPE, "adapter": "feature-extraction", "epocs": 3}))
    done = subprocess.run([*TL, "--processes", "2"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("epocs") == 1


def until(condition, seconds=600):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
