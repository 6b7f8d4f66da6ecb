"""A checkpoint in the hub's cache, put there by another program: read without a network, and said what is not known."""

import shutil
import warnings

import pytest

from tl_text import BertOptions
from tl_text.bert import Bert
from tl_text.checkpoint import opened, write_tiny
from tlcore import Example, RecipeWarning, UsageError, WeightsError

NAME = "someone/network"


@pytest.fixture
def snapshot(tmp_path, monkeypatch):
    """Lay out a tiny checkpoint as the hub's library caches it, with no network behind it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--someone--network"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    write_tiny(repository / "snapshots" / "abc")
    return repository / "snapshots" / "abc"


def never_there(snapshot, *names):
    """Mark files that the repository does not have, as the hub's library does once it has asked."""
    for name in names:
        marker = snapshot.parents[1] / ".no_exist" / "abc" / name
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()


def test_a_cache_that_another_program_filled_is_enough_and_what_it_never_asked_for_is_said(snapshot, tmp_path):
    with pytest.warns(RecipeWarning) as noted:
        backbone = Bert(BertOptions(weights=NAME), opened(NAME))
    assert list(backbone.stages) == ["embeddings", "encoder.0", "encoder.1"]
    said = [str(warning.message) for warning in noted]
    assert any(text.startswith(f"modules.json of '{NAME}' was never fetched") for text in said)
    shutil.copytree(snapshot, tmp_path / "folder")
    texts = [Example("x", "a good film")]
    expected = Bert(BertOptions(weights=tmp_path / "folder"), opened(tmp_path / "folder")).prepare(texts)
    assert backbone.prepare(texts)["input_ids"].tolist() == expected["input_ids"].tolist()


def test_a_cache_that_knows_everything_needs_no_note(snapshot):
    never_there(snapshot, "tokenizer.json", "tokenizer_config.json", "modules.json")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened(NAME)


def test_how_a_sentence_network_on_the_hub_reads_is_found(snapshot):
    never_there(snapshot, "tokenizer.json", "tokenizer_config.json", "config_sentence_transformers.json")
    (snapshot / "modules.json").write_text("[]")
    (snapshot / "sentence_bert_config.json").write_text('{"max_seq_length": 7}')
    (snapshot / "1_Pooling").mkdir()
    (snapshot / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    found = opened(NAME)
    assert (found.pool, found.max_length, found.prefix) == ("cls", 7, None)


@pytest.mark.filterwarnings("ignore::tlcore.RecipeWarning")
@pytest.mark.parametrize("file", ["model.safetensors", "vocab.txt", "config.json"])
def test_a_cache_that_lacks_what_is_needed_says_so_and_how_to_bring_it(snapshot, file):
    (snapshot / file).unlink()
    with pytest.raises(WeightsError, match=f"cannot get '{NAME}'") as caught:
        opened(NAME)
    assert "--set backbone.weights=PATH" in caught.value.hint


def test_another_ones_copy_of_minilm_is_a_name_on_the_hub(monkeypatch):
    asked = []
    monkeypatch.setattr("tl_text.checkpoint.hub_file", lambda name, *given, **options: asked.append(name) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        opened("acme/all-minilm-l6-v2")
    assert asked == ["acme/all-minilm-l6-v2"]
    with pytest.raises(UsageError, match="no checkpoint of bert"):
        opened("all-minilm-l6-v3")
