"""German weights, an own run as weights, and pooling that differs from what the weights say."""

import json
import warnings

import pytest
import torch

import tlcore
from tl_text import BertOptions, GermanBertOptions
from tl_text.bert import Bert
from tl_text.checkpoint import opened, write_tiny
from tlcore import Example, RecipeWarning, WeightsError

TEXTS = ["Schalte im Wohnzimmer das Licht aus.", "Wie wird das Wetter?", "ja " * 30]


def test_the_german_weights_give_what_bertmodel_gives(shared):
    from transformers import AutoModel

    folder = shared / "weights" / "german-bert-e5-small"
    backbone = Bert(GermanBertOptions(weights=folder, pool="mean"), opened(folder))
    state = backbone.prepare([Example(str(n), text) for n, text in enumerate(TEXTS)])
    theirs = AutoModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32).eval()
    with torch.inference_mode():
        expected = theirs(input_ids=state["input_ids"], attention_mask=state["mask"]).last_hidden_state
        for stage in backbone.stages.values():
            state = stage.eval()(state)
    marked = state["mask"].bool()
    assert torch.allclose(state["hidden"][marked], expected[marked], atol=1e-5, rtol=1e-5)
    for name, targets in backbone.lora_targets.items():
        modules = dict(backbone.stages[name].named_modules())
        assert all(isinstance(modules[target], torch.nn.Linear) for target in targets)


@pytest.mark.parametrize(
    ("key", "own", "other"), [("pool", "max", "cls"), ("max_length", 9, 8), ("prefix", "query: ", "passage: ")]
)
def test_the_recipe_wins_over_what_the_weights_say_and_the_difference_is_said(tmp_path, key, own, other):
    folder = tmp_path / "bert"
    write_tiny(folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 9}))
    prompts = {"prompts": {"document": "passage: ", "query": "query: "}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for options in ({}, {key: own}):
            assert Bert(BertOptions(weights=folder, **options), opened(folder)).preparation[key] == own
    with pytest.warns(RecipeWarning, match=rf"backbone\.{key} is {other!r}, .*trained with {own!r}"):
        assert Bert(BertOptions(weights=folder, **{key: other}), opened(folder)).preparation[key] == other


def test_weights_that_say_nothing_are_overridden_in_silence(tmp_path):
    write_tiny(tmp_path / "bert")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Bert(
            BertOptions(weights=tmp_path / "bert", pool="cls", prefix="a ", max_length=5), opened(tmp_path / "bert")
        )
    assert {key: found.preparation[key] for key in ("pool", "prefix", "max_length")} == {
        "pool": "cls", "prefix": "a ", "max_length": 5,
    }  # fmt: skip


def run_of(tmp_path, backbone, adapter):
    """Train on a tiny table; return the run's folder."""
    write_tiny(tmp_path / "bert")
    rows = ["text,label", *(f"{'good' if n % 2 else 'the'} film {n},{n % 2}" for n in range(30))]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    recipe = {
        "task": "text-classification", "data": {"source": "table", "path": str(tmp_path / "t.csv")},
        "backbone": {"name": "bert", "weights": str(tmp_path / "bert"), **backbone},
        "adapter": adapter, "train": {"epochs": 2, "lr": 0.01, "batch_size": 4},
    }  # fmt: skip
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    return tlcore.run(tmp_path / "r.yaml", out=tmp_path / "run", warn=lambda text: None).folder


def changed_stages(tmp_path, run):
    """Return the stages of a run's model whose parameters are no longer those of the checkpoint."""
    again = Bert(BertOptions(weights=run), opened(run))
    first = Bert(BertOptions(weights=tmp_path / "bert"), opened(tmp_path / "bert"))
    return {
        name
        for name, stage in again.stages.items()
        if any(not torch.equal(a, b) for a, b in zip(stage.parameters(), first.stages[name].parameters(), strict=True))
    }


def test_what_a_run_has_trained_is_a_checkpoint_too(tmp_path):
    run = run_of(tmp_path, {}, {"name": "fine-tuning", "layers": 1})
    assert changed_stages(tmp_path, run) == {"encoder.1"}
    assert opened(run / "model").place == str(run / "model")
    (run / "model" / "backbone" / "bert.json").write_text("{}")
    with pytest.raises(WeightsError):
        opened(run)


def test_a_run_with_lora_is_a_checkpoint_with_the_matrices_folded_in(tmp_path):
    run = run_of(tmp_path, {}, {"name": "lora", "rank": 2})
    assert {"encoder.0", "encoder.1"} == changed_stages(tmp_path, run)


def test_a_run_as_weights_ends_where_it_ended_and_reads_as_it_read(tmp_path):
    settings = {"output": "encoder.0", "pool": "cls", "prefix": "the ", "max_length": 9}
    run = run_of(tmp_path, settings, {"name": "feature-extraction"})
    again = Bert(BertOptions(weights=run), opened(run))
    assert list(again.stages) == ["embeddings", "encoder.0"]
    assert {key: again.preparation[key] for key in settings if key != "output"} == {
        "pool": "cls", "prefix": "the ", "max_length": 9,
    }  # fmt: skip
