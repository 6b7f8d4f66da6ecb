"""A checkpoint is not trusted: nothing in it runs, every tensor is accounted for, no other model takes its place."""

import json
import os
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertTokenizer

from tl_text import BertOptions
from tl_text.bert import Bert
from tl_text.checkpoint import minilm, opened, write_tiny
from tlcore import Example, UsageError, WeightsError


@pytest.fixture
def tiny(tmp_path):
    write_tiny(tmp_path / "tiny")
    return tmp_path / "tiny"


def built(folder, **options):
    return Bert(BertOptions(weights=folder, **options), opened(folder))


def change_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def change_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file(change(dict(tensors)), folder / "model.safetensors")


class Planted:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_tokenizer_of_word_pieces_alone_is_transformers_own(tiny):
    texts = ["A good film", "NOT good!", "the film is one at all"]
    reference = BertTokenizer.from_pretrained(tiny)
    state = built(tiny).prepare([Example(str(n), text) for n, text in enumerate(texts)])
    for row, text in enumerate(texts):
        assert state["input_ids"][row][state["mask"][row].bool()].tolist() == reference(text)["input_ids"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: (f / "config.json").write_text("[" * 100_000), "config.json cannot be read"),
        (lambda f: (f / "vocab.txt").unlink(), "no tokenizer"),
        (lambda f: (f / "model.safetensors").unlink(), "no weights"),
        (lambda f: change_config(f, model_type="roberta"), "'roberta' checkpoint"),
        (lambda f: change_config(f, position_embedding_type="relative_key"), "absolute positions"),
        (lambda f: change_config(f, vocab_size=5), "ids up to 13"),
        (lambda f: change_config(f, hidden_size=10**9), "refused: hidden_size"),
        (lambda f: change_config(f, hidden_size="16"), "refused: hidden_size"),
        (lambda f: change_config(f, num_attention_heads=3), "no multiple"),
        (lambda f: change_config(f, hidden_act="os.system"), "refused: hidden_act"),
        (lambda f: change_config(f, num_hidden_layers=3), "missing: encoder.layer.2"),
        (lambda f: change_config(f, num_hidden_layers=1), "encoder.layer.1"),
        (lambda f: change_config(f, intermediate_size=25), "another shape"),
    ],
)
def test_a_checkpoint_that_does_not_hold_together_is_refused(tiny, change, said):
    change(tiny)
    with pytest.raises(WeightsError) as caught:
        built(tiny)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda t: {n: v for n, v in t.items() if "layer.1.output.dense.bias" not in n},
            "missing: encoder.layer.1.output",
        ),
        (lambda t: t | {"cls.predictions.bias": torch.zeros(3)}, "cls.predictions.bias"),
        (lambda t: t | {"encoder.layer.0.extra": torch.zeros(3)}, "left over: encoder.layer.0.extra"),
        (lambda t: t | {"embeddings.LayerNorm.bias": torch.full((16,), float("nan"))}, "not finite"),
    ],
)
def test_every_tensor_is_accounted_for_by_name(tiny, change, said):
    change_tensors(tiny, change)
    with pytest.raises(WeightsError) as caught:
        built(tiny)
    assert said in str(caught.value)


def test_old_names_and_a_head_beside_the_encoder_are_understood(tiny):
    expected = built(tiny)
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}

    def aged(tensors):
        renamed = {"cls.seq_relationship.weight": torch.zeros(2, 16)}
        for name, value in tensors.items():
            end = next((new for new in old if name.endswith(new)), None)
            renamed["bert." + (name.removesuffix(end) + old[end] if end else name)] = value
        return renamed

    change_tensors(tiny, aged)
    found = built(tiny)
    for name, stage in expected.stages.items():
        for key, value in stage.state_dict().items():
            assert torch.equal(found.stages[name].state_dict()[key], value)


def test_a_configuration_cannot_choose_code(tiny):
    change_config(
        tiny, _attn_implementation="attacker/kernel", auto_map={"AutoModel": "evil.Model"}, trust_remote_code=True
    )
    backbone = built(tiny)
    assert backbone.stages["encoder.0"]._config._attn_implementation == "sdpa"


def test_a_pickle_is_refused_without_running(tiny, tmp_path):
    (tiny / "model.safetensors").unlink()
    (tiny / "pytorch_model.bin").write_bytes(pickle.dumps(Planted(tmp_path / "ran")))
    with pytest.raises(WeightsError, match="refused"):
        built(tiny)
    torch.save({"x": Planted(tmp_path / "ran")}, tiny / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="refused"):
        built(tiny)
    assert not (tmp_path / "ran").exists()


def test_an_index_cannot_point_outside(tiny, tmp_path):
    shutil.move(tiny / "model.safetensors", tmp_path / "model.safetensors")
    index = {"weight_map": {"embeddings.LayerNorm.bias": "../model.safetensors"}}
    (tiny / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match="refused: the index names"):
        built(tiny)


def test_shards_are_joined(tiny):
    tensors = load_file(tiny / "model.safetensors")
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, own in parts.items():
        save_file({name: tensors[name] for name in own}, tiny / file)
    weight_map = {name: file for file, own in parts.items() for name in own}
    (tiny / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (tiny / "model.safetensors").unlink()
    assert list(built(tiny).stages) == ["embeddings", "encoder.0", "encoder.1"]


def test_a_hub_that_cannot_be_reached_is_said_with_what_to_do(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError) as caught:
        opened("google-bert/bert-base-german-cased")
    assert caught.value.exit_code == 4
    assert "google-bert/bert-base-german-cased" in str(caught.value)
    assert "bring its folder here" in caught.value.hint


def test_a_named_row_is_not_mistaken_for_a_hub():
    with pytest.raises(UsageError) as caught:
        opened("minilm")
    assert "backbone: minilm" in caught.value.hint


def test_other_weights_under_the_name_are_refused(monkeypatch):
    monkeypatch.setattr("tl_text.checkpoint.MINILM_DIGEST", "0" * 64)
    with pytest.raises(WeightsError, match="not the weights of all-MiniLM-L6-v2"):
        minilm()
