"""Hostile folders of unfinished runs: what they keep for resuming is validated, and never unpickled."""

import signal

import pytest
import torch

import tlcore
from tests.support.hostile import (
    DEEP,
    GONE,
    NESTED,
    PICKLED,
    PIPE,
    ZEROS,
    Case,
    accepted,
    edit,
    put,
    refused,
    seal,
    tensors,
)
from tlcore.runs.signals import Stopping

pytestmark = pytest.mark.slow


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


@pytest.fixture(scope="module")
def good(good):
    """Return the good files with a run that was interrupted."""
    text = (good / "recipe.yaml").read_text()
    text = text.replace("adapter: feature-extraction", "adapter: {name: fine-tuning, layers: 1}")
    put(good / "longer.yaml", text.replace("epochs: 2", "epochs: 4, checkpoint_steps: 1"))
    with pytest.raises(tlcore.errors.Interrupted):
        tlcore.run(good / "longer.yaml", out=good / "unfinished", warn=lambda text: None, stopping=StopAfter(4))
    return good


def resumed(files):
    return lambda work: ["run", "--resume", str(work.copy("unfinished", files))]


def started(content):
    return resumed({"begun.json": content})


def checkpoints(files, *, sealed=True):
    """Return a builder: resume from checkpoints in which some files are replaced; their manifests fit if sealed."""

    def write(path):
        folders = list(path.glob("step-*"))
        assert folders
        for folder in folders:
            for name, content in files.items():
                put(folder / name, content)
            if sealed:
                seal(folder)

    return resumed({"checkpoints": write})


def position(**changes):
    return checkpoints({"manifest.json": edit(**{f"position__{key}": value for key, value in changes.items()})})


def optimizer(change):
    return checkpoints({"optimizer.safetensors": tensors(change)})


def pickles(path):
    for file in path.glob("step-*/*.safetensors"):
        file.write_bytes(PICKLED)
    for folder in path.glob("step-*"):
        seal(folder)


CONTROL_CHARACTERS = {"identity__\x1b[2J": lambda _: "\x1b[31m" * 10**5, "identity__deep": DEEP}
REFUSED = {
    "nested begun.json": started(NESTED),
    "endless begun.json": started(ZEROS),
    "nested manifest": checkpoints({"manifest.json": NESTED}, sealed=False),
    "endless manifest": checkpoints({"manifest.json": ZEROS}, sealed=False),
    "manifest that is a pipe": checkpoints({"manifest.json": PIPE}, sealed=False),
    "missing step": position(step=GONE),
    "step that is a text": position(step="first"),
    "infinite step": position(step=float("inf")),
    "huge epoch": position(epoch=10**9),
    "negative epoch": position(epoch=-1),
    "huge batch": position(batch=10**9),
    "batch that is a text": position(batch="x"),
    "missing scalars": position(scalars=GONE),
    "invalid scalars": position(scalars={"optimizer": 5, "schedule": [1]}),
    "schedule that is a number": position(scalars__schedule=7),
    "empty position": checkpoints({"manifest.json": edit(position={})}),
    "pickles": resumed({"checkpoints": pickles}),
    "unknown names in the optimizer": optimizer(lambda old: {"x/y": torch.zeros(1)}),
    "other shapes in the optimizer": optimizer(lambda old: {name: torch.zeros(3) for name in old}),
    "NaN in the optimizer": optimizer(lambda old: {name: tensor * float("nan") for name, tensor in old.items()}),
    "missing model": checkpoints({"model.safetensors": GONE}),
    "history of numbers": resumed({"history.jsonl": "5\n" * 50}),
    "nested history": resumed({"history.jsonl": NESTED + "\n"}),
    "endless history": resumed({"history.jsonl": ZEROS}),
    "invalid history": resumed({"history.jsonl": '{"epoch": 1, "x": {"y": []}}\n' * 3}),
}
CHANGED = {
    "working folder that is a number": started(edit(place=5)),
    "working folder with NUL": started(edit(place="a\0b")),
    "lock that is a table": started(edit(lock={"a": 1})),
    "identity that is a list": started(edit(identity=[5])),
    "control characters in the identity": started(edit(**CONTROL_CHARACTERS)),
    "recipe that is a pickle": resumed({"recipe.yaml": PICKLED}),
}
CASES = {name: refused(build) for name, build in REFUSED.items()}
CASES |= {name: Case(build, (2, 4)) for name, build in CHANGED.items()}
CASES |= {"good": accepted(resumed({}))}


@pytest.mark.parametrize("case", CASES)
def test_hostile_unfinished_run_executes_nothing(case, check):
    check(CASES[case])
