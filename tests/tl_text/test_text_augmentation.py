"""Versions of texts: of the text's own words, decided by seed, number and example alone."""

import random
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tl_text import Augment, BertOptions
from tl_text.augmentation import augmented
from tl_text.bert import Bert
from tl_text.checkpoint import opened, write_tiny
from tlcore import Example, UnreadableError, UsageError, View

TEXT = st.lists(st.text("abcdefg", min_size=1, max_size=5), min_size=1, max_size=20).map(" ".join)
SHARE = st.floats(0, 0.95)


@given(TEXT, SHARE, SHARE, st.integers(0, 2**62))
def test_the_words_are_the_texts_own_and_one_always_stays(text, dropout, swap, seed):
    found = augmented(text, Augment(word_dropout=dropout, swap=swap), seed).split()
    assert found
    assert not Counter(found) - Counter(text.split())
    assert dropout or len(found) == len(text.split())


@given(TEXT, st.integers(0, 2**62))
def test_nothing_asked_for_changes_nothing(text, seed):
    assert augmented(text, Augment(word_dropout=0), seed) == text


def test_a_share_of_the_words_is_left_out():
    text = " ".join(str(n) for n in range(2000))
    assert len(augmented(text, Augment(word_dropout=0.3), 1).split()) == pytest.approx(1400, abs=80)


def test_casing_keeps_the_letters():
    seen = {augmented("Ein guter Film", Augment(word_dropout=0, casing=1.0), seed) for seed in range(30)}
    assert seen == {"ein guter film", "EIN GUTER FILM", "Ein guter film"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "bert"
    write_tiny(folder)
    return Bert(BertOptions(weights=folder, augment=Augment(word_dropout=0.3, swap=0.3)), opened(folder))


EXAMPLES = [Example(str(n), "a good film is not the one at all a good one " * (n + 1)) for n in range(4)]


def test_a_row_does_not_depend_on_its_batch_nor_on_the_global_generators(tiny):
    together = tiny.prepare(EXAMPLES, View(5, 1))
    random.seed(0)
    torch.manual_seed(0)
    for n, example in enumerate(EXAMPLES):
        alone = tiny.prepare([example], View(5, 1))["input_ids"][0]
        assert torch.equal(together["input_ids"][n, : len(alone)], alone)
    assert not torch.equal(tiny.prepare(EXAMPLES[3:], View(5, 2))["input_ids"], tiny.prepare(EXAMPLES[3:])["input_ids"])


def test_without_a_view_the_text_is_as_it_is(tiny):
    state = tiny.prepare([Example("x", "a good film")])
    assert state["input_ids"].shape == (1, 5)


def test_an_empty_text_is_unreadable_in_a_view_too(tiny):
    with pytest.raises(UnreadableError, match="empty"):
        tiny.prepare([Example("x", "  ")], View(0, 0))


def test_a_view_without_augment_and_mixing_say_what_to_do(tmp_path):
    write_tiny(tmp_path / "bert")
    plain = Bert(BertOptions(weights=tmp_path / "bert"), opened(tmp_path / "bert"))
    with pytest.raises(UsageError, match="how texts are augmented"):
        plain.prepare(EXAMPLES, View(0, 0))
    with pytest.raises(UsageError, match="cannot be blended"):
        plain.mix({}, torch.zeros(1), torch.Generator())
