"""Checkpoints: whole or not there, the one before where the newest is damaged, never none."""

import errno
import os

import pytest
import torch

from tlcore import ResourceError, WeightsError
from tlcore.training.checkpoints import Checkpoints, Reference

WEIGHTS = {"weight": torch.arange(6.0)}


def save(checkpoints, step, **parts):
    checkpoints.save({"step": step, "epoch": step}, {"model": {"weight": WEIGHTS["weight"] + step}, **parts})


def test_the_newest_two_are_kept_and_each_is_whole(tmp_path):
    checkpoints = Checkpoints(tmp_path / "kept")
    for step in (1, 2, 3):
        save(checkpoints, step, best=Reference.MODEL if step == 1 else Reference.UNCHANGED)
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["step-000000002", "step-000000003"]
    found = Checkpoints(tmp_path / "kept").find_newest()
    assert (found.step, found.position) == (3, {"step": 3, "epoch": 3})
    assert found.tensors("model")["weight"].tolist() == (WEIGHTS["weight"] + 3).tolist()
    assert found.tensors("best")["weight"].tolist() == (WEIGHTS["weight"] + 1).tolist()
    with pytest.raises(WeightsError, match="no weights file at"):
        found.tensors("optimizer")


@pytest.mark.parametrize("name", ["manifest.json", "model.safetensors", "best.safetensors"])
@pytest.mark.parametrize("damage", ["gone", "cut", "flipped", "empty"])
def test_of_a_damaged_newest_one_is_told_and_the_one_before_is_taken(tmp_path, name, damage):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        save(checkpoints, step, best=Reference.MODEL)
    path = tmp_path / "step-000000002" / name
    raw = bytearray(path.read_bytes())
    path.unlink()
    if damage != "gone":
        raw[len(raw) // 2] ^= 1 if damage == "flipped" else 0
        path.write_bytes({"cut": raw[:-3], "flipped": raw, "empty": b""}[damage])
    told = []
    again = Checkpoints(tmp_path, warn=told.append)
    assert again.find_newest().step == 1
    assert len(told) == 1
    assert "step-000000002 is damaged" in told[0]
    save(again, 2, best=Reference.UNCHANGED)  # the run takes the same steps, and what is damaged goes
    assert Checkpoints(tmp_path).find_newest().step == 2


def test_where_none_is_sound_nothing_begins_anew_in_silence(tmp_path):
    assert Checkpoints(tmp_path / "none").find_newest() is None
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    (tmp_path / "step-000000001" / "manifest.json").write_text("{}")
    with pytest.raises(WeightsError, match="none of the 1 checkpoints"):
        Checkpoints(tmp_path).find_newest()


def _refusal(checkpoints):
    try:
        save(checkpoints, 2, best=Reference.UNCHANGED)
    except ResourceError as error:
        return str(error)
    return None


CALLS = ("open", "fsync", "rename", "replace", "mkdir", "link", "chmod")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_fails_at_any_call_costs_no_earlier_checkpoint(tmp_path, monkeypatch, number):
    """Fail the first call of a save, then the second, and so on until one is left alone."""
    failed_at = 0
    for at in range(200):
        folder = tmp_path / str(at)
        checkpoints = Checkpoints(folder)
        save(checkpoints, 1, best=Reference.MODEL)
        count = 0

        def failing(name, real, at=at):
            def call(*arguments, **options):
                nonlocal count
                count += 1
                if count == at + 1:
                    raise OSError(number, os.strerror(number), str(arguments[0]))
                return real(*arguments, **options)

            return call

        with monkeypatch.context() as patched:
            for name in CALLS:
                patched.setattr(os, name, failing(name, getattr(os, name)))
            said = _refusal(checkpoints)
        saved = said is None
        if said is not None:
            failed_at += 1
            assert "step 1 is valid" in said
        found = Checkpoints(folder).find_newest()
        assert found.step == 2 if saved else found.step in (1, 2)
        assert found.tensors("best")["weight"].tolist() == (WEIGHTS["weight"] + 1).tolist()
        if count <= at:  # nothing was left to fail
            break
    else:
        pytest.fail("it never ended")
    assert failed_at >= 10


def test_damage_of_one_file_never_costs_two_checkpoints(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1, best=Reference.MODEL)
    save(checkpoints, 2, best=Reference.UNCHANGED)
    with (tmp_path / "step-000000002" / "best.safetensors").open("r+b") as file:
        file.truncate(90)
    again = Checkpoints(tmp_path)
    assert again.find_newest().step == 1
    assert again.newest.tensors("best")["weight"].tolist() == (WEIGHTS["weight"] + 1).tolist()


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"x"), lambda path: path.unlink()])
def test_what_was_damaged_since_is_not_taken_over_into_the_next_one(tmp_path, damage):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1, best=Reference.MODEL)
    save(checkpoints, 2, best=Reference.UNCHANGED)
    damage(tmp_path / "step-000000002" / "best.safetensors")
    with pytest.raises(WeightsError, match="of the checkpoint of step 2 is gone or was changed"):
        save(checkpoints, 3, best=Reference.UNCHANGED)
    assert Checkpoints(tmp_path).find_newest().step == 1
