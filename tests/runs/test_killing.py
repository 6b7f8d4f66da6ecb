"""Runs that are killed at random moments, again and again, end with the bits of an unbroken one."""

import json
import os
import subprocess
import sys

import pytest

from tests.support import ROOT
from tests.support.killing import EVERYTHING, OTHERS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def killing(folder, kills, seed, *cases):
    command = [sys.executable, "-m", "tests.support.killing", str(folder), "--kills", str(kills), "--seed", str(seed)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, "--cases", *cases], cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["case"] for one in found] == list(cases), done.stderr[-3000:]
    for one in found:
        assert not one.get("failed"), one["failed"]
        assert one["different"] == []
        assert one["kills"] >= kills
    assert done.returncode == 0


@pytest.mark.slow
def test_a_few_kills(tmp_path):
    killing(tmp_path, 3, 1, "pictures-fine-tuning-1", "texts-lora-1", "pictures-feature-extraction-2")


@pytest.mark.long
@pytest.mark.parametrize("case", [*EVERYTHING, *OTHERS])
def test_two_hundred_kills(tmp_path, case):
    killing(tmp_path, 17, 2, case)
