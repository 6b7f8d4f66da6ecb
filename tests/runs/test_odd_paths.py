"""Nothing is read or written outside of where it belongs, and odd names are right or refused."""

import hashlib
import json
import os
import sys
import unicodedata

import pytest
import torch

import tlcore
from tl_data import FolderOptions
from tl_data.folder import FolderSource
from tlcore import Example, PluginError, Table, WeightsError
from tlcore.cli import main
from tlcore.files.atomic import MANIFEST, publish_folder, verify_folder
from tlcore.plugins.validation import evaluated

OUTSIDE = [
    "../x", "../../x", "a/../../x", "/x", "//host/x", "..", ".", "", "a\0b", "..\\x", "C:\\x", "~/x", "a/b", "%2e%2e/x",
    "x" * 300,
]  # fmt: skip


@pytest.fixture
def tl(monkeypatch, capfd, tmp_path):
    work = tmp_path / "a" / "b" / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    monkeypatch.setenv("TL_CACHE", str(work / "cache"))

    def run(*words):
        before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(work)}
        monkeypatch.setattr(sys, "argv", ["tl", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        after = {path for path in tmp_path.rglob("*") if not path.is_relative_to(work)}
        return ended.value.code or 0, capfd.readouterr().err, after - before

    return run


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_added_file_lies_in_the_cache_or_nowhere(tl, tmp_path, name):
    (tmp_path / "a" / "b" / "work" / "w.pth").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    code, told, outside = tl("weights", "add", "w.pth", "--as", name, "--sha256", digest)
    assert code in (0, 2, 4), told
    assert "Traceback" not in told
    assert outside == set()


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_added_folder_lies_in_the_hubs_cache_or_nowhere(tl, tmp_path, monkeypatch, name):
    work = tmp_path / "a" / "b" / "work"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(work / "hub"))
    (work / "c").mkdir()
    (work / "c" / "config.json").write_text("{}")
    code, told, outside = tl("weights", "add", "c", "--as", name)
    assert code in (0, 2, 4), told
    assert "Traceback" not in told
    assert outside == set()


@pytest.mark.parametrize("name", [name for name in OUTSIDE if name])
def test_the_name_of_a_run_is_a_name_of_a_folder(tl, name):
    text = json.dumps({
        "name": name, "task": "text-classification", "data": {"source": "table", "path": "t.csv"},
        "backbone": {"name": "bert", "weights": "w"}, "adapter": "feature-extraction",
    })  # fmt: skip
    with open("r.yaml", "w") as file:
        file.write(text)
    code, told, outside = tl("recipe", "check", "r.yaml")
    assert (code, outside) == (2, set()), told
    assert "name" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("name", OUTSIDE)
def test_the_name_of_a_table_is_a_name_of_a_file(name):
    class Named(tlcore.Regression):
        def evaluate(self, outputs, targets):
            found = super().evaluate(outputs, targets)
            return tlcore.Evaluation(found.metrics, {name: Table(("a",), ((1,),))})

    task = Named(tlcore.RegressionOptions())
    task.fit([1.0, 2.0])
    with pytest.raises(PluginError, match="named a table"):
        evaluated(task, torch.zeros(2, 1), task.encode([1.0, 2.0]))


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\0b", "x" * 300])
def test_a_manifest_that_leads_outside_is_refused(tmp_path, name):
    publish_folder(tmp_path / "m", lambda folder: (folder / "a").write_text("a"))
    (tmp_path / "x").write_text("a")
    path = tmp_path / "m" / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["files"][name] = manifest["files"]["a"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(WeightsError, match=r"points outside|is missing"):
        verify_folder(tmp_path / "m")


def test_a_file_of_a_model_that_links_outside_is_refused(tmp_path):
    publish_folder(tmp_path / "m", lambda folder: (folder / "a").write_text("a"))
    (tmp_path / "a").write_text("a")
    (tmp_path / "m" / "a").unlink()
    (tmp_path / "m" / "a").symlink_to(tmp_path / "a")
    with pytest.raises(WeightsError, match="points outside"):
        verify_folder(tmp_path / "m")


ODD = [
    "new\nline", "tab\there", "é-nfc", unicodedata.normalize("NFD", "é-nfd"), "é-nfd", "UPPER", "upper", "CON",
    "x" * 200, " space ", "\u202erev", "quote\"'", "a\\b", "%2e%2e", "~", "-rf", "=1+1",
]  # fmt: skip


def test_odd_names_of_classes_and_files_are_kept_apart_and_read(tmp_path):
    made = 0
    for name in ODD:
        (tmp_path / name).mkdir()
        for file in (f"{name[:100]}.png", "a.png"):
            (tmp_path / name / file).write_bytes(os.fsencode(name))
            made += 1
    found = [item for item in FolderSource(FolderOptions(path=tmp_path)).examples() if isinstance(item, Example)]
    assert len({example.id for example in found}) == len(found) == made
    assert len({example.label for example in found}) == len(ODD)
    for example in found:
        assert example.input.read_bytes() == os.fsencode(example.input.parent.name)
        assert example.id.isprintable()
