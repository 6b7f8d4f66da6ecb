"""An unfinished run: who may go on with it, with what, and what a user is told."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from PIL import Image

import tlcore
from tl_tools.reproduction import reproduce
from tlcore.errors import Interrupted, UsageError, WeightsError
from tlcore.runs import features, run, setup
from tlcore.runs.signals import Stopping
from tlcore.runs.state import differences, finished_epochs, owned

RECIPE = {
    "task": "image-classification",
    "data": {"source": "folder", "path": "photos"},
    "backbone": {"name": "resnet18", "weights": "random", "size": 32},
    "adapter": "fine-tuning",
    "train": {"epochs": 3, "batch_size": 8, "precision": "fp32"},
    "evaluate": {"resamples": 0, "probe": False, "report": "none"},
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TL_CACHE", str(tmp_path / "cache"))
    for n in range(40):
        path = tmp_path / "photos" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((36, 36), 20 + n).convert("RGB").point(lambda v, n=n: v // (1 + n % 2)).save(path)
    (tmp_path / "recipe.yaml").write_text(json.dumps(RECIPE))
    return tmp_path


class StopAfter(Stopping):
    """Asks for a stop after so many questions."""

    def __init__(self, questions):
        super().__init__()
        self._left = questions

    def asked(self):
        self._left -= 1
        if self._left < 0:
            self.by = signal.SIGTERM
        return self._left < 0


def stopped(out, questions=4):
    with pytest.raises(Interrupted) as caught:
        tlcore.run("recipe.yaml", out=out, warn=lambda text: None, stopping=StopAfter(questions))
    return caught.value


def gone_on(out, *overrides, **options):
    return tlcore.resume(out, overrides=overrides, warn=lambda text: None, **options)


def test_a_stopped_run_says_how_to_go_on_and_does(place):
    error = stopped("out")
    assert (error.exit_code, error.what) == (143, "interrupted")
    assert error.hint == "go on: tl run --resume out"
    assert not (place / "out" / "manifest.json").exists()
    said = []
    result = tlcore.resume("out", warn=said.append)
    assert any(line.startswith("resumed at step") for line in said)
    whole = tlcore.run("recipe.yaml", out="whole", warn=lambda text: None)
    assert result.metrics == whole.metrics
    left = {path.name for path in (place / "out").iterdir()}
    assert left == {path.name for path in (place / "whole").iterdir()}
    with pytest.raises(UsageError, match="is finished"):
        tlcore.resume("out")


def test_it_goes_on_from_another_folder(place, monkeypatch):
    stopped("out")
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    assert gone_on("../out").metrics["test"]["n"] > 0
    assert os.getcwd() == str(place / "elsewhere")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda place: None, "recipe.train.epochs: 3 before, 5 now"),
        (lambda place: (place / "photos" / "a" / "0.png").unlink(), "data: "),
        (lambda place: os.environ.__setitem__("TL_TESTED_VERSION", "1"), "libraries.torch: "),
    ],
)
def test_what_changed_is_shown_and_refused_unless_told(place, monkeypatch, change, said):
    stopped("out", questions=6)
    overrides = ["train.epochs=5"] if "epochs" in said else []
    change(place)
    if "torch" in said:
        began = json.loads((place / "out" / "begun.json").read_text())
        began["identity"]["libraries"]["torch"] = "2.10.0"
        (place / "out" / "begun.json").write_text(json.dumps(began))
    before = sorted(path.name for path in (place / "out" / "checkpoints").iterdir())
    with pytest.raises(UsageError, match="has changed") as caught:
        gone_on("out", *overrides)
    assert said in caught.value.where
    assert "--allow-changed" in caught.value.hint
    assert sorted(path.name for path in (place / "out" / "checkpoints").iterdir()) == before
    if "data" not in said:
        result = gone_on("out", *overrides, allow_changed=True)
        assert len((result.folder / "history.jsonl").read_text().splitlines()) == (5 if overrides else 3)


def test_what_cannot_go_on_leaves_the_run_as_it_was(place):
    stopped("out")  # within an epoch
    names = ("begun.json", "recipe.yaml")
    before = [(place / "out" / name).read_bytes() for name in names]
    for n in range(24):
        (place / "photos" / "ab"[n % 2] / f"{n}.png").unlink()
    with pytest.raises(UsageError, match="is in an epoch of 4 steps, which now has 2"):
        gone_on("out", "seed=9", allow_changed=True)
    assert [(place / "out" / name).read_bytes() for name in names] == before


def test_another_number_of_threads_is_told(place, monkeypatch):
    stopped("out")
    count = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: count + 1)
    said = []
    tlcore.resume("out", warn=said.append)
    assert any(f"other numbers of threads ({count}, {count + 1})" in line for line in said)
    assert json.loads((place / "out" / "manifest.json").read_text())["processor"]["threads"] == count + 1


def test_a_run_goes_on_with_other_data_from_the_end_of_an_epoch(place):
    with pytest.raises(Interrupted):
        tlcore.run("recipe.yaml", out="out", overrides=["train.batch_size=100"], stopping=StopAfter(1))
    for n in range(24, 40):
        (place / "photos" / "ab"[n % 2] / f"{n}.png").unlink()
    said = []
    tlcore.resume("out", warn=said.append, allow_changed=True)
    assert any("gone on with another data" in line for line in said)
    assert len((place / "out" / "history.jsonl").read_text().splitlines()) == 3


def test_a_damaged_checkpoint_is_stepped_over(place):
    stopped("out", questions=6)
    newest = max((place / "out" / "checkpoints").glob("step-*"))
    raw = bytearray((newest / "model.safetensors").read_bytes())
    raw[-5] ^= 1
    (newest / "model.safetensors").write_bytes(raw)
    said = []
    result = tlcore.resume("out", warn=said.append)
    assert any(f"{newest.name} is damaged" in line for line in said)
    assert result.metrics == tlcore.run("recipe.yaml", out="whole", warn=lambda text: None).metrics


def test_two_runs_never_share_a_folder(place):
    stopped("out")
    with owned(place / "out"):
        code = "import sys, tlcore; tlcore.resume(sys.argv[1])"
        done = subprocess.run([sys.executable, "-c", code, "out"], capture_output=True, text=True)
    assert "belongs to a run that is still going on" in done.stderr
    assert f"process {os.getpid()} on " in done.stderr
    assert done.returncode != 0


HOLDER = """
import os, sys, time
from pathlib import Path
from tlcore.runs.state import owned
with owned(Path(sys.argv[1])):
    if not os.fork():
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_killed_run_gives_its_folder_free_though_its_worker_lives_on(tmp_path):
    run = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    worker = int(run.stdout.readline())
    try:
        with pytest.raises(UsageError, match="belongs to a run") as caught, owned(tmp_path):
            pass
        assert f"process {run.pid} on " in caught.value.where
        run.kill()
        run.wait()
        with owned(tmp_path):
            assert f"process {os.getpid()} on " in next(tmp_path.iterdir()).read_text()
    finally:
        os.kill(worker, signal.SIGKILL)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_locks_hinders_no_run(tmp_path, monkeypatch):
    def refuse(handle, flags):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    with owned(tmp_path), owned(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_go_on_with_is_said(place):
    (place / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no run"):
        tlcore.resume("empty")
    stopped("out")
    (place / "out" / "begun.json").write_text("{")
    with pytest.raises(WeightsError, match="is damaged"):
        tlcore.resume("out")


def test_lost_lines_of_the_history_are_noticed(tmp_path):
    (tmp_path / "history.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n{"epo')
    assert [record["epoch"] for record in finished_epochs(tmp_path, 2)] == [1, 2]
    with pytest.raises(WeightsError, match="the 3 epochs"):
        finished_epochs(tmp_path, 3)


def test_differences_name_the_key_and_both_values():
    before = {"a": {"b": 1, "c": "x"}, "d": [1], "e": True}
    assert differences(before, {"a": {"b": 2, "c": "x"}, "d": [1]}) == [
        "a.b: 1 before, 2 now",
        "e: true before, nothing now",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_with_a_checkpoint(place, sent, code):
    command = [sys.executable, "-m", "tlcore.cli", "run", "recipe.yaml", "--out", "out", "--set", "train.epochs=100000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 600
    while not (place / "out" / "history.jsonl").is_file() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(sent)
    _, said = process.communicate(timeout=600)
    assert process.returncode == code
    assert "hint: go on: tl run --resume out" in said
    assert "Traceback" not in said
    assert any((place / "out" / "checkpoints").glob("step-*"))


@pytest.mark.slow
def test_a_refused_change_leaves_the_run_as_it_was(place):
    stopped("out")
    before = (place / "out" / "recipe.yaml").read_text()
    with pytest.raises(UsageError, match="has changed"):
        gone_on("out", "train.epochs=5")
    assert (place / "out" / "recipe.yaml").read_text() == before
    assert gone_on("out").metrics == tlcore.run("recipe.yaml", out="whole", warn=lambda text: None).metrics


def test_a_stop_while_a_head_is_solved_or_in_the_last_epoch_is_not_lost(place):
    solved = ["adapter=feature-extraction", "head.solver=lbfgs"]
    for name, overrides in (("solved", solved), ("last", ["train.epochs=1", "train.batch_size=64"])):
        with pytest.raises(Interrupted):
            tlcore.run("recipe.yaml", out=name, overrides=overrides, warn=lambda text: None, stopping=StopAfter(0))
        gone_on(name)
        lines = (place / name / "history.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == list(range(1, len(lines) + 1))


def meanwhile(monkeypatch, module, name, happens):
    """Let something happen once, when a run first calls a function that a module imports."""
    real, left = getattr(module, name), [happens]

    def late(*given):
        while left:
            left.pop()()
        return real(*given)

    monkeypatch.setattr(module, name, late)


@pytest.mark.slow
def test_a_run_that_ends_while_another_process_begins_to_go_on_with_it_stays_finished(place, monkeypatch):
    stopped("out")
    meanwhile(monkeypatch, setup, "owned", lambda: gone_on("out"))
    with pytest.raises(UsageError, match="is finished"):
        gone_on("out")
    assert len((place / "out" / "history.jsonl").read_text().splitlines()) == 3


@pytest.mark.slow
def test_a_run_that_begins_in_a_folder_while_another_reads_its_data_keeps_it(place, monkeypatch):
    meanwhile(monkeypatch, run, "build_dataset", lambda: stopped("out"))
    with pytest.raises(UsageError, match="overwrites nothing"):
        tlcore.run("recipe.yaml", out="out", overrides=["seed=9"], warn=lambda text: None)
    assert gone_on("out").metrics == tlcore.run("recipe.yaml", out="whole", warn=lambda text: None).metrics


@pytest.fixture
def at_once(place, monkeypatch):
    """A run that was killed right after its folder was there."""

    def killed(*given):
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(features, "about_backbone", killed)
        with pytest.raises(SystemExit):
            tlcore.run("recipe.yaml", out="out", warn=lambda text: None)
    return place / "out"


def test_killed_at_once_the_lock_file_of_its_weights_still_counts(at_once):
    (at_once.parent / "recipe.lock.json").write_text("{")
    with pytest.raises(WeightsError, match="lock"):
        gone_on("out")


@pytest.mark.slow
def test_killed_at_once_and_gone_on_with_other_settings_it_tells_them(at_once):
    gone_on("out", "train.epochs=1")
    assert reproduce(at_once, warn=lambda text: None).different == []


@pytest.mark.slow
def test_what_was_half_written_hinders_nothing_and_goes(place):
    (place / "begun").mkdir()
    (place / "begun" / ".recipe.yaml.k3j2_a9z").write_text("task: ima")
    assert tlcore.run("recipe.yaml", out="begun", overrides=["train.epochs=1"], warn=lambda text: None)
    stopped("out")
    (place / "out" / ".metrics.json.k3j2_a9z").write_text("{")
    (place / "out" / ".model.k3j2_a9z").mkdir()
    (place / "out" / ".mine").write_text("")
    gone_on("out")
    assert [path.name for path in (place / "out").glob(".*")] == [".mine"]
