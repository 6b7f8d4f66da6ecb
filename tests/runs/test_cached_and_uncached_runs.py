"""Whether states are stored decides how long a run takes, and not what it learns."""

import json

import pytest
from PIL import Image

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


PICTURES = [f"{n}.png" for n in range(48)]
FAMILIES = {
    "resnet18": ({"weights": "random", "size": 32}, "pictures"),
    "resnet50": ({"weights": "random", "size": 32}, "pictures"),
    "vgg11_bn": ({"weights": "random", "size": 32}, "pictures"),
    "vgg16": ({"weights": "random", "size": 32}, "pictures"),
    "minilm": ({"weights": "random", "output": "encoder.1"}, "texts"),
    "bert": ({"weights": "bert"}, "texts"),
}


@pytest.mark.long
@pytest.mark.parametrize("adapter", ["feature-extraction", ADAPTERS["top"]], ids=["features", "top"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_final_metrics_are_the_same_stored_or_not(tmp_path, monkeypatch, family, adapter):
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "bert")
    options, kind = FAMILIES[family]
    rows = {"texts": ["text,label"], "pictures": ["image,label"]}
    for n, name in enumerate(PICTURES):
        rows["texts"].append(f"{'good' if n % 2 else 'not'} film is {'all ' * (n % 7)}{n},{'ab'[n % 2]}")
        rows["pictures"].append(f"{name},{'ab'[n % 2]}")
        Image.effect_noise((36, 36), 20 + 3 * n).convert("RGB").point(lambda v, n=n: v // (1 + n % 2)).save(name)
    (tmp_path / "data.csv").write_text("\n".join(rows[kind]))
    recipe = {
        "task": "text-classification" if kind == "texts" else "image-classification",
        "data": {"source": "table", "path": "data.csv"} | ({} if kind == "texts" else {"input_is": "path"}),
        "backbone": {"name": family, **options},
        "adapter": adapter,
        "train": {"epochs": 2, "batch_size": 8, "precision": "fp32"},
        "evaluate": {"resamples": 0, "probe": False, "report": "none"},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    always, never = (
        tlcore.run("recipe.yaml", out=tmp_path / mode, overrides=[f"features.store={mode}"], warn=lambda text: None)
        for mode in ("always", "never")
    )
    assert always.features["stored_bytes"] > 0
    for split in ("validation", "test"):
        stored, unstored = always.metrics[split], never.metrics[split]
        assert {name: stored[name] for name in ("accuracy", "macro_f1")} == {
            name: unstored[name] for name in ("accuracy", "macro_f1")
        }
        assert stored["loss"] == pytest.approx(unstored["loss"], rel=1e-5)
