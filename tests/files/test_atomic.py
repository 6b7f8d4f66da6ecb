"""Visible only when whole, read only when the manifest agrees."""

import json

import pytest

from tlcore import WeightsError
from tlcore.files.atomic import publish_file, publish_folder, verify_folder


def fill(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "a.bin").write_bytes(b"abc")
    (folder / "b.json").write_text("{}")


def test_a_published_folder_is_verified(tmp_path):
    publish_folder(tmp_path / "model", fill, about={"step": 7})
    manifest = verify_folder(tmp_path / "model")
    assert manifest["step"] == 7
    assert set(manifest["files"]) == {"sub/a.bin", "b.json"}


def test_a_failure_leaves_nothing_behind(tmp_path):
    def fail(folder):
        fill(folder)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        publish_folder(tmp_path / "model", fail)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_overwritten(tmp_path):
    publish_folder(tmp_path / "model", fill)
    with pytest.raises(OSError, match="model"):
        publish_folder(tmp_path / "model", fill)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "sub" / "a.bin").write_bytes(b"abd"),
        lambda folder: (folder / "sub" / "a.bin").unlink(),
        lambda folder: (folder / "manifest.json").write_text('{"files": {"../../etc/passwd": {}}}'),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        lambda folder: (folder / "manifest.json").unlink(),
    ],
)
def test_damage_is_noticed(tmp_path, damage):
    publish_folder(tmp_path / "model", fill)
    damage(tmp_path / "model")
    with pytest.raises(WeightsError):
        verify_folder(tmp_path / "model")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "metrics.json"
    publish_file(path, "old")
    with pytest.raises(TypeError):
        publish_file(path, 5)
    assert path.read_text() == "old"
    publish_file(path, "new")
    assert path.read_text() == "new"
    publish_file(path, '"\udcfc"')  # of a path that is no Unicode: JSON reads it back as it was
    assert json.loads(path.read_bytes()) == "\udcfc"
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]
