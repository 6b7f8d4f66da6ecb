"""VGG's own: blocks and dense layers are torchvision's, the dense ones are there where the weights have them."""

import io

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.models import VGG16_Weights, vgg16
from torchvision.transforms.v2 import functional

from tl_vision import VGG16Options
from tl_vision.network import PictureNetwork
from tl_vision.original_vgg16 import original_convolutions
from tlcore import Example, UnreadableError

SIDE = 64


@pytest.fixture(scope="module")
def reference():
    """Return torchvision's own network with random weights, and its state."""
    torch.manual_seed(1)
    network = vgg16().eval()
    return network, network.state_dict()


@pytest.fixture(scope="module")
def checkpoint(reference, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "vgg.safetensors"
    save_file({name: tensor for name, tensor in reference[1].items() if "classifier.6" not in name}, path)
    return path


def built(**options):
    return PictureNetwork("vgg16", VGG16Options(**{"size": SIDE} | options), None)


def picture(colour=(200, 30, 90), size=(80, 60)):
    raw = io.BytesIO()
    image = Image.effect_noise(size, 60).convert("RGB")
    Image.blend(image, Image.new("RGB", size, colour), 0.5).save(raw, "PNG")
    return Example("p", raw.getvalue())


def through(backbone, state):
    with torch.inference_mode():
        for stage in backbone.stages.values():
            state = stage.eval()(state)
        return backbone.pool(state), state


def close(one, other):
    return float((one - other).abs().max() / other.abs().max()) <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("output", ["block1", "block2", "block3", "block4", "block5", "fc6", "fc7"])
def test_each_stage_gives_what_torchvision_gives(reference, checkpoint, output):
    network, _ = reference
    backbone = built(weights=checkpoint, output=output)
    state = backbone.prepare([picture(), picture((0, 90, 10))])
    pooled, last = through(backbone, state)
    with torch.inference_mode():
        if output.startswith("block"):
            end = {"block1": 5, "block2": 10, "block3": 17, "block4": 24, "block5": 31}[output]
            expected = network.features[:end](state["hidden"])
            assert close(pooled, expected.mean(dim=(2, 3)))
        else:
            flat = network.avgpool(network.features(state["hidden"])).flatten(1)
            expected = network.classifier[: {"fc6": 2, "fc7": 5}[output]](flat)
            assert close(pooled, expected)
        assert close(last["hidden"], expected)
    assert pooled.shape == (2, backbone.feature_dim)
    assert list(backbone.stages)[-1] == output


def test_the_original_convolutions_give_what_torchvision_gives_with_them():
    backbone = built()
    network = vgg16()
    tensors = original_convolutions()
    network.load_state_dict(tensors, strict=False)
    state = backbone.prepare([picture()])
    _, last = through(backbone, state)
    with torch.inference_mode():
        assert close(last["hidden"], network.features(state["hidden"]))
    # The first filters of the original network answer to edges and colours: none of them is dead or random noise.
    first = tensors["features.0.weight"]
    assert first.shape == (64, 3, 3, 3)
    assert first.flatten(1).abs().amax(1).max() > 0.3


def test_dropout_acts_only_while_it_is_trained(checkpoint):
    stage = built(weights=checkpoint, output="fc7").stages["fc7"]
    state = {"hidden": torch.rand(2, 4096)}
    assert torch.equal(stage.eval()(state)["hidden"], stage(state)["hidden"])
    assert not torch.equal(stage.train()(state)["hidden"], stage(state)["hidden"])


@pytest.mark.parametrize("size", [(400, 300), (2040, 256)])
def test_preparation_is_torchvisions_own(checkpoint, size):
    example = picture(size=size)
    expected = VGG16_Weights.IMAGENET1K_V1.transforms()(Image.open(io.BytesIO(example.input)))
    prepared = built(weights=checkpoint, output="block1", size=224).prepare([example])["hidden"][0]
    assert torch.allclose(prepared, expected, atol=1e-5 if size[0] > 1000 else 0.02)


def test_an_example_that_is_no_picture_is_unreadable():
    with pytest.raises(UnreadableError):
        built(weights="random", output="block1").prepare([picture(), Example("x", b"no picture")])


def test_odd_pictures_become_numbers_and_damaged_ones_are_unreadable(bad_inputs):
    backbone = built(weights="random", output="block1")
    usable = ["ok.jpg", "px_1x1.png", "grey16.png", "rgba_hidden_colour.png", "tiff_2pages.tif", "animated.gif"]
    hidden = backbone.prepare([Example(name, bad_inputs / "images" / name) for name in usable])["hidden"]
    assert hidden.shape == (len(usable), 3, SIDE, SIDE)
    assert bool(torch.isfinite(hidden).all())
    for name in ("trunc_90pct.jpg", "html_as.jpg", "bomb_declared.png", "svg.svg", "dangling.jpg"):
        with pytest.raises(UnreadableError):
            backbone.prepare([Example(name, bad_inputs / "images" / name)])


def test_turned_photos_are_prepared_alike(bad_inputs):
    backbone = built(weights="random", output="block1")
    hidden = backbone.prepare([Example(str(n), bad_inputs / "images" / f"exif_{n}.jpg") for n in (1, 3, 4, 6)])[
        "hidden"
    ]
    spread = float(hidden[0].std())
    for turned in hidden[1:]:
        assert float((turned - hidden[0]).abs().mean()) < 0.1 * spread
        assert float((turned - hidden[0].flip(2)).abs().mean()) > 0.2 * spread  # the picture is not symmetric


def test_a_thin_strip_does_not_grow_with_its_length(monkeypatch):
    backbone = built(weights="random", output="block1")
    resized = []
    genuine = functional.resize

    def watched(pixels, *given, **options):
        resized.append(genuine(pixels, *given, **options))
        return resized[-1]

    monkeypatch.setattr(functional, "resize", watched)
    for size in ((2000, 1), (1, 2000)):
        raw = io.BytesIO()
        strip = Image.new("L", size)
        strip.paste(255, (990 if size[0] > 1 else 0, 990 if size[1] > 1 else 0, *(min(1010, side) for side in size)))
        strip.save(raw, "PNG")
        hidden = backbone.prepare([Example("strip", raw.getvalue())])["hidden"]
        assert resized.pop().numel() <= 3 * 8 * 73 * 73
        assert float(hidden.min()) > 1.5  # the white middle
