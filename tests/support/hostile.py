"""What zoos of hostile files have in common: where one is built, and how `tl` meets them all in one watched process."""

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys

import torch

import tlcore
from tl_text.checkpoint import write_tiny
from tlcore.files.digests import file_digest

__all__ = [
    "MEGABYTES", "Place", "Planted", "Zoo", "changed_json", "made_good", "of_bert", "of_resnet", "on_data", "predicted",
    "pulled", "safetensors", "seal",
]  # fmt: skip

MEGABYTES = 300
"""What one of them may cost beside what the programs themselves take."""
LETTERS = 20_000
"""What a message may be long, whatever it quotes."""
DRIVER = """
import contextlib, io, json, os, signal, sys, time, traceback

WATCHED = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.")
seen = []

def watch(event, given):
    if event.startswith(WATCHED) and event != "socket.gethostname":
        seen.append(event)
        if event.startswith("socket."):
            raise OSError("there are no connections here")

import datasets, torch, torchvision, transformers
import huggingface_hub.constants as hub
from tlcore.cli import main

def megabytes(line):
    status = open("/proc/self/status").read()
    return int(status.partition(line + ":")[2].split()[0]) // 1024

def stop(*given):
    raise TimeoutError("it did not end")

signal.signal(signal.SIGALRM, stop)
sys.addaudithook(watch)
found = {}
items, met = sys.argv[1:]
for name, argv, environ in json.load(open(items)):
    usual = dict(os.environ)
    os.environ.update(environ)
    hub.HF_HUB_CACHE = environ.get("HF_HUB_CACHE", hub.HF_HUB_CACHE)
    said = io.StringIO()
    sys.argv = ["tl", *argv]
    seen.clear()
    code, before = None, megabytes("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
    began = time.process_time()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        signal.alarm(60)
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException:
            said.write("Traceback of what nobody caught: " + traceback.format_exc())
        signal.alarm(0)
    found[name] = {
        "code": code, "said": said.getvalue(), "seen": list(seen), "megabytes": megabytes("VmHWM") - before,
        "seconds": time.process_time() - began,
    }
    os.environ.clear()
    os.environ.update(usual)
    json.dump(found, open(met, "w"))
"""


class Planted:
    """What runs when it is unpickled: it leaves a folder behind."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


class Place:
    """Where one hostile thing is built, from copies of what is good."""

    def __init__(self, folder, good):
        self.folder = folder
        self.good = good
        self.canary = good / "ran"
        self.environ = {}
        folder.mkdir()

    @property
    def planted(self):
        return Planted(self.canary / self.folder.name)

    @property
    def pickled(self):
        return pickle.dumps(self.planted)

    def bert(self, **files):
        """Return a copy of a good checkpoint with some files written anew; None takes one away."""
        shutil.copytree(self.good / "bert", self.folder / "bert")
        for name, content in files.items():
            path = self.folder / "bert" / name.replace("__", ".")
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return self.folder / "bert"

    def config(self, **keys):
        return json.loads((self.good / "bert" / "config.json").read_text()) | keys

    def model(self, change=lambda model: None, *, sealed=True):
        """Return a copy of a good run whose model was changed, its manifest made to fit unless told otherwise."""
        shutil.copytree(self.good / "run", self.folder / "run")
        model = self.folder / "run" / "model"
        change(model)
        if sealed:
            seal(model)
        return self.folder / "run"

    def file(self, name, content=b""):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def saved(self, name, content):
        torch.save(content, self.folder / name)
        return self.folder / name


def seal(model):
    """Write the manifest anew, as whoever plants something would."""
    listing = {
        path.relative_to(model).as_posix(): {"bytes": path.stat().st_size, "sha256": file_digest(path)}
        for path in model.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    manifest = json.loads((model / "manifest.json").read_text())
    (model / "manifest.json").write_text(json.dumps(manifest | {"files": listing}))


def changed_json(path, change):
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


def pulled(place, backbone):
    """Return the command that reads the weights of a backbone as a run does."""
    text = json.dumps({
        "task": "image-classification" if "resnet" in backbone["name"] else "text-classification",
        "data": {"source": "table", "path": str(place.good / "reviews.csv")},
        "backbone": backbone, "adapter": "feature-extraction",
    })  # fmt: skip
    recipe = place.file("recipe.yaml", text.encode())
    return ["weights", "pull", str(recipe), "--lock", str(place.folder / "lock.json")]


def of_bert(place, folder):
    return pulled(place, {"name": "bert", "weights": str(folder)})


def of_resnet(place, file):
    return pulled(place, {"name": "resnet18", "weights": str(file), "output": "layer1", "size": 32})


def on_data(place, data):
    """Return the command that scores a good model on data from outside."""
    return [
        "evaluate",
        str(place.good / "run"),
        "--set",
        f"data={json.dumps(data)}",
        "--out",
        str(place.folder / "out"),
    ]


def safetensors(header, body=b""):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + body


def predicted(place, run):
    return ["predict", str(run), str(place.good / "new.txt"), "--format", "jsonl"]


class Zoo(dict):
    """Builders of something hostile by name, each with an exit code and words of the message that it is to end with."""

    def hostile(self, code=4, said=""):
        """Add a builder: it makes something hostile and returns the command that meets it."""

        def added(build):
            assert build.__name__ not in self
            self[build.__name__] = (build, code, said)
            return build

        return added

    def met(self, good, folder):
        """Give each of the zoo to `tl`, all in one process that watches what they do."""
        items = [("nothing_wrong", predicted(Place(folder / "nothing_wrong", good), good / "run"), {})]
        for name, (build, _, _) in self.items():
            place = Place(folder / name, good)
            items.append((name, build(place), place.environ))
        (folder / "items.json").write_text(json.dumps(items))
        command = [sys.executable, "-W", "ignore", "-c", DRIVER, "items.json", "met.json"]
        done = subprocess.run(command, cwd=folder, timeout=400, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads((folder / "met.json").read_text())

    def require_refused(self, met, good, name):
        """Fail where something hostile did anything, cost much, or was not refused as it should be."""
        _, code, said = self[name]
        found = met[name]
        assert found["code"] in (code if isinstance(code, tuple) else (code,)), found["said"]
        assert said in found["said"]
        assert "Traceback" not in found["said"]
        assert sum(line.startswith("error:") for line in found["said"].splitlines()) == (found["code"] != 0)
        assert len(found["said"]) < LETTERS
        assert found["seen"] == [], "it opened a connection or started a program"
        assert found["megabytes"] <= MEGABYTES
        assert list((good / "ran").iterdir()) == [], "it ran"


def made_good(folder):
    """Return a folder with a good checkpoint, table, recipe and finished run, which the hostile ones are made from."""
    (folder / "ran").mkdir()
    write_tiny(folder / "bert")
    words = {"good": "good film one the", "bad": "not at all a"}
    rows = [f"{words[label]} {n},{label}" for n in range(30) for label in words]
    (folder / "reviews.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    (folder / "new.txt").write_text("good film\n")
    (folder / "recipe.yaml").write_text(f"""
task: text-classification
data: {{source: table, path: {folder}/reviews.csv}}
backbone: {{name: bert, weights: {folder}/bert}}
adapter: feature-extraction
train: {{epochs: 2}}
evaluate: {{resamples: 0, probe: false, report: none}}
""")
    tlcore.run(folder / "recipe.yaml", out=folder / "run", warn=lambda text: None)
    return folder
