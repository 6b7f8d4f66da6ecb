"""`tl weights`: fetched ahead and locked, verified, brought by hand; after that a run opens no connection."""

import http.server
import json
import shutil
import socket
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from tl_text.checkpoint import write_tiny
from tlcore.cli import main
from tlcore.files.digests import file_digest
from tlcore.files.disk import cache_folder


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


@pytest.fixture
def cut_off(monkeypatch):
    """Let every attempt to reach another machine, or this one, fail the test."""

    def cut():
        for name in ("connect", "connect_ex"):
            monkeypatch.setattr(socket.socket, name, lambda *given: pytest.fail("a connection was opened"))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **options: pytest.fail("a name was looked up"))

    return cut


@contextmanager
def served(answer):
    """Serve on this machine what ``answer(path)`` returns: a status, headers and a body; give its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, body = answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_HEAD(self):
            self.do_GET()

        def do_CONNECT(self):
            self.do_GET()

        def log_message(self, *given):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def hub_of(folder, repository):
    """Return how a hub answers that has one repository."""

    def answer(path):
        if path.startswith(f"/api/models/{repository}"):
            about = {"id": repository, "modelId": repository, "sha": COMMIT, "siblings": [], "tags": []}
            return 200, {"Content-Type": "application/json"}, json.dumps(about).encode()
        name = path.partition("/resolve/main/")[2] or path.partition(f"/resolve/{COMMIT}/")[2]
        headers = {"X-Repo-Commit": COMMIT}
        if not name or not (folder / name).is_file():
            return 404, {**headers, "X-Error-Code": "EntryNotFound"}, b""
        return 200, {**headers, "ETag": f'"{file_digest(folder / name)}"'}, (folder / name).read_bytes()

    return answer


def sentence_checkpoint(folder):
    """Write a checkpoint in which two folders hold a file of the same name."""
    write_tiny(folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    (folder / "modules.json").write_text("[]")


def of_the_hub(recipe):
    recipe.write_text(recipe.read_text().replace('"weights": "bert"', '"weights": "someone/sentences"'))


def locked(path):
    return json.loads(Path(path).read_text())["files"]


def test_what_a_hub_gave_once_is_all_that_a_run_needs(tl, tmp_path, recipe, monkeypatch, cut_off):
    sentence_checkpoint(tmp_path / "theirs")
    of_the_hub(recipe)
    with served(hub_of(tmp_path / "theirs", "someone/sentences")) as address:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
                            address + "/{repo_id}/resolve/{revision}/{filename}")  # fmt: skip
        code, _, err = tl("weights", "pull", "r.yaml")
    assert code == 0, err
    assert {entry["origin"] for entry in locked("r.lock.json")} == {f"hub someone/sentences@{COMMIT}"}
    assert [Path(entry["path"]).name for entry in locked("r.lock.json")].count("config.json") == 2
    cut_off()
    assert tl("weights", "verify", "r.yaml")[0] == 0
    code, _, err = tl("run", "r.yaml", "--out", "run")
    assert code == 0, err
    assert "never fetched" not in err


def test_what_was_downloaded_once_is_all_that_a_run_needs(tl, tmp_path, monkeypatch, cut_off):
    path = named_by_digest(tmp_path)
    with served(lambda asked: (200, {}, path.read_bytes())) as address:
        known_as(f"{address}/{path.name}", path, monkeypatch)
        assert tl("weights", "pull", "resnet18")[0] == 0
    path.unlink()
    cut_off()
    code, _, err = tl("weights", "pull", "resnet18", "--lock", "again.lock.json")
    assert code == 0, err
    assert locked("again.lock.json") == locked("weights.lock.json")
    assert (cache_folder() / "weights" / path.name).stat().st_mode & 0o777 == 0o644


def test_downloads_go_through_the_proxy(tl, tmp_path, monkeypatch):
    asked = []
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    def refuse(path):
        asked.append(path)
        return 403, {}, b""

    known_as("https://weights.invalid/own-00000000.pth", Path("own-00000000.pth"), monkeypatch)
    with served(refuse) as address:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, address)
        # Both read the proxy from the environment once in a process.
        monkeypatch.setattr("urllib.request._opener", None)
        monkeypatch.setattr("huggingface_hub.utils._http._GLOBAL_CLIENT", None)
        assert tl("weights", "pull", "resnet18")[0] == 4
        assert tl("weights", "pull", "german-bert")[0] == 4
    assert asked[0] == "weights.invalid:443"
    assert "huggingface.co:443" in asked[1:]


def test_a_checkpoint_brought_as_a_folder_goes_by_its_name_on_the_hub(tl, tmp_path, recipe, cut_off):
    sentence_checkpoint(tmp_path / "stick")
    of_the_hub(recipe)
    cut_off()
    code, out, err = tl("weights", "list", "r.yaml")
    assert (code, "not on this machine" in out, "tl weights add PATH --as someone/sentences" in out) == (0, True, True)
    assert tl("weights", "add", "stick")[0] == 2
    code, out, err = tl("weights", "add", "stick", "--as", "someone/sentences")
    assert code == 0, err
    code, out, err = tl("weights", "list", "r.yaml")
    assert ("on this machine" in out, file_digest(tmp_path / "stick" / "model.safetensors")[:16] in out) == (True, True)
    code, _, err = tl("run", "r.yaml", "--out", "run")
    assert (code, "never fetched" in err) == (0, False), err
    assert tl("weights", "add", "stick", "--as", "someone/sentences")[0] == 0
    (tmp_path / "stick" / "modules.json").write_text("[1]")
    code, _, err = tl("weights", "add", "stick", "--as", "someone/sentences")
    assert (code, "on this machine already" in err) == (2, True)


def of_another_machine(lock, folder, home):
    """Write the lock file that pulling a repository left on another machine."""
    entries = [
        {"path": f"{home}/snapshots/{COMMIT}/{name}", "origin": f"hub someone/sentences@{COMMIT}",
         "size": (folder / name).stat().st_size, "sha256": file_digest(folder / name)}
        for name in ("config.json", "1_Pooling/config.json", "vocab.txt", "modules.json", "model.safetensors")
    ]  # fmt: skip
    lock.write_text(json.dumps({"format": 1, "files": entries}))


def test_a_folder_is_proven_by_the_lock_of_another_machine(tl, tmp_path, recipe):
    sentence_checkpoint(tmp_path / "stick")
    of_the_hub(recipe)
    of_another_machine(tmp_path / "r.lock.json", tmp_path / "stick", "/elsewhere/models--someone--sentences")
    shutil.copytree(tmp_path / "stick", tmp_path / "changed")
    (tmp_path / "changed" / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    code, _, err = tl("weights", "add", "changed", "--as", "someone/sentences", "--lock", "r.yaml")
    assert (code, "1_Pooling/config.json is not the file that was meant" in err) == (4, True)
    (tmp_path / "changed" / "vocab.txt").unlink()
    shutil.copy(tmp_path / "stick" / "1_Pooling" / "config.json", tmp_path / "changed" / "1_Pooling")
    code, _, err = tl("weights", "add", "changed", "--as", "someone/sentences", "--lock", "r.yaml")
    assert (code, "vocab.txt, which is not in the folder" in err) == (4, True)
    assert tl("weights", "add", "stick", "--as", "someone/other", "--lock", "r.yaml")[0] == 2
    assert not list((tmp_path / "hub").rglob("main"))
    (tmp_path / "stick" / "sentence_bert_config.json").write_text('{"max_seq_length": 3}')
    code, out, err = tl("weights", "add", "stick", "--as", "someone/sentences", "--lock", "r.yaml")
    assert (code, Path(out.strip()).name) == (0, COMMIT), err
    assert not (Path(out.strip()) / "sentence_bert_config.json").exists()
    assert tl("run", "r.yaml", "--out", "run")[0] == 0


@pytest.mark.parametrize("name", ["../up", "a/b/c", "", "a b", "..", "/etc"])
def test_what_is_no_name_on_the_hub_is_said(tl, tmp_path, name):
    write_tiny(tmp_path / "stick")
    assert tl("weights", "add", "stick", "--as", name)[0] == 2
    assert not (tmp_path / "hub").exists()


def test_a_lock_cannot_name_files_outside(tl, tmp_path):
    sentence_checkpoint(tmp_path / "stick")
    of_another_machine(tmp_path / "l.lock.json", tmp_path / "stick", "/home")
    entries = locked("l.lock.json")
    entries[0]["path"] = f"/home/snapshots/{COMMIT}/../../planted"
    (tmp_path / "l.lock.json").write_text(json.dumps({"format": 1, "files": entries}))
    code, _, err = tl("weights", "add", "stick", "--as", "someone/sentences", "--lock", "l.lock.json")
    assert (code, "refused" in err) == (4, True)


def test_a_file_that_was_renamed_is_added_under_its_own_name(tl, tmp_path):
    path = named_by_digest(tmp_path)
    shutil.copy(path, tmp_path / "own (1).pth")
    code, out, _ = tl("weights", "add", "own (1).pth", "--as", f"https://weights.invalid/models/{path.name}")
    assert (code, out.strip()) == (0, str(cache_folder() / "weights" / path.name))
    assert tl("weights", "add", path, "--sha256", "00")[0] == 2
    assert tl("weights", "add", path, "--sha256", "0" * 64)[0] == 4
    assert tl("weights", "add", path, "--as", "x/..")[0] == 2


def test_a_listed_digest_is_of_the_file_as_it_is_now(tl, tmp_path):
    path = named_by_digest(tmp_path)
    kept = Path(tl("weights", "add", path)[1].strip())
    before = file_digest(kept)
    assert before[:16] in tl("weights", "list")[1]
    kept.write_bytes(b"x" * kept.stat().st_size)
    out = tl("weights", "list")[1]
    assert (before[:16] in out, file_digest(kept)[:16] in out) == (False, True)
    for damage in ("{", "[]", json.dumps({str(kept): [1]}), json.dumps({str(kept): 5})):
        (cache_folder() / "digests.json").write_text(damage)
        assert file_digest(kept)[:16] in tl("weights", "list")[1]


def test_listing_fetches_nothing_and_says_what_is_here(tl, cut_off):
    cut_off()
    code, out, _ = tl("weights", "list", "resnet18", "german-bert", "bert")
    states = {line.split()[0]: line for line in out.splitlines()[1:4]}
    assert (code, "not on this machine" in states["resnet18"], "given by you" in states["bert"]) == (0, True, True)
    assert "tl weights add resnet18-" in out
    assert "--as google-bert/bert-base-german-cased" in out
    assert tl("weights", "list", "resnet81")[0] == 2


def test_after_pull_a_run_opens_no_connection(tl, recipe, cut_off):
    code, out, _ = tl("weights", "pull", "r.yaml")
    assert (code, out) == (0, "r.lock.json\n")
    (entry,) = json.loads((recipe.parent / "r.lock.json").read_text())["files"]
    assert entry["sha256"] == file_digest(recipe.parent / "bert" / "model.safetensors")
    cut_off()
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


def known_as(url, path, monkeypatch):
    """Let ``imagenet`` of resnet18 mean a file of this test."""
    from tl_vision import architectures

    known = {"imagenet": architectures.WeightFile(url, path.stem.rpartition("-")[2])}
    monkeypatch.setattr("tl_vision.pretrained.weight_files", lambda name: known)


def test_a_file_brought_by_hand_is_found_by_the_next_run(tl, tmp_path, monkeypatch):
    path = named_by_digest(tmp_path)
    url = f"https://weights.invalid/{path.name}"
    known_as(url, path, monkeypatch)
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
