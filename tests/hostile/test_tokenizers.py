"""Hostile tokenizers and files of sentence-transformers: bounded time and memory, and no template is rendered."""

import json

import pytest

from tests.support.hostile import (
    GIGABYTE,
    NESTED,
    PICKLED,
    accepted,
    bert,
    edit,
    put,
    recipe,
    refused,
    template,
)
from tl_text.tokenizing import read_tokenizer

pytestmark = pytest.mark.slow


def trained(files):
    """Return a builder: train on a checkpoint in which some files are replaced."""

    def build(work):
        path = recipe(
            work,
            {"name": "bert", "weights": str(work.copy("bert", files))},
            train={"epochs": 1, "workers": 0},
            evaluate={"resamples": 0, "probe": False, "report": "none"},
            features={"store": "never"},
        )
        return ["run", path, "--out", "out"]

    return build


def tokenizer(**changes):
    """Return a builder: train on a checkpoint with keys of tokenizer.json changed."""

    def write(path):
        vocabulary = path.parent / "vocab.txt"
        put(path, json.loads(read_tokenizer(vocabulary).to_str()) | {"post_processor": template()})
        vocabulary.unlink()
        edit(**changes)(path)

    return trained({"tokenizer.json": write})


def split_by(pattern):
    return tokenizer(
        pre_tokenizer={"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    )


def replacing(pattern, content, times):
    """Return a normalizer that replaces text several times."""
    rule = {"type": "Replace", "pattern": pattern, "content": content}
    return {"type": "Sequence", "normalizers": [rule] * times}


def nested_normalizers(depth, width):
    """Return sequences in sequences, of which the inner ones double."""
    rule = {"type": "Lowercase"}
    for n in range(depth):
        rule = {"type": "Sequence", "normalizers": [rule] * (2 if n < width else 1)}
    return rule


def added_token(number, content, *flags):
    """Return an added token with some flags set."""
    names = ("special", "single_word", "lstrip", "rstrip", "normalized")
    return {"id": number, "content": content} | {name: name in flags for name in names}


def long_prompt(path):
    put(path, {"prompts": {"x": "good " * 10**6}, "default_prompt_name": "x"})


SPACED = ("special", "lstrip", "rstrip")
SUBWORDS = ["[PAD]", "[UNK]", "g", "o", "d", "go", "goo", "good", "b", "a", "n", "f", "i", "l"]
RANDOM_MERGES = {
    "type": "BPE",
    "dropout": 0.9,
    "unk_token": "[UNK]",
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
    "vocab": {word: n for n, word in enumerate(SUBWORDS)},
    "merges": [["g", "o"], ["go", "o"], ["goo", "d"]],
}
PADDING = {
    "strategy": {"Fixed": 10**9},
    "direction": "Right",
    "pad_to_multiple_of": 10**9,
    "pad_id": 999,
    "pad_type_id": 0,
    "pad_token": "x",
}
TRUNCATION = {"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 0}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTROL_CHARACTERS = (*SPECIAL, "\x1b[2J", "<script>", "=cmd()", "a\u202eb", "c", "d", "e", "f", "\x07")
TEMPLATES = {
    "chat_template": "{{ cycler.__init__.__globals__.os.mkdir('x') }}",
    "auto_map": {"AutoTokenizer": ["evil.T", None]},
    "tokenizer_class": "evil.T",
}
INVALID_SENTENCE_FILES = {
    "config_sentence_transformers.json": {"prompts": [1], "default_prompt_name": {"a": 1}},
    "sentence_bert_config.json": {"max_seq_length": True, "do_lower_case": "x"},
    "modules.json": [{"type": "os.system", "path": "../.."}],
    "1_Pooling/config.json": {"pooling_mode_cls_token": 1},
}
PAIRS = {"type": "BertProcessing", "sep": ["[SEP]", 4_000_000_000], "cls": ["[CLS]", 2]}
REFUSED = {
    "special tokens outside the vocabulary": tokenizer(post_processor=template([999_999], [999_999])),
    "pairs outside the vocabulary": tokenizer(post_processor=PAIRS),
    "text repeated 200 times": tokenizer(post_processor__single=[{"Sequence": {"id": "A", "type_id": 0}}] * 200),
    "more special tokens than positions": tokenizer(post_processor=template([2] * 200)),
    "missing unknown token": tokenizer(model__unk_token="[NOWHERE]"),
    "random merges": tokenizer(model=RANDOM_MERGES, post_processor=None),
    "exponential regex": split_by("^(([a-z])+.)+[A-Z]([a-z])+$"),
    "nested repeats": split_by("(a|aa|[a-z ]+)*{5,30}(b)\\1*$x"),
    "long regex": split_by("(" * 5000 + ")" * 5000),
    "multiplied repeats": split_by("((a{1,1000}){1,1000}){1,1000}"),
    "empty vocabulary": tokenizer(model__vocab={}),
    "2,999 long added tokens": tokenizer(
        added_tokens=lambda tokens: tokens + [added_token(14 + n, "a" * n, *SPACED) for n in range(1, 3000)]
    ),
    "nested JSON": bert({"tokenizer.json": NESTED}),
    "nested sequences": tokenizer(normalizer=nested_normalizers(100, 12)),
    "multiplied replacements": tokenizer(normalizer=replacing({"String": "a"}, "a" * 10, 9)),
    "insertions": tokenizer(normalizer=replacing({"Regex": ""}, "a" * 60, 3)),
    "replacement of 1 MB": tokenizer(normalizer=lambda _: replacing({"String": "a"}, "a" * 2**20, 1)),
    "vocabulary without special tokens": trained({"vocab.txt": "\n".join("abcdefghijklmn")}),
    "word of 15 MB": trained({"vocab.txt": lambda path: put(path, "a" * 15 * 2**20)}),
    "tokenizer.json that is a pickle": bert({"tokenizer.json": PICKLED}),
    "tokenizer.json of a gigabyte": bert({"tokenizer.json": GIGABYTE}),
}
CASES = {name: refused(build, "tokenizer") for name, build in REFUSED.items()} | {
    "vocab.txt of a gigabyte": refused(bert({"vocab.txt": GIGABYTE}), "vocab.txt"),
    "prompt of 5 MB": refused(trained({"config_sentence_transformers.json": long_prompt}), "prompt"),
    "words with one id": accepted(tokenizer(model__vocab__good=13, model__vocab__film=13)),
    "added token outside the vocabulary": accepted(
        tokenizer(added_tokens=lambda tokens: [*tokens, added_token(2**31, "film", "normalized")])
    ),
    "padding and truncation": accepted(tokenizer(truncation=TRUNCATION, padding=PADDING)),
    "control characters": accepted(trained({"vocab.txt": "\n".join(CONTROL_CHARACTERS)})),
    "templates": accepted(bert({"tokenizer_config.json": TEMPLATES, "chat_template.jinja": "{{ 7 * 7 }}"})),
    "invalid files of sentence-transformers": accepted(trained(INVALID_SENTENCE_FILES)),
}


@pytest.mark.parametrize("case", CASES)
def test_hostile_tokenizer_executes_nothing(case, check):
    check(CASES[case])
