"""Random pictures and batches: decided by seed, number and example alone; what is blended adds up."""

import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tl_vision.augmentation import mixed
from tl_vision.options import Augment, PreparationOptions
from tl_vision.preparation import PicturePreparation
from tlcore import Example, UsageError, View

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EVERYTHING = Augment(crop=0.3, flip="both", rotation=20, colour=0.4, randaugment=2, erasing=0.5)


def noise(seed, size=(48, 40)):
    raw = io.BytesIO()
    torch.manual_seed(seed)
    pixels = torch.randint(0, 255, (*size[::-1], 3), dtype=torch.uint8)
    Image.fromarray(pixels.numpy()).save(raw, "PNG")
    return raw.getvalue()


EXAMPLES = [Example(str(n), noise(n)) for n in range(4)]


def preparation(augment=EVERYTHING, size=32):
    return PicturePreparation(PreparationOptions(size=size, augment=augment), mean=MEAN, std=STD, margin=256 / 224)


def hidden(examples, view, augment=EVERYTHING):
    return preparation(augment).prepare(examples, view)["hidden"]


def test_a_row_does_not_depend_on_its_batch_and_is_the_same_each_time():
    view = View(7, 2)
    together = hidden(EXAMPLES, view)
    assert torch.equal(together, hidden(EXAMPLES, view))
    for n, example in enumerate(EXAMPLES):
        assert torch.equal(together[n], hidden([example], view)[0])
    assert torch.equal(together.flip(0), hidden(EXAMPLES[::-1], view))


@pytest.mark.parametrize("view", [View(7, 3), View(8, 2)])
def test_another_number_or_seed_is_another_version(view):
    assert not torch.equal(hidden(EXAMPLES, view), hidden(EXAMPLES, View(7, 2)))


def test_the_same_picture_under_another_id_is_drawn_anew():
    first, second = Example("a", noise(1)), Example("b", noise(1))
    assert not torch.equal(*hidden([first, second], View(0, 0)))


def test_the_global_generator_is_neither_read_nor_moved():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = hidden(EXAMPLES, View(7, 2))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(hidden(EXAMPLES, View(7, 2)), one)


def test_without_a_view_nothing_is_random():
    assert torch.equal(hidden(EXAMPLES, None), hidden(EXAMPLES, None, augment=None))


@pytest.mark.parametrize(
    "augment",
    [
        Augment(), Augment(crop=None, flip="none"), Augment(rotation=90), Augment(colour=1.0), Augment(randaugment=4),
        Augment(randaugment=2, magnitude=30), Augment(erasing=1.0), Augment(crop=1.0, flip="vertical"),
    ],
)  # fmt: skip
def test_each_kind_gives_finite_pictures_of_the_size(augment):
    found = hidden(EXAMPLES, View(1, 0), augment)
    assert found.shape == (4, 3, 32, 32)
    assert bool(torch.isfinite(found).all())
    assert torch.equal(found, hidden(EXAMPLES, None)) == (augment == Augment(crop=None, flip="none"))


def test_a_flip_mirrors_about_half_of_the_pictures():
    plain = hidden(EXAMPLES[:1], None)[0]
    augment = Augment(crop=None, flip="horizontal")
    seen = [hidden(EXAMPLES[:1], View(0, number), augment)[0] for number in range(40)]
    mirrored = sum(torch.equal(one, plain.flip(2)) for one in seen)
    assert mirrored + sum(torch.equal(one, plain) for one in seen) == 40
    assert 8 < mirrored < 32


def test_a_long_strip_is_cropped_without_eating_the_memory():
    raw = io.BytesIO()
    Image.new("RGB", (30000, 1)).save(raw, "PNG")
    assert hidden([Example("strip", raw.getvalue())], View(0, 0)).shape == (1, 3, 32, 32)


def test_a_view_without_augment_says_which_key_is_missing():
    with pytest.raises(UsageError, match="how pictures are augmented") as caught:
        hidden(EXAMPLES, View(0, 0), augment=None)
    assert "backbone.augment" in caught.value.hint


def batch(count=6, side=8):
    pictures = torch.arange(count, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(count, 3, side, side).clone()
    return {"hidden": pictures}, torch.eye(count)


def generated(seed):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=80)
@given(st.integers(0, 10**6), st.sampled_from(["mixup", "cutmix", "both"]), st.floats(0.05, 5))
def test_shares_add_up_and_say_what_is_in_the_picture(seed, kind, alpha):
    state, targets = batch()
    options = Augment(mixup=alpha if kind != "cutmix" else 0, cutmix=alpha if kind != "mixup" else 0)
    blended, shares = mixed(state, targets, generated(seed), options)
    assert torch.allclose(shares.sum(dim=1), torch.ones(6))
    assert bool((shares >= 0).all())
    # Picture n is n everywhere, so what a blend holds on average is what its shares say.
    assert torch.allclose(blended["hidden"].mean(dim=(1, 2, 3)), shares @ torch.arange(6.0), atol=1e-4)
    again, _ = mixed(state, targets, generated(seed), options)
    assert torch.equal(again["hidden"], blended["hidden"])
    assert torch.equal(state["hidden"], batch()[0]["hidden"]), "what is stored must not change"


def test_cutmix_takes_every_pixel_from_one_of_two_pictures():
    state, targets = batch()
    blended, _ = mixed(state, targets, generated(3), Augment(cutmix=1.0))
    assert set(blended["hidden"].unique().tolist()) <= set(range(6))


def test_mixup_blends_vectors_too_and_cutmix_refuses_them():
    features, targets = {"features": torch.eye(4)}, torch.eye(4)
    blended, shares = mixed(features, targets, generated(0), Augment(mixup=0.4))
    assert torch.allclose(blended["features"], shares)
    with pytest.raises(UsageError, match="height and width") as caught:
        mixed(features, targets, generated(0), Augment(cutmix=1.0))
    assert "mixup" in caught.value.hint


@pytest.mark.parametrize("options", [None, Augment()])
def test_mixing_without_saying_how_names_the_keys(options):
    state, targets = batch()
    with pytest.raises(UsageError, match=r"train\.mix") as caught:
        mixed(state, targets, generated(0), options)
    assert "backbone.augment.mixup" in caught.value.hint
