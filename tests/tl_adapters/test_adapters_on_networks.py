"""Every way to adapt, on every family of networks: the saved model says what the run scored."""

import json

import pytest
from PIL import Image
from pyarrow import parquet

import tlcore
from tl_text.checkpoint import write_tiny

NETWORKS = {
    "bert": {"name": "bert", "weights": "bert"},
    "vgg": {"name": "vgg11_bn", "weights": "random", "output": "block2", "size": 32},
    "resnet": {"name": "resnet18", "weights": "random", "output": "layer2", "size": 32},
}
ADAPTERS = {
    "features": "feature-extraction",
    "top": {"name": "fine-tuning", "layers": 1},
    "all, gradually": {"name": "fine-tuning", "layers": "all", "unfreeze": "gradual"},
    "head first": {"name": "fine-tuning", "layers": 2, "unfreeze": "head-first"},
    "lora": {"name": "lora", "rank": 3},
    "lora on top": {"name": "lora", "rank": 2, "layers": 1, "lora_dropout": 0.2},
}


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "bert")
    rows, pictures = ["text,label"], ["image,label"]
    for n in range(40):
        rows.append(f"{'good' if n % 2 else 'not'} film is {'all ' * (n % 5)}{n},{'ab'[n % 2]}")
        Image.new("RGB", (36, 36), (200 if n % 2 else 40, 5 * n, 90)).save(tmp_path / f"{n}.png")
        pictures.append(f"{n}.png,{'ab'[n % 2]}")
    (tmp_path / "texts.csv").write_text("\n".join(rows))
    (tmp_path / "pictures.csv").write_text("\n".join(pictures))
    return {
        "bert": {"source": "table", "path": "texts.csv"},
        "vgg": {"source": "table", "path": "pictures.csv", "input_is": "path"},
        "resnet": {"source": "table", "path": "pictures.csv", "input_is": "path"},
    }


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 2e-2)])
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_saved_model_says_what_the_run_scored(data, tmp_path, network, adapter, precision, tolerance):
    if "lora" in adapter:
        pytest.importorskip("peft", reason='peft is not installed: pip install "tlcore[lora]"')
    recipe = {
        "task": "text-classification" if network == "bert" else "image-classification",
        "data": data[network],
        "backbone": NETWORKS[network],
        "adapter": ADAPTERS[adapter],
        "train": {"epochs": 4, "lr": 0.02, "batch_size": 8, "precision": precision},
        "evaluate": {"resamples": 0, "probe": False},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    run = tlcore.run("recipe.yaml", out=tmp_path / "run", warn=lambda text: None)
    scored = parquet.read_table(run.folder / "predictions.parquet").to_pylist()
    inputs = {example.id: example.input for example in examples(data[network])}
    answers = tlcore.load(run.folder).predict([inputs[row["id"]] for row in scored])
    for row, answer in zip(scored, answers, strict=True):
        assert answer["probability of a"] == pytest.approx(row["probability of a"], abs=tolerance)
    names = set(json.loads((run.folder / "model" / "artifact.json").read_text())["merged"])
    assert bool(names) == ("lora" in adapter)


def examples(section):
    from tlcore.plugins.host import PluginHost
    from tlcore.plugins.registry import Registry
    from tlcore.recipe import read_data_section

    chosen = read_data_section(section, Registry(PluginHost(environ={"TL_PLUGINS": ""})))
    return chosen.source.spec.build(chosen.source.options).examples()
