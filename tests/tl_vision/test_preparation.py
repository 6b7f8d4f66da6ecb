"""The picture that a network gets: torchvision's own preparation, or normalised as the recipe says."""

import io
import json
import warnings

import pytest
import torch
from PIL import Image
from torchvision.transforms._presets import ImageClassification

from tl_vision.options import PreparationOptions
from tl_vision.preparation import PicturePreparation
from tlcore import Example, RecipeWarning, UsageError, WeightsError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def made(**options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecipeWarning)
        return PicturePreparation(PreparationOptions(**options), mean=MEAN, std=STD, margin=256 / 224)


def picture(colour=(200, 100, 0), size=(50, 40), id_="a"):
    raw = io.BytesIO()
    Image.new("RGB", size, colour).save(raw, "PNG")
    return Example(id_, raw.getvalue())


def noise(id_="n"):
    raw = io.BytesIO()
    Image.effect_noise((90, 70), 90).convert("RGB").save(raw, "PNG")
    return Example(id_, raw.getvalue())


def test_preparation_is_torchvisions_own():
    example = noise()
    theirs = ImageClassification(crop_size=224, resize_size=256, mean=MEAN, std=STD)
    expected = theirs(Image.open(io.BytesIO(example.input)))
    assert torch.allclose(made().prepare([example], None)["hidden"][0], expected, atol=2e-2)


def test_zero_to_one_is_the_pixels_and_no_more():
    found = made(normalise="zero-one", size=32).prepare([picture()], None)["hidden"]
    assert found.mean(dim=(0, 2, 3)).tolist() == pytest.approx([200 / 255, 100 / 255, 0])


def test_by_the_data_the_training_pictures_have_mean_zero_and_deviation_one():
    train = [picture((200, 100, 50), id_="a"), picture((100, 50, 0), id_="b"), noise("c")]
    preparation = made(normalise="dataset", size=32)
    with pytest.raises(UsageError, match="nothing was measured"):
        preparation.prepare(train, None)
    preparation.fit([*train, Example("broken", b"no picture")])
    found = preparation.prepare(train, None)["hidden"]
    assert found.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-4)
    assert found.std(dim=(0, 2, 3), correction=0).tolist() == pytest.approx([1, 1, 1], abs=1e-3)
    again = PicturePreparation.restored(
        PreparationOptions(normalise="dataset", size=32), json.loads(json.dumps(preparation.kept()))
    )
    assert torch.equal(again.prepare(train, None)["hidden"], found)
    assert again.about == preparation.about


def test_pictures_of_one_colour_give_no_deviation():
    with pytest.raises(UsageError, match="hardly vary"):
        made(normalise="dataset", size=32).fit([picture()])


@pytest.mark.parametrize("normalise", ["zero-one", "dataset"])
def test_another_normalisation_than_the_weights_expect_is_said(normalise):
    with pytest.warns(RecipeWarning, match=r"0\.485, 0\.456, 0\.406"):
        PicturePreparation(PreparationOptions(normalise=normalise), mean=MEAN, std=STD, margin=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PicturePreparation(PreparationOptions(), mean=MEAN, std=STD, margin=1)


GOOD = {"mean": list(MEAN), "std": list(STD), "margin": 1.14, "scale": {"mean": [0, 0, 0], "std": [1, 1, 1]}}


@pytest.mark.parametrize(
    "change",
    [{"margin": 1e9}, {"margin": None}, {"std": [0, 1, 1]}, {"mean": [0, 0]}, {"mean": [float("nan")] * 3}, {"std": 5},
     {"scale": None}, {"scale": {"mean": [0, 0, 0], "std": [1, 1, -1]}}],
)  # fmt: skip
def test_what_was_kept_is_distrusted(change):
    with pytest.raises(WeightsError, match="damaged"):
        PicturePreparation.restored(PreparationOptions(), GOOD | change)


def test_everything_that_decides_a_value_is_told():
    about = json.loads(json.dumps(made(normalise="zero-one", augment=None).about))
    assert about["mean"] == [0, 0, 0]
    assert about["augment"] is None
