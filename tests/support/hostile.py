"""Hostile files: what builds them, and the process in which `tl` reads them while its side effects are recorded."""

import contextlib
import faulthandler
import functools
import importlib
import io
import json
import operator
import os
import pickle
import shutil
import signal
import struct
import sys
import tempfile
import traceback
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy
import pyarrow
from huggingface_hub import constants
from pyarrow import parquet
from safetensors.torch import load_file, save_file

import tlcore
from tl_text.checkpoint import write_tiny
from tlcore.files.digests import file_digest

NESTED = '{"a":' * 200_000
DEEP = json.loads('{"a":' * 900 + "1" + "}" * 900)
"""As deep as a parser allows, and deeper than later code may handle."""
CANARY = Path(tempfile.gettempdir()) / f"tlcore-canary-{os.getpid()}"
"""The folder that hostile code creates where it is executed."""
SCRIPT = f"import os; os.mkdir({str(CANARY)!r})"
PIPE, GIGABYTE, GONE = object(), object(), object()
ZEROS = Path("/dev/zero")


class Planted:
    """Creates the canary when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (str(CANARY),)


PICKLED = pickle.dumps(Planted())


class Workspace:
    """The folder of one case, and the good files that the hostile ones are made from."""

    def __init__(self, folder, good):
        self.folder = folder
        self.good = good
        self.environ = {}

    def put(self, name, content):
        put(self.folder / name, content)
        return self.folder / name

    def copy(self, name, files):
        """Return a copy of a good folder with some of its files replaced."""
        shutil.copytree(self.good / name, self.folder / name)
        for file, content in files.items():
            put(self.folder / name / file, content)
        return self.folder / name


class Case(NamedTuple):
    """A builder of hostile files that returns arguments of `tl`, the exit codes allowed, and words of the message."""

    build: Callable[[Workspace], list[str]]
    codes: tuple[int, ...]
    message: str = ""


def refused(build, message="", code=4):
    return Case(build, (code,), message)


def accepted(build):
    return Case(build, (0,))


# --- contents of files


def put(path, content):
    """Replace a file by bytes, text, JSON, a link to a `Path` or a special file, or let a function write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if callable(content):
        content(path)
        return
    path.unlink(missing_ok=True)
    if content is PIPE:
        os.mkfifo(path)
    elif content is GIGABYTE:
        path.touch()
        os.truncate(path, 2**30)
    elif isinstance(content, Path):
        path.symlink_to(content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not GONE:
        path.write_text(content if isinstance(content, str) else json.dumps(content))


def edit(**changes):
    """Return a content: the JSON of a file with changes, `a__b=1` for `b` in `a`; a function is given the old value."""

    def write(path):
        content = json.loads(path.read_text())
        for keys, value in changes.items():
            *parents, key = keys.split("__")
            table = functools.reduce(operator.getitem, parents, content)
            table[key] = value(table.get(key)) if callable(value) else value
            if value is GONE:
                del table[key]
        put(path, content)

    return write


def tensors(change):
    """Return a content: the tensors of a safetensors file, changed."""
    return lambda path: save_file(change(load_file(path)), path)


def safetensors(header, body=b""):
    """Return a content: a safetensors file of a header, which may be a function's result or any bytes."""

    def write(path):
        value = header() if callable(header) else header
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        path.write_bytes(struct.pack("<Q", len(raw)) + raw + body)

    return write


def zipped(*members, prefix=b""):
    """Return a content: a zip archive of pairs of a name and bytes."""

    def write(path):
        path.write_bytes(prefix)
        with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "a") as archive:
            for name, content in members:
                archive.writestr(name, content)

    return write


def parquet_table(columns, metadata=None):
    """Return a content: a Parquet file of columns, or of a table of pyarrow."""
    table = columns if isinstance(columns, pyarrow.Table) else pyarrow.table(columns)
    table = table.replace_schema_metadata(metadata) if metadata else table
    return lambda path: parquet.write_table(table, path)


def more_rows_than_bytes(*names):
    """Return a content: a small Parquet file of 20 million rows."""

    def write(path):
        column = pyarrow.DictionaryArray.from_arrays(pyarrow.array(numpy.zeros(20_000_000, "int32")), ["good"])
        parquet.write_table(pyarrow.table(dict.fromkeys(names, column)), path)

    return write


def template(cls=(2,), sep=(3,)):
    """Return a post-processor of a tokenizer that puts [CLS] before a text and [SEP] after it, each as some ids."""
    ids = {"[CLS]": [*cls], "[SEP]": [*sep]}
    start, end = ({"SpecialToken": {"id": name, "type_id": 0}} for name in ids)
    first, second = ({"Sequence": {"id": name, "type_id": n}} for n, name in enumerate("AB"))
    tokens = {name: {"id": name, "ids": ids[name], "tokens": [name] * len(ids[name])} for name in ids}
    pair = [start, first, end, second]
    return {"type": "TemplateProcessing", "single": pair[:3], "pair": pair, "special_tokens": tokens}


def seal(folder):
    """Write the manifest of a folder again, as an attacker would."""
    listing = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": file_digest(path)}
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    put(folder / "manifest.json", edit(files=listing))


# --- commands that read them


def recipe(work, backbone, **keys):
    """Write a recipe, and return its path."""
    content = {
        "task": "image-classification" if "resnet" in backbone["name"] else "text-classification",
        "data": {"source": "table", "path": str(work.good / "reviews.csv")},
        "backbone": backbone,
        "adapter": "feature-extraction",
    }
    return str(work.put("recipe.yaml", content | keys))


def pull(work, backbone):
    return ["weights", "pull", recipe(work, backbone), "--lock", "lock.json"]


def pull_bert(work, folder):
    return pull(work, {"name": "bert", "weights": str(folder)})


def bert(files):
    """Return a builder: load a checkpoint of BERT in which some files are replaced."""
    return lambda work: pull_bert(work, work.copy("bert", files))


def resnet(content, name="w.pt"):
    """Return a builder: load the weights of a ResNet from one file."""
    return lambda work: pull_resnet(work, work.put(name, content))


def pull_resnet(work, path):
    return pull(work, {"name": "resnet18", "weights": str(path), "output": "layer1", "size": 32})


def predict(work, run):
    return ["predict", str(run), str(work.good / "new.txt"), "--format", "jsonl"]


# --- the process that reads them

WATCHED = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.")
EVENTS = []


class Observation(NamedTuple):
    """What a command did in the watched process."""

    code: int | None
    output: str
    events: list[str]
    megabytes: int


def start_watching():
    """Import the libraries first, so that their memory and sockets count for no case; then record the audit events."""
    for name in ("datasets", "torchvision", "transformers", "tlcore.cli"):
        importlib.import_module(name)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _time_out)
    sys.addaudithook(_record)


def observe(command, arguments, environ, folder):
    """Run a command in this process, in a folder, with arguments and environment variables."""
    output, code, before = io.StringIO(), None, _megabytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    EVENTS.clear()
    signal.alarm(60)
    faulthandler.dump_traceback_later(90, exit=True, file=sys.__stderr__)  # ends a loop in C, which no signal reaches
    with (
        mock.patch.dict(os.environ, environ),
        mock.patch.object(constants, "HF_HUB_CACHE", environ.get("HF_HUB_CACHE", constants.HF_HUB_CACHE)),
        mock.patch.object(sys, "argv", ["tl", *arguments]),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
    ):
        try:
            command()
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException:
            traceback.print_exc(file=output)
    signal.alarm(0)
    faulthandler.cancel_dump_traceback_later()
    return Observation(code, output.getvalue(), list(EVENTS), _megabytes("VmHWM") - before)


def _record(event, arguments):
    if event.startswith(WATCHED) and event != "socket.gethostname":
        EVENTS.append(event)
        if event.startswith("socket."):
            raise OSError("connections are disabled in this test")


def _time_out(*arguments):
    raise TimeoutError("the command takes longer than 60 s")


def _megabytes(line):
    return int(Path("/proc/self/status").read_text().partition(line + ":")[2].split()[0]) // 1024


# --- good files


def make_good(folder):
    """Write a good checkpoint, table, recipe and finished run, which the hostile files are made from."""
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
