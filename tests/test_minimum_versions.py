"""Libraries that are too old to be safe end a run before it begins."""

import re
import tomllib
from importlib import metadata

import pytest

import tlcore
from tests.support import ROOT
from tlcore.minimum_versions import FLOORS, require_floors


@pytest.fixture
def installed(monkeypatch):
    """Return a dict of versions that take the place of what is installed; None is absent."""
    versions = {}
    real = metadata.version

    def version(name):
        if name in versions and versions[name] is None:
            raise metadata.PackageNotFoundError(name)
        return versions.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", version)
    return versions


@pytest.mark.parametrize("version", ["2.10", "2.10.0", "2.11.1+cu130", "3.0", "10.0", "2.10.0a0+git1", "2.100", None])
def test_what_is_new_enough_or_absent_passes(installed, version):
    installed["torch"] = version
    require_floors()


@pytest.mark.parametrize("version", ["2.9.1", "2.9", "1.13.1+cpu", "0.4", "2", "unknown"])
def test_what_is_too_old_is_refused_with_the_line_that_mends_it(installed, version):
    installed["torch"] = version
    with pytest.raises(tlcore.UsageError) as caught:
        require_floors()
    assert caught.value.exit_code == 2
    assert caught.value.where == f"torch {version}, needed is 2.10 or newer"
    assert caught.value.hint == "python -m pip install --upgrade 'torch>=2.10'"


@pytest.mark.parametrize("start", [tlcore.run, tlcore.load])
def test_neither_a_run_nor_a_model_begins_with_old_libraries(installed, tmp_path, start):
    installed |= {"pillow": "12.1.1", "datasets": "3.6.0"}
    with pytest.raises(tlcore.UsageError, match="too old") as caught:
        start(tmp_path / "anything")
    assert "'pillow>=12.2' 'datasets>=4.0'" in caught.value.hint


def test_the_floors_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = dict(re.fullmatch(r"([\w-]+)>=([\d.]+)", line).groups() for line in project["dependencies"])
    assert {name: declared[name] for name in FLOORS} == FLOORS
