"""`tl weights`: fetched ahead and locked, verified, brought by hand; after that a run opens no connection."""

import json
import socket
import sys

import pytest
import torch
from torchvision.models import resnet18

from tl_text.checkpoint import write_tiny
from tlcore.cli import main
from tlcore.weights import cache_folder, file_digest


@pytest.fixture
def tl(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def called(*words):
        monkeypatch.setattr(sys, "argv", ["tl", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, told.err

    return called


@pytest.fixture
def recipe(tmp_path):
    write_tiny(tmp_path / "bert")
    rows = ["text,label", *(f"{'good' if n % 2 else 'the'} film {n},{n % 2}" for n in range(30))]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    written = {
        "task": "text-classification", "data": {"source": "table", "path": "t.csv"},
        "backbone": {"name": "bert", "weights": "bert"}, "adapter": "feature-extraction", "train": {"epochs": 1},
    }  # fmt: skip
    (tmp_path / "r.yaml").write_text(json.dumps(written))
    return tmp_path / "r.yaml"


def test_after_pull_a_run_opens_no_connection(tl, recipe, monkeypatch):
    code, out, _ = tl("weights", "pull", "r.yaml")
    assert (code, out) == (0, "r.lock.json\n")
    (entry,) = json.loads((recipe.parent / "r.lock.json").read_text())["files"]
    assert entry["sha256"] == file_digest(recipe.parent / "bert" / "model.safetensors")
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, lambda *given: pytest.fail("a connection was opened"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **options: pytest.fail("a name was looked up"))
    assert tl("run", "r.yaml", "--out", "run")[0] == 0


def test_weights_that_changed_after_they_were_locked_are_refused(tl, recipe):
    assert tl("weights", "pull", "r.yaml")[0] == 0
    assert tl("weights", "verify", "--lock", "r.lock.json")[0] == 0
    file = recipe.parent / "bert" / "model.safetensors"
    from safetensors.torch import load_file, save_file

    save_file({name: tensor + 1 for name, tensor in load_file(file).items()}, file)
    code, out, err = tl("weights", "verify", "--lock", "r.lock.json")
    assert (code, "changed: SHA-256" in out) == (4, True)
    code, _, err = tl("run", "r.yaml", "--out", "run")
    assert (code, "another file than the lock lists" in err) == (4, True)
    file.unlink()
    code, out, _ = tl("weights", "verify", "--lock", "r.lock.json")
    assert (code, "missing" in out) == (4, True)


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 9, "files": []}', '{"format": 1, "files": [{}]}'])
def test_what_is_no_lock_is_said(tl, tmp_path, content):
    (tmp_path / "odd.lock.json").write_text(content)
    assert tl("weights", "verify", "--lock", "odd.lock.json")[0] == 4
    assert tl("weights", "verify")[0] == 2


def named_by_digest(tmp_path):
    torch.save(resnet18().state_dict(), tmp_path / "own.pth")
    path = tmp_path / f"own-{file_digest(tmp_path / 'own.pth')[:8]}.pth"
    (tmp_path / "own.pth").rename(path)
    return path


def test_a_file_brought_by_hand_is_found_by_the_next_run(tl, tmp_path, monkeypatch):
    path = named_by_digest(tmp_path)
    from tl_vision import architectures

    url = f"https://example.org/{path.name}"
    known = {"imagenet": architectures.WeightFile(url, path.stem.rpartition("-")[2])}
    monkeypatch.setattr("tl_vision.pretrained.weight_files", lambda name: known)
    assert tl("weights", "pull", "resnet18")[0] == 4
    code, out, _ = tl("weights", "add", path)
    assert (code, out.strip()) == (0, str(cache_folder() / "weights" / path.name))
    assert path.name in tl("weights", "list")[1]
    code, out, err = tl("weights", "pull", "resnet18")
    assert (code, out) == (0, "weights.lock.json\n"), err
    assert json.loads((tmp_path / "weights.lock.json").read_text())["files"][0]["origin"] == url


def test_a_file_that_is_not_what_its_name_says_is_not_added(tl, tmp_path):
    path = named_by_digest(tmp_path)
    path.write_bytes(b"planted")
    code, _, err = tl("weights", "add", path)
    assert (code, "not the file that was meant" in err) == (4, True)
    assert not (cache_folder() / "weights" / path.name).exists()
    (tmp_path / "plain.pth").write_bytes(b"x")
    code, _, err = tl("weights", "add", "plain.pth")
    assert (code, "--sha256" in err) == (2, True)
    assert tl("weights", "add", "plain.pth", "--sha256", file_digest(tmp_path / "plain.pth"))[0] == 0
    assert tl("weights", "add", "absent.pth")[0] == 2


def test_every_backbone_is_listed_with_its_weights(tl):
    code, out, _ = tl("weights", "list")
    assert code == 0
    assert "imagenet-features" in out
    assert "google-bert/bert-base-german-cased" in out
