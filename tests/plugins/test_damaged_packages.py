"""A package whose metadata is damaged stops nobody else; a crash, a hang or an exit at import is named."""

import json

import pytest

from tests.support import OUTSIDE
from tests.support.outside_recipe import FEATURES, RECIPE
from tests.support.site import GOOD, Site, tl

BROKEN = {
    "without metadata": lambda info: (info / "METADATA").unlink(),
    "of no name": lambda info: (info / "METADATA").write_text("Metadata-Version: 2.1\n"),
    "of no version": lambda info: (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\n"),
    "of an odd version": lambda info: (info / "METADATA").write_text("Name: odd\nVersion: \x1b[2Jx\n"),
    "in no encoding": lambda info: (info / "METADATA").write_bytes(b"Name: \xff\xfe\n"),
    "whose entry points are bytes": lambda info: (info / "entry_points.txt").write_bytes(b"[tlcore]\n\xff\xfe = x\n"),
    "whose entry points are words": lambda info: (info / "entry_points.txt").write_text("[tlcore]\nnonsense\n"),
    "whose entry point is empty": lambda info: (info / "entry_points.txt").write_text("[tlcore]\nodd =\n"),
    "whose entry point is a call": lambda info: (info / "entry_points.txt").write_text("[tlcore]\nodd = a:b('x')\n"),
    "whose entry point has a nul": lambda info: (info / "entry_points.txt").write_text("[tlcore]\no\0dd = a\0b\n"),
    "whose entry point is relative": lambda info: (info / "entry_points.txt").write_text("[tlcore]\nodd = ..x\n"),
    "whose object is missing": lambda info: (info / "entry_points.txt").write_text("[tlcore]\nodd = odd_module:no\n"),
    "whose entry points are outside a group": lambda info: (info / "entry_points.txt").write_text("odd = x\n"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_a_damaged_distribution_stops_no_other(tmp_path, change):
    (tmp_path / "site").mkdir()
    site = Site(tmp_path / "site")
    (site.folder / "outside_vectors").symlink_to(OUTSIDE / "src" / "outside_vectors")
    site.install("outside-vectors", {"vectors": "outside_vectors"}, "1.0.0")
    site.install("odd-package", {"odd": "odd_module"}, odd_module=GOOD.format(name="odd"))
    change(site.folder / "odd_package-1.2.dist-info")
    (tmp_path / "vectors.yaml").write_text(RECIPE.format(task="classification", source="blobs", adapter=FEATURES))
    done = tl(site, "recipe", "check", str(tmp_path / "vectors.yaml"))
    assert done.returncode == 0, done.stderr
    done = tl(site, "plugins", "--json")
    assert done.returncode == 0, done.stderr
    assert "vectors" in [one["name"] for one in json.loads(done.stdout)["plugins"]]
    about = json.loads(done.stdout)["failures"]
    assert {one["name"].replace("\0", "") for one in about} <= {"odd"}


def test_an_exit_at_import_names_the_plugin_and_is_not_taken_for_success(site):
    site.install("bad-package", {"bad": "bad_module"}, bad_module="import os; os._exit(0)")
    done = tl(site, "list")
    assert done.returncode == 8
    assert "plugin bad (bad-package 1.2) ended the process at import by os._exit(0)" in done.stderr


def test_a_crash_at_import_names_the_file(site):
    site.install("bad-package", {"bad": "bad_module"}, bad_module="import ctypes; ctypes.string_at(0)")
    done = tl(site, "list")
    assert done.returncode == -11
    assert "Fatal Python error" in done.stderr
    assert "bad_module.py" in done.stderr


def test_a_slow_import_names_the_file_and_is_waited_for(site, capfd, monkeypatch):
    monkeypatch.setattr("tlcore.plugins.host.SLOW_IMPORT", 0.2)
    site.install(
        "bad-package", {"bad": "bad_module"}, bad_module="import time; time.sleep(1)" + GOOD.format(name="bad")
    )
    assert site.host().failures == []
    assert "bad_module.py" in capfd.readouterr().err
