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


def test_pooling_that_differs_from_the_weights_own_is_said(tmp_path):
    write_tiny(tmp_path / "bert")
    (tmp_path / "bert" / "1_Pooling").mkdir()
    (tmp_path / "bert" / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    checkpoint = opened(tmp_path / "bert")
    with pytest.warns(RecipeWarning, match=r"backbone\.pool is cls.*trained with mean"):
        Bert(BertOptions(weights=tmp_path / "bert", pool="cls"), checkpoint)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Bert(BertOptions(weights=tmp_path / "bert", pool="mean"), checkpoint)


def test_what_a_run_has_trained_is_a_checkpoint_too(tmp_path):
    write_tiny(tmp_path / "bert")
    rows = ["text,label", *(f"{'good' if n % 2 else 'the'} film {n},{n % 2}" for n in range(30))]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    recipe = {
        "task": "text-classification", "data": {"source": "table", "path": str(tmp_path / "t.csv")},
        "backbone": {"name": "bert", "weights": str(tmp_path / "bert")},
        "adapter": {"name": "fine-tuning", "layers": 1}, "train": {"epochs": 2, "lr": 0.01, "batch_size": 4},
    }  # fmt: skip
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    run = tlcore.run(tmp_path / "r.yaml", out=tmp_path / "run", warn=lambda text: None)
    again = Bert(BertOptions(weights=run.folder), opened(run.folder))
    first = Bert(BertOptions(weights=tmp_path / "bert"), opened(tmp_path / "bert"))
    kept, moved = (
        [
            torch.equal(a, b)
            for a, b in zip(again.stages[name].parameters(), first.stages[name].parameters(), strict=True)
        ]
        for name in ("encoder.0", "encoder.1")
    )
    assert all(kept)
    assert not all(moved)
    (run.folder / "model" / "backbone" / "bert.json").write_text("{}")
    with pytest.raises(WeightsError):
        opened(run.folder)
