"""A run's folder: who may write there."""

import datetime
import os
import stat

import pytest

from tlcore.run_folder import RunFolder


@pytest.fixture
def open_to_all():
    """Work as where the system forbids nothing."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_not_everybody_may_write_into_a_run(tmp_path, open_to_all):
    for out in (None, tmp_path / "given"):
        files = RunFolder.made(out, tmp_path / "runs", datetime.datetime.now())
        files.write("a.txt", "a")
        files.append("b.jsonl", {"b": 1})
        for path in (files.path, *files.path.iterdir()):
            assert not path.stat().st_mode & stat.S_IWOTH, path
