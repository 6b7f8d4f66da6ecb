"""Several processes on one store: each state is computed once, also after a kill and where locks do nothing."""

import os
import signal
import subprocess
import sys

import pytest

from tlcore.features.claims import claimed

WORKER = """
import errno, fcntl, sys, time
from pathlib import Path
from tlcore.features import claims
folder, locks = Path(sys.argv[1]), sys.argv[2]
def refuse(handle, flags):
    raise OSError(errno.ENOSYS, "Function not implemented")
if locks != "real":
    fcntl.flock = {"none": lambda handle, flags: None, "refused": refuse}[locks]
keys = {n.to_bytes(32, "big") for n in range(50)}
computed = 0
while missing := {key for key in keys if not (folder / key.hex()).exists()}:
    with claims.claimed(folder / "claims", missing) as (mine, others):
        for key in sorted(mine):
            if not (folder / key.hex()).exists():
                time.sleep(0.002)
                (folder / key.hex()).write_bytes(key)
                computed += 1
    for other in others:
        other.wait()
print(computed)
"""


def started(folder, locks="real"):
    arguments = [sys.executable, "-c", WORKER, str(folder), locks]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_eight_processes_compute_each_state_once(tmp_path):
    workers = [started(tmp_path) for _ in range(8)]
    computed = [int(worker.communicate(timeout=600)[0]) for worker in workers]
    assert sum(computed) == 50
    assert not list((tmp_path / "claims").glob("*.claim"))


@pytest.mark.parametrize("locks", ["none", "refused"])
def test_where_locks_do_nothing_everything_is_computed_all_the_same(tmp_path, locks):
    workers = [started(tmp_path, locks) for _ in range(4)]
    assert sum(int(worker.communicate(timeout=600)[0]) for worker in workers) >= 50
    assert not list((tmp_path / "claims").glob("*.claim"))
    assert all((tmp_path / n.to_bytes(32, "big").hex()).exists() for n in range(50))


def test_a_claim_that_another_run_removed_hinders_nobody(tmp_path):
    with claimed(tmp_path, {bytes(32)}) as (mine, _):
        assert mine == {bytes(32)}
        [claim] = tmp_path.glob("*.claim")
        claim.unlink()


def test_what_a_killed_process_claimed_is_taken_over(tmp_path):
    holding = "import sys, time; from pathlib import Path; from tlcore.features.claims import claimed\n"
    holding += "with claimed(Path(sys.argv[1]), {bytes(32)}): print('held', flush=True); time.sleep(3600)"
    worker = subprocess.Popen([sys.executable, "-c", holding, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "held\n"
    with claimed(tmp_path, {bytes(32), b"\1" * 32}) as (mine, others):
        assert mine == {b"\1" * 32}
    os.kill(worker.pid, signal.SIGKILL)
    others[0].wait()
    with claimed(tmp_path, {bytes(32)}) as (mine, others):
        assert mine == {bytes(32)}
        assert not others
    worker.wait()
    assert not list(tmp_path.glob("*.claim"))


def test_claims_that_do_not_overlap_do_not_wait(tmp_path):
    with claimed(tmp_path, {b"\1" * 32}), claimed(tmp_path, {b"\2" * 32}) as (mine, others):
        assert mine == {b"\2" * 32}
        assert others == []


@pytest.mark.parametrize("left", ["dead.claim", ".unfinished.claim"])
def test_what_the_dead_left_hinders_nobody(tmp_path, left):
    (tmp_path / left).write_bytes(b"process 1 on nowhere\n" + bytes(32))
    with claimed(tmp_path, {bytes(32)}) as (mine, _):
        assert mine == {bytes(32)}


def test_where_nothing_can_be_written_all_is_computed_here(tmp_path):
    (tmp_path / "file").touch()  # no folder can be made below it
    with claimed(tmp_path / "file" / "claims", {bytes(32)}) as (mine, others):
        assert (mine, others) == ({bytes(32)}, [])


def test_a_disk_that_is_full_leaves_no_claim_behind(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with claimed(tmp_path, {bytes(32)}) as (mine, others):
        assert (mine, others) == ({bytes(32)}, [])
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
