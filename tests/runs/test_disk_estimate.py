"""What a run says beforehand that it will write is what it writes."""

import json

import pytest
from PIL import Image

import tlcore
from tl_text.checkpoint import write_tiny
from tlcore.features import precompute
from tlcore.runs.disk_estimate import RunSize
from tlcore.training import checkpoints

PICTURES = {"task": "image-classification", "data": {"source": "folder", "path": "photos"}}
NETWORK = {"name": "vgg11", "weights": "random", "size": 32}
TEXTS = {"task": "text-classification", "data": {"source": "table", "path": "texts.csv"}}
BERT = {"name": "bert", "weights": "bert"}
SGD = {"optimizer": {"name": "sgd", "momentum": 0.9}, "ema": 0.9, "epochs": 2}
RECIPES = {
    "pictures, fine-tuning": {
        **PICTURES,
        "backbone": NETWORK,
        "adapter": {"name": "fine-tuning", "layers": 1},
        "train": SGD,
    },
    "pictures, solved": {
        **PICTURES,
        "backbone": NETWORK,
        "adapter": "feature-extraction",
        "head": {"solver": "lbfgs"},
    },
    "texts, features": {**TEXTS, "backbone": BERT, "adapter": "feature-extraction"},
    "texts, fine-tuning": {
        **TEXTS,
        "backbone": BERT,
        "adapter": {"name": "fine-tuning", "layers": "all"},
        "train": {"optimizer": "rmsprop"},
    },
    "texts, lora": {**TEXTS, "backbone": BERT, "adapter": {"name": "lora", "layers": 1, "rank": 1}},
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for n in range(20):
        path = tmp_path / "photos" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (36, 36), (130 if n % 2 else 110, 12 * n, 90)).save(path)
    write_tiny(tmp_path / "bert")
    rows = [f"{'good' if n % 2 else 'not'} film is {'all ' * (n % 9)}{n},{'ab'[n % 2]}" for n in range(60)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *rows]))
    return tmp_path


def taken(folder):
    """Return what the files of a folder take, each once though several names lead to it."""
    return sum({one.stat().st_ino: one.stat().st_blocks * 512 for one in folder.rglob("*") if one.is_file()}.values())


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] if name == "pictures, fine-tuning" else []) for name in RECIPES],
)
def test_checkpoints_model_and_store_are_as_large_as_foretold(place, monkeypatch, name):
    train = {"epochs": 3, "checkpoint_steps": 1, "precision": "fp32", **RECIPES[name].get("train", {})}
    evaluate = {"resamples": 0, "probe": False, "report": "none"}
    recipe = {**RECIPES[name], "train": train, "evaluate": evaluate, "features": {"store": "always"}}
    (place / "recipe.yaml").write_text(json.dumps(recipe))
    foretold, written, stored = [], [], []
    require, publish, store = RunSize.require_room, checkpoints.publish_folder, precompute.no_room

    def required(size, folder):
        foretold.append(size)
        return require(size, folder)

    def published(target, *given):
        publish(target, *given)
        written.append(taken(target))

    def to_store(config, needed, *given):
        stored.append(needed)
        return store(config, needed, *given)

    monkeypatch.setattr(precompute, "no_room", to_store)
    monkeypatch.setattr(RunSize, "require_room", required)
    monkeypatch.setattr(checkpoints, "publish_folder", published)
    run = tlcore.run("recipe.yaml", out="run", warn=lambda text: None)
    assert foretold[0].checkpoint == pytest.approx(max(written), rel=0.1)
    assert foretold[0].model == pytest.approx(
        (run.folder / "model" / "model.safetensors").stat().st_size, rel=0.1, abs=8192
    )
    assert not stored or stored[0] == pytest.approx(run.features["stored_bytes"], rel=0.1)
    assert bool(stored) == (name != "texts, fine-tuning")
