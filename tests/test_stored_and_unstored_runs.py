"""Whether states are stored decides how long a run takes, and not what it learns."""

import json

import pytest

import tlcore
from tl_text.checkpoint import write_tiny

ADAPTERS = {
    "top": {"name": "fine-tuning", "layers": 1},
    "all": {"name": "fine-tuning", "layers": "all"},
    "gradual": {"name": "fine-tuning", "layers": 2, "unfreeze": "gradual"},
}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_texts_are_learnt_in_the_same_batches_stored_or_not(tmp_path, monkeypatch, adapter):
    """Texts of about the same length stand together in a batch, so a run must know lengths in either case."""
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "bert")
    rows = [f"{'good' if n % 2 else 'not'} film is {'all ' * (n % 7)}{n},{'ab'[n % 2]}" for n in range(60)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *rows]))
    recipe = {
        "task": "text-classification",
        "data": {"source": "table", "path": "texts.csv"},
        "backbone": {"name": "bert", "weights": "bert"},
        "adapter": ADAPTERS[adapter],
        "train": {"epochs": 3, "lr": 0.003, "batch_size": 8, "precision": "fp32"},
        "evaluate": {"resamples": 0, "probe": False, "report": "none"},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    losses = []
    for mode in ("always", "never"):
        tlcore.run("recipe.yaml", out=tmp_path / mode, overrides=[f"features.store={mode}"], warn=lambda text: None)
        records = [json.loads(line) for line in (tmp_path / mode / "history.jsonl").read_text("utf-8").splitlines()]
        losses += [[record[split]["loss"] for record in records for split in ("train", "validation")]]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
