"""A save that is killed, or fails, at any of its system calls costs no earlier checkpoint, as SQLite is tested.

The first call of a kind is the victim, then the second, until a save has none left (``strace -e inject``).
"""

import json
import shutil
import subprocess
import sys

import pytest

CALLS = ("openat", "write", "fsync", "rename", "link", "mkdir", "chmod", "unlink", "unlinkat", "rmdir")
FAULTS = ("signal=KILL", "error=ENOSPC", "error=EIO")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]

# Forks a save for each victim, so that none pays for importing torch; strace joins before the save begins.
SERVER = """
import json, os, subprocess, sys, time, traceback
from pathlib import Path
import torch
import safetensors.torch
from tlcore.errors import ResourceError, WeightsError
from tlcore.training.checkpoints import Checkpoints, Reference

def save(folder, step):
    checkpoints = Checkpoints(folder)
    try:
        checkpoints.find_newest()
    except (WeightsError, OSError):
        return 4
    best = Reference.MODEL if checkpoints.newest is None else Reference.UNCHANGED
    parts = {"model": {"weight": torch.full((1000,), float(step))}, "best": best}
    try:
        checkpoints.save({"step": step, "epoch": step}, parts)
    except ResourceError as error:
        return 5 if "step 1 is valid" in error.what else 6
    return 0

def traced(folder, inject):
    go, ready = os.pipe()
    child = os.fork()
    if not child:
        os.close(ready)
        os.read(go, 1)
        code = 1
        try:
            code = save(folder, 2)
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    os.close(go)
    call = inject.partition(":")[0]
    words = ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={inject}", "-p", str(child)]
    tracer = subprocess.Popen(words)
    while "TracerPid:\\t0" in Path(f"/proc/{child}/status").read_text():
        time.sleep(0.005)
    os.write(ready, b"g")
    os.close(ready)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    tracer.wait()
    return code

root, calls, faults = Path(sys.argv[1]), sys.argv[2].split(), sys.argv[3].split()
for call in calls:
    for fault in faults:
        for number in range(1, 100):
            folder = root / f"{call}-{fault}-{number}"
            assert save(folder, 1) == 0
            code = traced(folder, f"{call}:{fault}:when={number}")
            found = Checkpoints(folder).find_newest()
            told = {"call": call, "fault": fault, "number": number, "code": code, "step": found and found.step}
            if found:
                values = {part: sorted(set(found.tensors(part)["weight"].tolist())) for part in ("model", "best")}
                told |= values
            told["next"] = save(folder, 2)
            told["left"] = sorted(path.name for path in folder.iterdir())
            print(json.dumps(told), flush=True)
            if code == 0:
                break
"""


def test_every_call(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SERVER, str(tmp_path), " ".join(CALLS), " ".join(FAULTS)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    points = [json.loads(line) for line in done.stdout.splitlines()]
    victims = [point for point in points if point["code"] != 0]
    for point in points:
        assert point["step"] in (1, 2), point
        assert point["model"] == [point["step"]], point
        assert point["best"] == [1.0], point
        assert point["next"] == 0, point
        assert point["left"] == ["step-000000001", "step-000000002"], point
    for point in victims:
        # An error is told, and of what was not saved it is said that the one before is valid.
        # What cannot be read is refused.
        assert point["code"] in ((-9,) if "KILL" in point["fault"] else (4, 5)), (point, done.stderr[-3000:])
    assert {point["call"] for point in victims} >= {"openat", "write", "fsync", "rename", "mkdir"}
    assert len(victims) > 90
