"""What is frozen stays as it was: every parameter and every buffer, whatever mode anybody switches it to."""

import dataclasses
import hashlib

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tl_adapters import FeatureExtractionOptions, FineTuningOptions, LoRAOptions, tl_adapters
from tl_text import BertOptions
from tl_text.bert import Bert
from tl_text.checkpoint import opened, write_tiny
from tl_vision import ResNetOptions
from tl_vision.network import PictureNetwork
from tlcore import Classification, Example
from tlcore.data.digests import content_digest
from tlcore.features.cache import CacheConfig
from tlcore.features.keys import FeatureKeys, namespace_of
from tlcore.features.precompute import PrecomputeJob, precompute
from tlcore.recipe import TrainSection
from tlcore.training.checkpoints import Checkpoints
from tlcore.training.device import accelerator_for
from tlcore.training.model import TrainableModel
from tlcore.training.trainer import Trainer, TrainerConfig

ADAPTERS = {
    "features": ("feature-extraction", FeatureExtractionOptions(dropout=0.3)),
    "top": ("fine-tuning", FineTuningOptions(layers=1)),
    "gradual": ("fine-tuning", FineTuningOptions(layers=2, unfreeze="gradual")),
    "lora": ("lora", LoRAOptions(rank=2, lora_dropout=0.2)),
    "lora on top": ("lora", LoRAOptions(rank=2, layers=1)),
}


def resnet(folder):
    """Return a network with batch statistics that are not those of a fresh one, and pictures."""
    torch.manual_seed(2)
    backbone = PictureNetwork("resnet18", ResNetOptions(weights="random", size=32, output="layer2"), None)
    for module in (module for stage in backbone.stages.values() for module in stage.modules()):
        if isinstance(module, _BatchNorm):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    paths = [folder / f"{n}.png" for n in range(12)]
    for n, path in enumerate(paths):
        Image.effect_noise((36, 36), 30 + 5 * n).convert("RGB").save(path)
    return backbone, paths


def bert(folder):
    """Return a network with dropout, and texts."""
    write_tiny(folder / "bert")
    backbone = Bert(BertOptions(weights=folder / "bert"), opened(folder / "bert"))
    drops = [m.p for stage in backbone.stages.values() for m in stage.modules() if isinstance(m, nn.Dropout)]
    assert drops
    assert min(drops) > 0
    return backbone, [f"{'good' if n % 2 else 'not'} film is {'all ' * (n % 5)}{n}" for n in range(12)]


def digest(tensors):
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.detach().numpy().tobytes())
    return total.hexdigest()


def frozen(backbone, model):
    """Return all tensors below the line, and those above it that are not trained."""
    below = list(backbone.stages.items())[: model.freeze_line]
    found = {f"{name}/{key}": value for name, stage in below for key, value in stage.state_dict().items()}
    for name, module in model.stages.named_modules():
        own = {key: value for key, value in module.named_parameters(recurse=False) if not value.requires_grad}
        if isinstance(module, _BatchNorm) and own:
            own |= dict(module.named_buffers(recurse=False))
        found |= {f"above {name}/{key}": value for key, value in own.items()}
    return found


@pytest.mark.parametrize("mode", ["never", pytest.param("always", marks=pytest.mark.long)])
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("network", [resnet, bert])
def test_no_parameter_and_no_buffer_of_what_is_frozen_changes(tmp_path, network, adapter, mode):
    if "lora" in adapter:
        pytest.importorskip("peft", reason='peft is not installed: pip install "tlcore[lora]"')
    backbone, inputs = network(tmp_path)
    examples = [Example(str(n), value, "ab"[n % 2]) for n, value in enumerate(inputs)]
    name, options = ADAPTERS[adapter]
    spec = next(spec for spec in tl_adapters() if spec.name == name)
    task = Classification()
    task.fit([example.label for example in examples])
    plan = spec.build(options).plan(backbone, task.outputs)
    accelerator = accelerator_for("cpu", "fp32")
    for stage in backbone.stages.values():
        stage.train()
    model = TrainableModel(backbone, plan)
    before, head = digest(frozen(backbone, model)), digest(dict(plan.head.state_dict()))
    at_first = {key: digest({key: value}) for key, value in model.stages.state_dict().items()}
    namespace = namespace_of(backbone, plan.freeze_line, name="it", weights="w", precision="fp32", libraries={})
    keys = FeatureKeys({example.id: content_digest(example.input) for example in examples})
    config = CacheConfig(tmp_path / "states", namespace, mode)
    reader = precompute(PrecomputeJob(backbone, plan.freeze_line, examples, accelerator, config, keys)).reader
    section = dataclasses.replace(TrainSection(), epochs=3, batch_size=4, lr=0.01)
    one = Trainer(model, reader, task, accelerator, TrainerConfig(section, seed=5))
    one.features.fit_scaler(examples)

    trained = set()

    def somebody_calls_train(epoch, record):
        trained.update(k for k, value in model.stages.state_dict().items() if digest({k: value}) != at_first[k])
        for stage in backbone.stages.values():
            stage.train()
        model.train()

    one.train(examples, examples, Checkpoints(tmp_path / "checkpoints"), somebody_calls_train)
    assert digest(frozen(backbone, model)) == before
    assert digest(dict(plan.head.state_dict())) != head
    assert bool(trained) == bool(model.stages)
