"""Hostile lock files, and caches of features and weights that somebody else filled."""

import shutil
import struct

import pytest

from tests.support.hostile import (
    GONE,
    NESTED,
    PICKLED,
    PIPE,
    ZEROS,
    accepted,
    pull,
    put,
    refused,
    safetensors,
)
from tlcore.files.digests import file_digest

pytestmark = pytest.mark.slow

COMMIT = "a" * 40
RESNET = "resnet18-f37072fd.pth"

# --- lock files


def lock_file(content):
    return lambda work: ["weights", "verify", str(work.put("x.lock.json", content))]


def lock(**keys):
    entry = {"path": "w.pt", "origin": "x", "size": 0, "sha256": "0" * 64} | keys
    return lock_file({"format": 1, "files": [entry]})


def lock_of_a_pipe(work):
    return lock(path=str(work.put("pipe", PIPE)))(work)


def added_with_a_lock(work):
    entry = {"path": f"/hub/{COMMIT}/../../../escaped", "origin": f"hub a/b@{COMMIT}", "size": 1, "sha256": "0" * 64}
    path = work.put("l.lock.json", {"format": 1, "files": [entry]})
    return ["weights", "add", str(work.copy("bert", {})), "--as", "a/b", "--lock", str(path)]


def added(work):
    return ["weights", "add", str(work.put("w.pth", PICKLED)), "--as", RESNET]


# --- caches of weights


def pulled_from(name, **environ):
    """Return a builder: load a ResNet where a cache has a pickle in its place."""

    def build(work):
        work.environ = {variable: str(work.folder / folder) for variable, folder in environ.items()}
        work.put(f"{name}/{RESNET}", PICKLED)
        return pull(work, {"name": "resnet18"})

    return build


def pulled_from_hub(work):
    work.environ = {"HF_HUB_CACHE": str(work.folder / "hub")}
    cache = work.folder / "hub" / "models--someone--network"
    checkpoint = work.copy("bert", {"model.safetensors": GONE, "pytorch_model.bin": PICKLED})
    shutil.copytree(checkpoint, cache / "snapshots" / COMMIT)
    put(cache / "refs" / "main", COMMIT)
    absent = ("tokenizer.json", "tokenizer_config.json", "modules.json", "model.safetensors")
    for name in (*absent, "model.safetensors.index.json"):
        put(cache / ".no_exist" / COMMIT / name, "")
    return pull(work, {"name": "bert", "weights": "someone/network"})


def listed(files):
    """Return a builder: list the weights in a cache that holds some files."""

    def build(work):
        work.environ = {"TL_CACHE": str(work.folder / "cache")}
        for name, content in files.items():
            work.put(f"cache/{name}", content)
        return ["weights", "list"]

    return build


def listed_hub(work):
    work.environ = {"HF_HUB_CACHE": str(work.folder / "hub"), "TL_CACHE": str(work.folder / "cache")}
    for name in ("models--a--b", "models--\x1b[2J--x", "datasets--x", "models--", "spaces--a--b"):
        (work.folder / "hub" / name / "snapshots" / "x").mkdir(parents=True)
    work.put("hub/models--a--b/snapshots/x/w", ZEROS)
    work.put("hub/models--a--b/refs/main", "../../../..")
    return ["weights", "list"]


# --- caches of features


def shard(content, *, about="{}", command="verify"):
    """Return a builder: verify or list a cache with one shard, named by its digest where it is a regular file."""

    def build(work):
        work.environ = {"TL_CACHE": str(work.folder / "cache")}
        folder = work.folder / "cache" / "features" / "0123456789abcdef"
        put(folder / "about.json", about)
        path = folder / f"{'0' * 64}.safetensors"
        put(path, content)
        if path.is_file():
            path.rename(folder / f"{file_digest(path)}.safetensors")
        return ["cache", command]

    return build


def entry(dtype, shape, start, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


METADATA = {"ragged": "[]", "made_on": "x"}


def features(body=bytes(32), *, ragged="[]", **entries):
    """Return a shard with the key of one example."""
    header = {"__metadata__": METADATA | {"ragged": ragged}, "keys": entry("U8", [1, 32], 0, 32)}
    return safetensors(header | entries, body)


def many_tensors():
    return {"__metadata__": METADATA} | {str(n): entry("F32", [0], 0, 0) for n in range(300_000)}


WITHOUT_KEYS = safetensors({"__metadata__": METADATA, "x": entry("F32", [1], 0, 4)}, bytes(4))
NEGATIVE = {"lengths": entry("I64", [1], 32, 40), "state/x": entry("F32", [1], 40, 44)}
MISSING_ROW = {"keys": entry("U8", [2, 32], 0, 64), "state/x": entry("F32", [1], 64, 68)}
INVALID_ABOUT = {"stages": 5, "backbone": ["\x1b[2J"], "precision": {"a": 1}}
LONG_FORMAT = b'{"format": "%s", "files": []}'
SPECIAL_FILES = {"weights/pipe": PIPE, "weights/zero": ZEROS, "weights/\x1b[2J": "x"}
REFUSED = {
    "lock of /dev/zero": lock(path="/dev/zero"),
    "lock of a pipe": lock_of_a_pipe,
    "lock of a NUL": lock(path="a\0b"),
    "lock of an infinite size": lock(size=float("inf")),
    "lock of a path that is a table": lock(path={"a": 1}),
    "nested lock": lock_file(NESTED),
    "lock whose files are a number": lock_file('{"format": 1, "files": 5}'),
    "lock with a format of 10 MB": lock_file(lambda path: put(path, LONG_FORMAT % (b"x" * 10**7))),
    "lock with control characters": lock(path="/\x1b[2J", origin="\x1b[31m"),
    "empty shard": shard(""),
    "shard that is a pickle": shard(PICKLED),
    "shard without keys": shard(WITHOUT_KEYS),
    "keys that are floats": shard(features(keys=entry("F32", [8], 0, 32))),
    "fewer rows than keys": shard(features(bytes(68), **MISSING_ROW)),
    "negative lengths": shard(features(bytes(32) + struct.pack("<q", -5) + bytes(4), ragged='["x"]', **NEGATIVE)),
    "lengths that are a number": shard(features(ragged="5")),
    "nested metadata": shard(features(ragged=NESTED)),
    "300,000 tensors": shard(safetensors(many_tensors)),
    "shard that is a pipe": shard(PIPE),
    "shard that is endless": shard(ZEROS),
}
CASES = {name: refused(build) for name, build in REFUSED.items()} | {
    "lock of a parent folder": refused(added_with_a_lock, "the lock file names"),
    "pickle added as other weights": refused(added, "is not the file that was meant"),
    "pickle in the cache of torch": refused(
        pulled_from("torch/hub/checkpoints", TORCH_HOME="torch", TL_CACHE="none"),
        f"{RESNET} is not the file that was meant",
    ),
    "pickle in the cache of tlcore": refused(
        pulled_from("cache/weights", TL_CACHE="cache"), f"{RESNET} is not the file that was meant"
    ),
    "pickle in the cache of the hub": refused(pulled_from_hub, "refused: pytorch_model.bin"),
    "list: nested digests": accepted(listed({"digests.json": NESTED, "weights/x-00000000.pth": PICKLED})),
    "list: special files": accepted(listed(SPECIAL_FILES)),
    "list: hub": accepted(listed_hub),
    "list: 300,000 tensors": accepted(shard(safetensors(many_tensors), command="ls")),
    "list: shard without keys": accepted(shard(WITHOUT_KEYS, command="ls")),
    "list: shard that is a pipe": accepted(shard(PIPE, command="ls")),
    "list: nested description": accepted(shard(features(), about=NESTED, command="ls")),
    "list: invalid description": accepted(shard(features(), about=INVALID_ABOUT, command="ls")),
    "list: endless description": accepted(shard(features(), about=ZEROS, command="ls")),
}


@pytest.mark.parametrize("case", CASES)
def test_hostile_cache_executes_nothing(case, check):
    check(CASES[case])
