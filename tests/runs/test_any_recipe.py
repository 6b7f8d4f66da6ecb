"""Options in combination: a random valid recipe on tiny data ends in a finished run or in a clear refusal."""

import csv
import json
import random
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import tlcore
from tlcore.errors import TLError
from tlcore.plugins.host import PluginHost
from tlcore.plugins.registry import Registry
from tlcore.recipe import SCHEDULERS, parse_recipe, plain

WORDS = ["a", "the", "good", "not", "film", "is", "one", "at", "all"]
REGISTRY = Registry(PluginHost(environ={"TL_PLUGINS": ""}))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A table of texts, a folder of pictures, and a BERT of two tiny layers."""
    folder = tmp_path_factory.mktemp("tiny")
    drawn = random.Random(0)
    rows = [["text", "label", "number", "tags"]]
    for n in range(40):
        words = [drawn.choice(WORDS) for _ in range(2 + n % 6)]
        rows.append([" ".join([*words, str(n)]), "good" if "good" in words else "poor", str(n * 1.5),
                     "|".join(sorted({word for word in words if word in ("good", "not", "film")}))])  # fmt: skip
    with (folder / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    pictures = [["image", "label", "number", "tags"]]
    for n in range(36):
        name = f"{n}.png"
        colour = (200, 40, n) if n % 3 else (30, 60 + n, 200)
        Image.new("RGB", (40, 36 + n % 3), colour).save(folder / name)
        pictures.append([name, "warm" if n % 3 else "cold", str(n), "red" if n % 3 else "blue|cold"])
    with (folder / "pictures.csv").open("w", newline="") as file:
        csv.writer(file).writerows(pictures)
    spec = REGISTRY.find("backbone", "bert").spec
    (folder / "bert").mkdir()
    options = spec.smoke(folder / "bert")
    return folder, str(options.weights)


def maybe(strategy):
    return st.none() | strategy


TASKS = {
    "classification": {"label": "label"},
    "regression": {"label": "number"},
    "multilabel": {"label": "tags", "label_separator": "|"},
}
AUGMENTS = {
    "text": st.fixed_dictionaries(
        {}, optional={"word_dropout": st.floats(0, 0.5), "swap": st.floats(0, 0.5), "casing": st.floats(0, 1)}
    ),
    "image": st.fixed_dictionaries(
        {},
        optional={
            "crop": st.none() | st.floats(0.1, 1), "flip": st.sampled_from(["none", "horizontal", "both"]),
            "rotation": st.floats(0, 90), "colour": st.floats(0, 1), "randaugment": st.integers(0, 2),
            "erasing": st.floats(0, 1), "mixup": st.floats(0.1, 2), "cutmix": st.floats(0.1, 2),
        },
    ),
}  # fmt: skip
ADAPTERS = st.one_of(
    st.fixed_dictionaries({"name": st.just("feature-extraction"), "dropout": st.sampled_from([0.0, 0.3])}),
    st.fixed_dictionaries(
        {
            "name": st.just("fine-tuning"),
            "layers": st.sampled_from([1, 2, "all"]),
            "unfreeze": st.sampled_from(["together", "head-first", "gradual"]),
            "decay": st.sampled_from([1.0, 0.5]),
        }
    ),
    st.fixed_dictionaries({"name": st.just("lora"), "rank": st.integers(1, 4), "layers": st.sampled_from([1, "all"])}),
)
TRAIN = st.fixed_dictionaries(
    {"epochs": st.integers(1, 3), "batch_size": st.sampled_from([1, 4, 7, 64])},
    optional={
        "accumulate": st.integers(1, 3),
        "fit_memory": st.booleans(),
        "lr": st.sampled_from([1e-4, 1e-2, "find"]),
        "optimizer": st.sampled_from(["sgd", "rmsprop", "adam", "adamw"]),
        "scheduler": st.sampled_from(sorted(SCHEDULERS)),
        "clip": st.sampled_from([0.1, 1.0]),
        "early_stopping": st.integers(1, 2),
        "ema": st.sampled_from([0.5, 0.99]),
        "views": st.integers(1, 2),
        "mix": st.sampled_from([0.0, 0.5, 1.0]),
        "precision": st.sampled_from(["auto", "fp32", "bf16", "no"]),
    },
)
IMBALANCE = st.sampled_from(["none", "auto", "weights", "sampler", "focal", "logit-adjust"])


@st.composite
def recipes(draw, folder, bert):
    modality = draw(st.sampled_from(["text", "image"]))
    kind = draw(st.sampled_from(["classification", "classification", "regression", "multilabel"]))
    task = {"name": f"{modality}-{kind}"}
    if kind == "classification":
        task |= {"imbalance": draw(IMBALANCE), "label_smoothing": draw(st.sampled_from([0.0, 0.1]))}
    data = {"source": "table", "path": str(folder / ("texts.csv" if modality == "text" else "pictures.csv"))}
    data |= TASKS[kind] | ({"input_is": "path"} if modality == "image" else {})
    if modality == "text":
        backbone = {"name": "bert", "weights": bert, "pool": draw(st.sampled_from(["mean", "cls", "max"]))}
    else:
        backbone = draw(
            st.sampled_from(
                [
                    {"name": "resnet18", "weights": "random", "output": "layer1", "size": 32},
                    {"name": "vgg11_bn", "weights": "random", "output": "block2", "size": 32, "pool": "max"},
                    {"name": "vgg16", "weights": "random", "output": "block2", "size": 32},
                ]
            )
        )
        backbone = backbone | {"normalise": draw(st.sampled_from(["weights", "zero-one", "dataset"]))}
    augment = draw(maybe(AUGMENTS[modality]))
    if augment is not None:
        backbone |= {"augment": augment}
    return {
        "task": task, "data": data, "backbone": backbone, "adapter": draw(ADAPTERS), "train": draw(TRAIN),
        "evaluate": {"report": draw(st.sampled_from(["html", "none"])), "resamples": draw(st.sampled_from([0, 5])),
                     "probe": draw(st.booleans())},
        "seed": draw(st.integers(0, 9)),
    }  # fmt: skip


@pytest.mark.slow
@settings(max_examples=25, derandomize=True, print_blob=False, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_recipe_ends_in_a_finished_run_or_a_clear_refusal(tiny, tmp_path_factory, data):
    folder, bert = tiny
    written = data.draw(recipes(folder, bert))
    recipe = parse_recipe(json.dumps(written), REGISTRY, file="any.yaml", name="any")
    out = tmp_path_factory.mktemp("run") / "run"
    refusal = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            tlcore.run(recipe, out=out, registry=REGISTRY, warn=lambda text: None)
    except TLError as error:
        refusal = error
    if refusal is not None:
        assert refusal.exit_code in (2, 6), refusal
        assert refusal.hint or refusal.where, f"{refusal} says neither where nor what to do"
        return
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["test"][metrics["selection"]["metric"]] is not None
    assert plain(parse_recipe((out / "recipe.yaml").read_text(), REGISTRY, file="again", name="any")) == plain(recipe)
    inputs = [Path(folder / "1.png")] if written["data"]["path"].endswith("pictures.csv") else ["a good film"]
    (answer,) = tlcore.load(out, registry=REGISTRY).predict(inputs)
    assert "prediction" in answer
