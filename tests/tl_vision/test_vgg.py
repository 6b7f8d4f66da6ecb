"""VGG16 as stages is torchvision's VGG16, with weights that are what they claim."""

import io
import json

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.models import vgg16

from tl_vision import VGGOptions, vgg, vgg_weights
from tl_vision.vgg import VGG16
from tlcore import Example, UnreadableError, UsageError, View, WeightsError
from tlcore.weights import digest_of_tensors

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


@pytest.mark.parametrize("output", ["block1", "block2", "block3", "block4", "block5", "fc6", "fc7"])
def test_each_stage_gives_what_torchvision_gives(reference, checkpoint, output):
    network, _ = reference
    backbone = VGG16(VGGOptions(weights=checkpoint, output=output, size=SIDE), None)
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
    backbone = VGG16(VGGOptions(size=SIDE), None)
    network = vgg16()
    tensors = vgg_weights.found("imagenet-features").tensors
    network.load_state_dict(dict(tensors), strict=False)
    state = backbone.prepare([picture()])
    _, last = through(backbone, state)
    with torch.inference_mode():
        assert close(last["hidden"], network.features(state["hidden"]))
    # The first filters of the original network answer to edges and colours: none of them is dead or random noise.
    first = tensors["features.0.weight"]
    assert first.shape == (64, 3, 3, 3)
    assert first.flatten(1).abs().amax(1).max() > 0.3


def test_what_lies_above_the_output_is_neither_built_nor_counted(checkpoint):
    backbone = VGG16(VGGOptions(weights=checkpoint, output="block2", size=SIDE), None)
    assert list(backbone.stages) == ["block1", "block2"]
    counted = sum(parameter.numel() for stage in backbone.stages.values() for parameter in stage.parameters())
    assert counted == (3 * 64 + 64 * 64 + 64 * 128 + 128 * 128) * 9 + 64 * 2 + 128 * 2


@pytest.mark.parametrize(("pool", "width"), [("mean", 512), ("max", 512), ("flatten", 512 * 4)])
def test_pools(pool, width):
    backbone = VGG16(VGGOptions(weights="random", size=SIDE, pool=pool), None)
    state = {"hidden": torch.rand(3, 512, 2, 2)}
    assert backbone.pool(state).shape == (3, width)
    assert backbone.feature_dim == width


def test_random_weights_follow_the_global_generator_alone():
    drawn = []
    for seed in (4, 4, 5):
        torch.manual_seed(seed)
        backbone = VGG16(VGGOptions(weights="random", output="block1", size=SIDE), None)
        drawn.append(digest_of_tensors(backbone.stages["block1"].state_dict()))
    assert drawn[0] == drawn[1] != drawn[2]


def test_dropout_acts_only_while_it_is_trained(checkpoint):
    stage = VGG16(VGGOptions(weights=checkpoint, output="fc7", size=SIDE), None).stages["fc7"]
    state = {"hidden": torch.rand(2, 4096)}
    assert torch.equal(stage.eval()(state)["hidden"], stage(state)["hidden"])
    assert not torch.equal(stage.train()(state)["hidden"], stage(state)["hidden"])


def test_what_was_saved_is_built_without_looking_for_weights(checkpoint, tmp_path, monkeypatch):
    backbone = VGG16(VGGOptions(weights=checkpoint, size=SIDE), None)
    backbone.save(tmp_path)
    monkeypatch.setattr("tl_vision.vgg.found", lambda weights: pytest.fail("weights were looked for"))
    again = VGG16(VGGOptions(weights=checkpoint, size=SIDE), tmp_path)
    for name, stage in again.stages.items():
        stage.load_state_dict(backbone.stages[name].state_dict())
    assert again.preparation == backbone.preparation
    state = again.prepare([picture()])
    assert torch.equal(through(again, state)[0], through(backbone, state)[0])


@pytest.mark.parametrize(
    "change",
    [{"margin": 1e9}, {"margin": None}, {"std": [0, 1, 1]}, {"mean": [0, 0]}, {"mean": [float("nan")] * 3}, {"std": 5}],
)
def test_a_saved_preparation_that_was_tampered_with_is_refused(tmp_path, change):
    options = VGGOptions(weights="random", output="block1", size=SIDE)
    VGG16(options, None).save(tmp_path)
    file = tmp_path / "vgg.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(WeightsError, match=r"vgg\.json"):
        VGG16(options, tmp_path)


def test_preparation_is_torchvisions_own(checkpoint):
    from torchvision.models import VGG16_Weights

    backbone = VGG16(VGGOptions(weights=checkpoint), None)
    example = picture(size=(400, 300))
    expected = VGG16_Weights.IMAGENET1K_V1.transforms()(Image.open(io.BytesIO(example.input)))
    assert torch.allclose(backbone.prepare([example])["hidden"][0], expected, atol=0.02)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"output": "blok5"}, "did you mean 'block5'"),
        ({"output": "fc6"}, "these weights have no fc6"),
        ({"weights": "imagenet-feature"}, "did you mean 'imagenet-features'"),
        ({"weights": "random", "output": "fc6", "pool": "max"}, "leave pool out"),
    ],
)
def test_a_wrong_name_is_refused_with_what_to_do(options, said):
    with pytest.raises(UsageError) as caught:
        VGG16(VGGOptions(**options), None)
    assert said in str(caught.value)


def test_an_example_that_is_no_picture_is_unreadable():
    backbone = VGG16(VGGOptions(weights="random", output="block1", size=SIDE), None)
    with pytest.raises(UnreadableError):
        backbone.prepare([picture(), Example("x", b"no picture")])


def test_odd_pictures_become_numbers_and_damaged_ones_are_unreadable(bad_inputs):
    backbone = VGG16(VGGOptions(weights="random", output="block1", size=SIDE), None)
    usable = ["ok.jpg", "px_1x1.png", "grey16.png", "rgba_hidden_colour.png", "tiff_2pages.tif", "animated.gif"]
    hidden = backbone.prepare([Example(name, bad_inputs / "images" / name) for name in usable])["hidden"]
    assert hidden.shape == (len(usable), 3, SIDE, SIDE)
    assert bool(torch.isfinite(hidden).all())
    for name in ("trunc_90pct.jpg", "html_as.jpg", "bomb_declared.png", "svg.svg", "dangling.jpg"):
        with pytest.raises(UnreadableError):
            backbone.prepare([Example(name, bad_inputs / "images" / name)])


def test_turned_photos_are_prepared_alike(bad_inputs):
    backbone = VGG16(VGGOptions(weights="random", output="block1", size=SIDE), None)
    hidden = backbone.prepare([Example(str(n), bad_inputs / "images" / f"exif_{n}.jpg") for n in (1, 3, 4, 6)])[
        "hidden"
    ]
    spread = float(hidden[0].std())
    for turned in hidden[1:]:
        assert float((turned - hidden[0]).abs().mean()) < 0.1 * spread
        assert float((turned - hidden[0].flip(2)).abs().mean()) > 0.2 * spread  # the picture is not symmetric


def test_a_thin_strip_does_not_grow_with_its_length(monkeypatch):
    backbone = VGG16(VGGOptions(weights="random", output="block1", size=SIDE), None)
    resized = []
    genuine = vgg.functional.resize

    def watched(pixels, *given, **options):
        resized.append(genuine(pixels, *given, **options))
        return resized[-1]

    monkeypatch.setattr(vgg.functional, "resize", watched)
    for size in ((2000, 1), (1, 2000)):
        raw = io.BytesIO()
        strip = Image.new("L", size)
        strip.paste(255, (990 if size[0] > 1 else 0, 990 if size[1] > 1 else 0, *(min(1010, side) for side in size)))
        strip.save(raw, "PNG")
        hidden = backbone.prepare([Example("strip", raw.getvalue())])["hidden"]
        assert resized.pop().numel() <= 3 * 8 * 73 * 73
        assert float(hidden.min()) > 1.5  # the white middle


def test_a_picture_up_to_eight_times_as_long_as_wide_is_prepared_as_torchvision_does(checkpoint):
    from torchvision.models import VGG16_Weights

    example = picture(size=(2040, 256))
    expected = VGG16_Weights.IMAGENET1K_V1.transforms()(Image.open(io.BytesIO(example.input)))
    prepared = VGG16(VGGOptions(weights=checkpoint, output="block1"), None).prepare([example])["hidden"][0]
    assert torch.allclose(prepared, expected, atol=1e-5)


def test_what_is_not_there_yet_is_refused_rather_than_passed_over():
    backbone = VGG16(VGGOptions(weights="random", output="block1", size=SIDE), None)
    with pytest.raises(UsageError, match="no augmentation"):
        backbone.prepare([picture()], View(seed=1, number=0))
    with pytest.raises(UsageError, match="cannot mix"):
        backbone.mix({}, torch.zeros(1), torch.Generator())
