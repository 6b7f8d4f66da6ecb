"""A run's folder: who may write there."""

import datetime
import os
import stat

import pytest

from tlcore.files.run_folder import RunFolder, open_to_others


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


def change_mode(mode):
    return lambda folder: folder.chmod(mode)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (change_mode(0o755), None),
        (change_mode(0o1777), None),
        (change_mode(0o777), "everybody may write into"),
        (lambda folder: os.chown(folder, 12345, -1), "belongs to another user (12345)"),
    ],
)
def test_a_place_that_others_may_change_is_told(tmp_path, change, said):
    (tmp_path / "shared" / "mine").mkdir(parents=True)
    (tmp_path / "link").symlink_to("shared/mine")
    try:
        change(tmp_path / "shared")
    except PermissionError:
        pytest.skip("only root can give a folder away")
    before = open_to_others(tmp_path)
    for folder in (tmp_path / "link" / "store", tmp_path / "shared" / "mine"):
        found = open_to_others(folder)
        assert found == before if said is None else said in found and str(tmp_path / "shared") in found
