"""A second zoo: checkpoints, models, unfinished runs, stores and locks that are well-formed, and mean harm.

Most are no damaged files: each part of them is what its format allows, and only what it says is beyond measure.
"""

import io
import json
import os
import pickle
import shutil
import signal
import struct
import tarfile
import zipfile

import pyarrow
import pytest
import torch
from pyarrow import parquet
from safetensors.torch import load_file, save_file

import tlcore
from tests.support.hostile import (
    Zoo,
    changed_json,
    made_good,
    of_bert,
    of_resnet,
    on_data,
    predicted,
    safetensors,
    seal,
)
from tl_text.tokenizing import read_tokenizer
from tlcore.runs.signals import Stopping

pytestmark = pytest.mark.slow

ZOO = Zoo()
hostile = ZOO.hostile
NESTED = '{"a":' * 200_000
DEEP = '{"a":' * 900 + "1" + "}" * 900
"""As deep as a parser goes, and deeper than what handles it later may."""
HUGE = "9" * 400


# --- configurations


def with_config(place, **keys):
    return of_bert(place, place.bert(config__json=place.config(**keys)))


@hostile(said="hidden_dropout_prob")
def config_with_a_dropout_of_five(place):
    return with_config(place, hidden_dropout_prob=5)


@hostile(said="attention_probs_dropout_prob")
def config_with_a_dropout_of_attention(place):
    return with_config(place, attention_probs_dropout_prob=2)


@hostile(said="pad_token_id")
def config_with_a_padding_beyond_the_table(place):
    return with_config(place, pad_token_id=999)


@hostile(said="hidden_size")
def config_of_no_width(place):
    return with_config(place, hidden_size=0)


@hostile(said="max_position_embeddings")
def config_of_no_places(place):
    return with_config(place, max_position_embeddings=0)


@hostile()
def config_of_no_layers(place):
    return with_config(place, num_hidden_layers=0)


@hostile(said="vocab_size")
def config_of_a_negative_size(place):
    return with_config(place, vocab_size=-14)


@hostile(said="layer_norm_eps")
def config_with_a_nan(place):
    return with_config(place, layer_norm_eps=float("nan"))


@hostile(said="layer_norm_eps")
def config_with_an_infinity(place):
    return with_config(place, layer_norm_eps=float("inf"))


@hostile(said="a number of 400 digits")
def config_with_a_number_without_end(place):
    return of_bert(place, place.bert(config__json=b'{"hidden_size": ' + HUGE.encode() + b"}"))


@hostile(said="config.json")
def config_with_a_number_that_takes_minutes(place):
    return of_bert(place, place.bert(config__json=b'{"hidden_size": ' + b"9" * 10**6 + b"}"))


@hostile(said="hidden_act")
def config_with_an_activation_of_megabytes(place):
    return with_config(place, hidden_act="a" * 10**7)


@hostile(said="checkpoint, not a BertModel")
def config_of_a_type_of_megabytes(place):
    return with_config(place, model_type="b" * 10**7)


@hostile(said="hidden_size")
def config_whose_size_is_a_list(place):
    return with_config(place, hidden_size=[16] * 10**6)


@hostile(said="stands twice")
def config_with_a_key_twice(place):
    return of_bert(place, place.bert(config__json=b'{"hidden_size": 16, "hidden_size": 32}'))


@hostile(0)
def config_with_a_prototype(place):
    return with_config(place, __proto__={"x": 1}, __class__="os.system", torch_dtype="evil.dtype", quantization_config={
        "quant_method": "evil", "load_in_4bit": True}, dtype="float8", architectures=["Evil"])  # fmt: skip


@hostile(0)
def files_beside_a_checkpoint_that_nobody_reads(place):
    folder = place.bert(
        adapter_config__json={"peft_type": "LORA", "base_model_name_or_path": "evil/x", "auto_mapping": {
            "base_model_class": "Evil", "parent_library": "os"}, "modules_to_save": ["x"]},
        generation_config__json={"custom_generate": "evil"}, preprocessor_config__json={"auto_map": {"x": "evil.Y"}},
        special_tokens_map__json={"pad_token": {"__type": "AddedToken", "content": "evil"}},
        custom_generate__py=b"import os; os.mkdir('ran')", training_args__bin=place.pickled,
        optimizer__pt=place.pickled, rng_state__pth=place.pickled, adapter_model__bin=place.pickled,
    )  # fmt: skip
    for name in ("torch.py", "sitecustomize.py", "conftest.py", "transformers.py"):
        (folder / name).write_text(f"import os; os.makedirs({str(place.canary / name)!r})")
        place.file(name, f"import os; os.makedirs({str(place.canary / name)!r})".encode())
    return of_bert(place, folder)


# --- tokenizers


def tokenizer_of(place, change, **files):
    """Return a checkpoint whose tokenizer.json is changed, and the command that tokenises with it."""
    folder = place.bert(**files)
    found = json.loads(read_tokenizer(folder / "vocab.txt").to_str())
    found["post_processor"] = framed()
    change(found)
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer.json").write_text(json.dumps(found))
    return trained(place, {"name": "bert", "weights": str(folder)})


def trained(place, backbone):
    """Return the command that runs a recipe with a backbone."""
    text = json.dumps({
        "task": "text-classification", "data": {"source": "table", "path": str(place.good / "reviews.csv")},
        "backbone": backbone, "adapter": "feature-extraction", "train": {"epochs": 1, "workers": 0},
        "evaluate": {"resamples": 0, "probe": False, "report": "none"}, "features": {"store": "never"},
    })  # fmt: skip
    return ["run", str(place.file("recipe.yaml", text.encode())), "--out", str(place.folder / "out")]


def framed():
    """Return what puts [CLS] before a text and [SEP] behind it."""
    special = {name: {"id": name, "ids": [id_], "tokens": [name]} for name, id_ in (("[CLS]", 2), ("[SEP]", 3))}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    ends = [{"SpecialToken": {"id": name, "type_id": 0}} for name in special]
    pair = [ends[0], text, ends[1], {"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": [ends[0], text, ends[1]], "pair": pair, "special_tokens": special}


def split_by(pattern):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


@hostile(said="tokenizer")
def tokenizer_whose_frame_is_beyond_the_table(place):
    def change(found):
        for one in found["post_processor"]["special_tokens"].values():
            one["ids"] = [999_999]

    return tokenizer_of(place, change)


@hostile(said="tokenizer")
def tokenizer_of_pairs_beyond_the_table(place):
    return tokenizer_of(place, lambda found: found.update(
        post_processor={"type": "BertProcessing", "sep": ["[SEP]", 4_000_000_000], "cls": ["[CLS]", 2]}))  # fmt: skip


@hostile(said="tokenizer")
def tokenizer_that_says_a_text_twice(place):
    def change(found):
        found["post_processor"]["single"] = [{"Sequence": {"id": "A", "type_id": 0}}] * 200

    return tokenizer_of(place, change)


@hostile(said="tokenizer")
def tokenizer_with_a_frame_longer_than_the_network(place):
    def change(found):
        found["post_processor"]["special_tokens"]["[CLS]"]["ids"] = [2] * 200
        found["post_processor"]["special_tokens"]["[CLS]"]["tokens"] = ["[CLS]"] * 200

    return tokenizer_of(place, change)


@hostile(said="tokenizer")
def tokenizer_without_its_unknown_word(place):
    return tokenizer_of(place, lambda found: found["model"].update(unk_token="[NOWHERE]"))


@hostile(said="tokenizer")
def tokenizer_that_draws_its_tokens(place):
    vocab = {word: n for n, word in enumerate(["[PAD]", "[UNK]", "g", "o", "d", "go", "goo", "good", "b", "a", "n", "f",
                                               "i", "l"])}  # fmt: skip
    return tokenizer_of(place, lambda found: found.update(
        model={"type": "BPE", "dropout": 0.9, "unk_token": "[UNK]", "continuing_subword_prefix": None,
               "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
               "vocab": vocab, "merges": [["g", "o"], ["go", "o"], ["goo", "d"]]}, post_processor=None))  # fmt: skip


@hostile(said="tokenizer")
def tokenizer_with_an_expression_without_end(place):
    return tokenizer_of(place, lambda found: found.update(pre_tokenizer=split_by("^(([a-z])+.)+[A-Z]([a-z])+$")))


@hostile(said="tokenizer")
def tokenizer_with_nested_repeats(place):
    return tokenizer_of(place, lambda found: found.update(pre_tokenizer=split_by("(a|aa|[a-z ]+)*{5,30}(b)\\1*$x")))


@hostile(said="tokenizer")
def tokenizer_with_a_huge_expression(place):
    return tokenizer_of(place, lambda found: found.update(pre_tokenizer=split_by("(" * 5000 + ")" * 5000)))


@hostile(said="tokenizer")
def tokenizer_with_an_expression_that_repeats(place):
    return tokenizer_of(place, lambda found: found.update(pre_tokenizer=split_by("((a{1,1000}){1,1000}){1,1000}")))


@hostile(said="tokenizer")
def tokenizer_with_no_words(place):
    return tokenizer_of(place, lambda found: found["model"].update(vocab={}))


@hostile(0)
def tokenizer_whose_words_share_an_id(place):
    return tokenizer_of(place, lambda found: found["model"]["vocab"].update(good=13, film=13))


@hostile(0)
def tokenizer_with_words_added_beyond_the_table(place):
    def change(found):
        found["added_tokens"].append({"id": 2**31, "content": "film", "special": False, "single_word": False,
                                      "lstrip": False, "rstrip": False, "normalized": True})  # fmt: skip

    return tokenizer_of(place, change)


@hostile(said="tokenizer")
def tokenizer_with_a_hundred_thousand_added_words(place):
    def change(found):
        found["added_tokens"] += [
            {"id": 14 + n, "content": "a" * n, "special": True, "single_word": False, "lstrip": True, "rstrip": True,
             "normalized": False} for n in range(1, 3000)]  # fmt: skip

    return tokenizer_of(place, change)


@hostile(0)
def tokenizer_that_pads_and_cuts(place):
    return tokenizer_of(place, lambda found: found.update(
        truncation={"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 0},
        padding={"strategy": {"Fixed": 10**9}, "direction": "Right", "pad_to_multiple_of": 10**9, "pad_id": 999,
                 "pad_type_id": 0, "pad_token": "x"}))  # fmt: skip


@hostile(said="tokenizer.json")
def tokenizer_that_is_nested(place):
    return of_bert(place, place.bert(tokenizer__json=NESTED.encode()))


@hostile(said="tokenizer")
def tokenizer_of_sequences_in_sequences(place):
    def change(found):
        one = {"type": "Lowercase"}
        for _ in range(100):
            one = {"type": "Sequence", "normalizers": [one, one]} if _ < 12 else {
                "type": "Sequence", "normalizers": [one]}  # fmt: skip
        found["normalizer"] = one

    return tokenizer_of(place, change)


@hostile(said="tokenizer")
def tokenizer_that_doubles_with_each_rule(place):
    def change(found):
        rule = {"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaa"}
        found["normalizer"] = {"type": "Sequence", "normalizers": [rule] * 9}

    return tokenizer_of(place, change)


@hostile(said="tokenizer")
def tokenizer_that_puts_words_between_letters(place):
    def change(found):
        rule = {"type": "Replace", "pattern": {"Regex": ""}, "content": "a" * 60}
        found["normalizer"] = {"type": "Sequence", "normalizers": [rule, rule, rule]}

    return tokenizer_of(place, change)


@hostile(0)
def vocabulary_of_steering_letters(place):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "\x1b[2J", "<script>", "=cmd()", "a\u202eb", "c", "d", "e",
             "f", "\x07"]  # fmt: skip
    folder = place.bert(vocab__txt="\n".join(words).encode())
    return trained(place, {"name": "bert", "weights": str(folder)})


@hostile(said="tokenizer")
def vocabulary_without_special_words(place):
    folder = place.bert(vocab__txt="\n".join("abcdefghijklmn").encode())
    return trained(place, {"name": "bert", "weights": str(folder)})


@hostile(said="tokenizer")
def vocabulary_of_one_endless_word(place):
    folder = place.bert(vocab__txt=b"a" * 15 * 2**20)
    return trained(place, {"name": "bert", "weights": str(folder)})


@hostile(said="prompt")
def prompt_of_megabytes(place):
    folder = place.bert(config_sentence_transformers__json={
        "prompts": {"x": "good " * 10**6}, "default_prompt_name": "x"})  # fmt: skip
    return trained(place, {"name": "bert", "weights": str(folder)})


@hostile(0)
def sentence_files_of_odd_types(place):
    folder = place.bert(
        config_sentence_transformers__json={"prompts": [1], "default_prompt_name": {"a": 1}},
        sentence_bert_config__json={"max_seq_length": True, "do_lower_case": "x"},
        modules__json=[{"type": "os.system", "path": "../.."}],
    )  # fmt: skip
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": 1}))
    return trained(place, {"name": "bert", "weights": str(folder)})


# --- files of tensors


def tensors_of_bert(place, change):
    folder = place.bert()
    found = load_file(folder / "model.safetensors")
    found = change(found) or found
    save_file(found, folder / "model.safetensors")
    return of_bert(place, folder)


@hostile(said="another type")
def tensors_of_complex_numbers(place):
    return tensors_of_bert(place, lambda found: {name: one.to(torch.complex64) for name, one in found.items()})


@hostile(said="another type")
def tensors_of_truths(place):
    return tensors_of_bert(place, lambda found: {name: one > 0 for name, one in found.items()})


@hostile(0)
def tensors_of_eight_bits(place):
    return tensors_of_bert(place, lambda found: {name: one.to(torch.float8_e8m0fnu) for name, one in found.items()})


@hostile()
def tensors_of_four_bits(place):
    header = {"embeddings.LayerNorm.bias": {"dtype": "F4", "shape": [16], "data_offsets": [0, 8]}}
    return of_bert(place, place.bert(model__safetensors=safetensors(header, bytes(8))))


@hostile(said="not finite")
def tensors_beyond_their_type(place):
    def change(found):
        found["embeddings.LayerNorm.bias"] = torch.full((16,), 1e300, dtype=torch.float64)

    return tensors_of_bert(place, change)


def header_of(place, header, body=b""):
    return of_resnet(place, place.file("w.safetensors", safetensors(header, body)))


ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@hostile(said="w.safetensors")
def header_with_an_unknown_type(place):
    return header_of(place, {"conv1.weight": {**ONE, "dtype": "EVIL"}}, bytes(4))


@hostile(said="w.safetensors")
def header_with_negative_offsets(place):
    return header_of(place, {"conv1.weight": {**ONE, "data_offsets": [-4, 0]}}, bytes(4))


@hostile(said="w.safetensors")
def header_with_a_negative_shape(place):
    return header_of(place, {"conv1.weight": {**ONE, "shape": [-1]}}, bytes(4))


@hostile(said="w.safetensors")
def header_with_a_shape_of_texts(place):
    return header_of(place, {"conv1.weight": {**ONE, "shape": ["1"]}}, bytes(4))


@hostile(said="w.safetensors")
def header_with_a_thousand_dimensions(place):
    return header_of(place, {"conv1.weight": {**ONE, "shape": [1] * 100_000}}, bytes(4))


@hostile(said="w.safetensors")
def header_whose_entry_is_a_number(place):
    return header_of(place, {"conv1.weight": 5}, bytes(4))


@hostile(said="w.safetensors")
def header_with_a_number_without_end(place):
    return header_of(place, b'{"conv1.weight": {"dtype": "F32", "shape": [' + HUGE.encode() + b"]}}")


@hostile(said="w.safetensors")
def header_that_is_a_list(place):
    return header_of(place, [1, 2])


@hostile(said="w.safetensors")
def header_of_metadata(place):
    return header_of(place, {"__metadata__": {str(n): "x" * 1000 for n in range(10_000)}, "conv1.weight": ONE},
                     bytes(4))  # fmt: skip


@hostile(said="w.safetensors")
def header_whose_metadata_is_no_table(place):
    return header_of(place, {"__metadata__": [1], "conv1.weight": ONE}, bytes(4))


@hostile(said="w.safetensors")
def header_with_steering_metadata(place):
    return header_of(place, {"__metadata__": {"format": "\x1b[2J<script>"}, "conv1.weight": ONE}, bytes(4))


@hostile(said="w.safetensors")
def header_of_a_tensor_named_like_a_prototype(place):
    return header_of(place, {"__proto__": ONE}, bytes(4))


@hostile(said="w.safetensors")
def tensor_with_a_name_of_megabytes(place):
    return header_of(place, {"a" * 10**7: ONE}, bytes(4))


@hostile(said="w.safetensors")
def tensor_with_a_nul_in_its_name(place):
    return header_of(place, {"a\0b": ONE}, bytes(4))


@hostile(said="w.safetensors")
def tensors_without_data(place):
    return header_of(place, {})


@hostile(said="w.safetensors")
def file_of_seven_bytes(place):
    return of_resnet(place, place.file("w.safetensors", b"\0" * 7))


@hostile(said="w.safetensors")
def header_that_is_no_utf8(place):
    return header_of(place, b'{"\xff\xfe": 1}')


@hostile(said="w.safetensors")
def tensors_with_an_archive_behind(place):
    content = io.BytesIO(safetensors({"conv1.weight": ONE}, bytes(4)))
    content.seek(0, 2)
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr("archive/data.pkl", place.pickled)
    return of_resnet(place, place.file("w.safetensors", content.getvalue()))


@hostile(said="refused: w.pt")
def archive_behind_a_pickle(place):
    content = io.BytesIO(place.pickled)
    content.seek(0, 2)
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr("archive/data.pkl", place.pickled)
        archive.writestr("archive/version", "3\n")
    return of_resnet(place, place.file("w.pt", content.getvalue()))


@hostile(said="refused: w.pt")
def archive_that_is_a_tar_too(place):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        member = tarfile.TarInfo("pickle")
        member.size = len(place.pickled)
        archive.addfile(member, io.BytesIO(place.pickled))
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr("archive/data.pkl", place.pickled)
    return of_resnet(place, place.file("w.pt", content.getvalue()))


@hostile(said="refused: w.pt")
def archive_with_two_pickles(place):
    with zipfile.ZipFile(place.folder / "w.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data.pkl", place.pickled)
        archive.writestr("archive/version", "3\n")
    return of_resnet(place, place.folder / "w.pt")


@hostile(said="refused: w.pt")
def archive_with_code(place):
    with zipfile.ZipFile(place.folder / "w.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/constants.pkl", place.pickled)
        archive.writestr("archive/code/__torch__.py", "import os")
    return of_resnet(place, place.folder / "w.pt")


@hostile(said="refused: w.pt")
def pickle_of_a_million_steps(place):
    return of_resnet(place, place.file("w.pt", b"\x80\x02" + b"]" * 5_000_000 + b"."))


@hostile(said="w.pt")
def pickle_that_is_nested(place):
    return of_resnet(place, place.file("w.pt", b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."))


@hostile(said="w.pt")
def pickle_that_doubles(place):
    """Each step holds the one before twice: 2**60 in all, if anybody counted them."""
    content = b"\x80\x02]q\x00" + b"".join(b"]q%c(h%ch%ce" % (n + 1, n, n) for n in range(60)) + b"."
    return of_resnet(place, place.file("w.pt", content))


@hostile(said="w.pt")
def tensors_that_hold_themselves(place):
    table = {}
    table["state_dict"] = table
    return of_resnet(place, place.saved("w.pt", table))


@hostile(said="w.pt")
def tensors_of_no_strided_layout(place):
    return of_resnet(place, place.saved("w.pt", {"conv1.weight": torch.eye(4).to_sparse()}))


@hostile(said="w.pt")
def tensors_on_no_device(place):
    return of_resnet(place, place.saved("w.pt", {"conv1.weight": torch.empty(10**6, 10**6, device="meta")}))


@hostile(said="w.pt")
def quantised_tensors(place):
    tensor = torch.quantize_per_tensor(torch.zeros(64, 3, 7, 7), 0.1, 0, torch.quint8)
    return of_resnet(place, place.saved("w.pt", {"conv1.weight": tensor}))


@hostile(said="w.pt")
def tensors_under_numbers(place):
    return of_resnet(place, place.saved("w.pt", {1: torch.zeros(1)}))


@hostile(said="no file of torch")
def table_packed_by_gzip_and_named_otherwise(place):
    import gzip

    return of_resnet(place, place.file("w.pt", gzip.compress(place.pickled)))


@hostile()
def link_to_endless_zeros(place):
    (place.folder / "w.pt").symlink_to("/dev/zero")
    return of_resnet(place, place.folder / "w.pt")


@hostile()
def link_to_itself(place):
    (place.folder / "w.pt").symlink_to("w.pt")
    return of_resnet(place, place.folder / "w.pt")


@hostile(0)
def checkpoint_behind_a_link(place):
    (place.folder / "link").symlink_to(place.bert())
    return of_bert(place, place.folder / "link")


@hostile(said="refused: the index names")
def index_of_names_that_are_odd(place):
    folder = place.bert(model__safetensors=None)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "..", "b": "", "c": "/x"}}))
    return of_bert(place, folder)


@hostile(said="refused: ")
def index_that_names_itself(place):
    folder = place.bert(model__safetensors=None)
    name = "model.safetensors.index.json"
    (folder / name).write_text(json.dumps({"weight_map": {"a": name}}))
    return of_bert(place, folder)


@hostile()
def index_of_a_hundred_thousand_files(place):
    folder = place.bert(model__safetensors=None)
    names = {str(n): f"{n}.safetensors" for n in range(100_000)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    return of_bert(place, folder)


# --- models that a run left


def of_model(place, change, **given):
    return predicted(place, place.model(change, **given))


def described(place, change):
    return of_model(place, lambda model: changed_json(model / "artifact.json", change))


@hostile()
def model_whose_manifest_holds_an_infinity(place):
    def change(model):
        text = (model / "manifest.json").read_text()
        (model / "manifest.json").write_text(text.replace('"bytes": ', '"bytes": 1e999, "was": ', 1))

    return of_model(place, change, sealed=False)


@hostile()
def model_whose_merged_stages_are_lists(place):
    return described(place, lambda found: found.update(merged=[["a"], {"b": 1}]))


@hostile()
def model_whose_test_is_beyond_numbers(place):
    return described(place, lambda found: found["self_test"].update(features=[[10**400] * 16] * 2))


@hostile()
def model_whose_test_is_a_table(place):
    return described(place, lambda found: found["self_test"].update(features={"a": 1}))


@hostile()
def model_whose_test_is_ragged(place):
    return described(place, lambda found: found["self_test"].update(outputs=[[1], [1, 2]]))


@hostile()
def model_whose_test_is_empty(place):
    return described(place, lambda found: found["self_test"].update(outputs=[], features=[]))


@hostile()
def model_whose_test_reads_its_folder(place):
    return described(place, lambda found: found["self_test"].update(inputs=[{"file": ".."}, {"file": ""}]))


@hostile()
def model_whose_test_reads_a_nul(place):
    return described(place, lambda found: found["self_test"].update(inputs=[{"file": "a\0b"}]))


@hostile()
def model_whose_test_is_deep(place):
    return described(place, lambda found: found["self_test"].update(inputs=[{"value": json.loads(DEEP)}]))


@hostile()
def model_whose_task_is_deep(place):
    return described(place, lambda found: found["task_state"].update(counts=json.loads(DEEP)))


@hostile()
def model_whose_classes_are_none(place):
    return described(place, lambda found: found["task_state"].update(classes=None))


@hostile()
def model_whose_classes_are_tables(place):
    return described(place, lambda found: found["task_state"].update(classes=[{"a": 1}, {"b": 2}]))


@hostile()
def model_without_classes(place):
    return described(place, lambda found: found["task_state"].update(classes=[]))


@hostile()
def model_whose_counts_are_a_number(place):
    return described(place, lambda found: found["task_state"].update(counts=5))


@hostile()
def model_whose_options_are_deep(place):
    return described(place, lambda found: found["backbone"]["options"].update(pool=json.loads(DEEP)))


@hostile()
def model_whose_backbone_is_empty(place):
    return described(place, lambda found: found.update(backbone={}))


@hostile()
def model_whose_backbone_has_a_table_for_a_name(place):
    return described(place, lambda found: found["backbone"].update(name={"a": 1}))


@hostile(8)
def model_whose_backbone_has_a_name_that_steers(place):
    return described(place, lambda found: found["backbone"].update(name="\x1b[2J../../x"))


@hostile()
def model_of_a_rank_without_end(place):
    adapter = {"name": "lora", "options": {"rank": 10**6}}
    return described(place, lambda found: found.update(adapter=adapter))


@hostile(2)
def model_of_an_adapter_with_layers(place):
    adapter = {"name": "fine-tuning", "options": {"layers": 10**9}}
    return described(place, lambda found: found.update(adapter=adapter))


@hostile()
def model_of_a_precision_that_steers(place):
    return described(place, lambda found: found.update(precision="\x1b[2J"))


@hostile(2)
def model_of_another_precision(place):
    return described(place, lambda found: found.update(precision="fp16", precision_is_auto=False))


@hostile()
def model_with_an_unknown_option(place):
    return described(place, lambda found: found["backbone"]["options"].update(evil="os.system"))


@hostile()
def model_of_another_backbone(place):
    return described(place, lambda found: found["backbone"].update(name="vision/resnet18"))


@hostile(2)
def model_of_another_kind_of_inputs(place):
    return described(place, lambda found: found.update(inputs="json"))


@hostile()
def model_whose_text_network_has_a_prefix_of_megabytes(place):
    return of_model(place, lambda model: changed_json(
        model / "backbone" / "bert.json", lambda found: found.update(prefix="good " * 10**6)))  # fmt: skip


@hostile()
def model_whose_text_network_is_pooled_otherwise(place):
    return of_model(place, lambda model: changed_json(
        model / "backbone" / "bert.json", lambda found: found.update(pool=["x"])))  # fmt: skip


@hostile(0)
def model_whose_text_network_reads_without_end(place):
    return of_model(place, lambda model: changed_json(
        model / "backbone" / "bert.json", lambda found: found.update(max_length=10**12)))  # fmt: skip


@hostile()
def model_whose_text_network_reads_nothing(place):
    return of_model(place, lambda model: changed_json(
        model / "backbone" / "bert.json", lambda found: found.update(max_length=-5)))  # fmt: skip


@hostile()
def model_whose_text_network_is_of_texts(place):
    return of_model(place, lambda model: changed_json(
        model / "backbone" / "bert.json", lambda found: found.update(max_length="5", prefix=7)))  # fmt: skip


@hostile()
def model_whose_tokenizer_has_an_endless_frame(place):
    def change(found):
        found["post_processor"] = framed()
        for one in found["post_processor"]["special_tokens"].values():
            one["ids"] = [999_999]

    return of_model(place, lambda model: changed_json(model / "backbone" / "tokenizer.json", change))


@hostile()
def model_with_a_link_inside(place):
    def change(model):
        (model / "model.safetensors").unlink()
        (model / "model.safetensors").symlink_to("/dev/zero")

    return of_model(place, change, sealed=False)


@hostile(0)
def model_with_links_in_a_circle(place):
    return of_model(place, lambda model: (model / "a").symlink_to(".."), sealed=False)


@hostile()
def model_of_a_newer_format(place):
    return described(place, lambda found: found.update(format="9" * 10**6))


# --- pictures


def picture_model(place, change, name="new.png"):
    shutil.copytree(place.good / "pictures", place.folder / "pictures")
    model = place.folder / "pictures" / "model"
    change(model)
    seal(model)
    return ["predict", str(place.folder / "pictures"), str(place.good / "new.png"), "--format", "jsonl"]


def prepared(place, **keys):
    return picture_model(place, lambda model: changed_json(
        model / "backbone" / "network.json", lambda found: found["preparation"].update(**keys)))  # fmt: skip


@hostile(0)
def picture_model_that_is_good(place):
    return picture_model(place, lambda model: None)


@hostile()
def picture_model_with_a_mean_beyond_numbers(place):
    return prepared(place, mean=[10**400] * 3)


@hostile()
def picture_model_with_a_mean_of_texts(place):
    return prepared(place, mean="abc")


@hostile()
def picture_model_with_a_margin_without_end(place):
    return prepared(place, margin=1e300)


@hostile()
def picture_model_with_a_scale_of_nothing(place):
    return prepared(place, scale=5)


@hostile()
def picture_model_with_an_odd_output(place):
    return picture_model(place, lambda model: changed_json(
        model / "backbone" / "network.json", lambda found: found.update(output=["layer1"])))  # fmt: skip


@hostile()
def picture_model_of_an_odd_network(place):
    return picture_model(place, lambda model: changed_json(
        model / "backbone" / "network.json", lambda found: found.update(network=["resnet18"])))  # fmt: skip


def picture_recipe(place, **keys):
    return picture_model(place, lambda model: changed_json(
        model / "artifact.json", lambda found: found["backbone"]["options"].update(**keys)))  # fmt: skip


@hostile()
def picture_model_of_a_size_without_end(place):
    return picture_recipe(place, size=100_000)


@hostile()
def picture_model_resized_without_end(place):
    return picture_recipe(place, resize=100_000)


@hostile()
def picture_model_of_a_large_size_flattened(place):
    return picture_recipe(place, size=4096, pool="flatten")


@hostile()
def picture_model_that_tests_itself_with_a_nul(place):
    return picture_model(place, lambda model: changed_json(
        model / "artifact.json", lambda found: found["self_test"].update(inputs=[{"file": "a\0b"}])))  # fmt: skip


@hostile()
def picture_model_that_tests_itself_with_its_folder(place):
    return picture_model(place, lambda model: changed_json(
        model / "artifact.json", lambda found: found["self_test"].update(inputs=[{"file": ".."}])))  # fmt: skip


@hostile()
def picture_model_that_tests_itself_with_a_bomb(place):
    def change(model):
        from PIL import Image

        Image.new("1", (60_000, 60_000)).save(model / "self_test" / "bomb.png")
        changed_json(model / "artifact.json", lambda found: found["self_test"].update(inputs=[{"file": "bomb.png"}]))

    return picture_model(place, change)


@hostile()
def picture_model_that_tests_itself_with_no_base64(place):
    return picture_model(place, lambda model: changed_json(
        model / "artifact.json", lambda found: found["self_test"].update(inputs=[{"base64": "%%%"}])))  # fmt: skip


@hostile()
def picture_model_as_weights_with_an_odd_preparation(place):
    prepared(place, scale={"mean": [0.0] * 3, "std": [10**400] * 3})
    return of_resnet(place, place.folder / "pictures")


# --- folders of runs


def run_of(place, change):
    shutil.copytree(place.good / "run", place.folder / "run")
    change(place.folder / "run")
    return str(place.folder / "run")


def spoilt_run(name, content):
    def change(run):
        (run / name).unlink()
        if content is None:
            os.mkfifo(run / name)
        elif isinstance(content, str) and content.startswith("/dev/"):
            (run / name).symlink_to(content)
        elif callable(content):
            changed_json(run / name, content)
            return
        else:
            (run / name).write_text(content) if isinstance(content, str) else (run / name).write_bytes(content)

    return change


def reproduced(place, change):
    return ["reproduce", run_of(place, change), "--out", str(place.folder / "again")]


def changed_run(name, change):
    return lambda run: changed_json(run / name, change)


@hostile()
def reproduced_manifest_that_is_nested(place):
    return reproduced(place, spoilt_run("manifest.json", NESTED))


@hostile()
def reproduced_manifest_that_is_a_pipe(place):
    return reproduced(place, spoilt_run("manifest.json", None))


@hostile()
def reproduced_manifest_without_end(place):
    return reproduced(place, spoilt_run("manifest.json", "/dev/zero"))


@hostile()
def reproduced_manifest_with_a_place_that_is_a_number(place):
    return reproduced(place, changed_run("manifest.json", lambda found: found.update(place=5)))


@hostile()
def reproduced_manifest_with_a_place_with_a_nul(place):
    return reproduced(place, changed_run("manifest.json", lambda found: found.update(place="a\0b")))


@hostile()
def reproduced_manifest_with_an_odd_backbone(place):
    return reproduced(place, changed_run("manifest.json", lambda found: found.update(backbone=5)))


@hostile()
def reproduced_metrics_that_are_nested(place):
    return reproduced(place, spoilt_run("metrics.json", NESTED))


@hostile()
def reproduced_metrics_that_are_gone(place):
    return reproduced(place, lambda run: (run / "metrics.json").unlink())


@hostile()
def reproduced_history_of_numbers(place):
    return reproduced(place, spoilt_run("history.jsonl", "5\n6\n"))


@hostile()
def reproduced_predictions_that_are_gone(place):
    return reproduced(place, lambda run: (run / "predictions.parquet").unlink())


def compared(place, change, *words):
    return ["compare", str(place.good / "run"), run_of(place, change), *words]


@hostile((2, 3, 4))
def compared_metrics_that_are_nested(place):
    return compared(place, spoilt_run("metrics.json", NESTED))


@hostile(0)
def compared_metrics_of_odd_types(place):
    return compared(place, spoilt_run("metrics.json", '{"selection": 5, "test": [1]}'))


@hostile((2, 3, 4))
def compared_metrics_without_end(place):
    return compared(place, spoilt_run("metrics.json", "/dev/zero"))


@hostile((2, 3, 4))
def compared_predictions_of_nothing(place):
    return compared(place, spoilt_run("predictions.parquet", b"PAR1" * 10))


def predictions(place, columns):
    def change(run):
        parquet.write_table(pyarrow.table(columns), run / "predictions.parquet")

    return compared(place, change)


@hostile((2, 3, 4))
def compared_predictions_with_a_column_twice(place):
    def change(run):
        names = ["id", "split", "label", "prediction", "id"]
        parquet.write_table(pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 5, names), run / "predictions.parquet")

    return compared(place, change)


@hostile((2, 3, 4))
def compared_predictions_without_a_column(place):
    return predictions(place, {"id": ["a"], "split": ["test"]})


@hostile((2, 3, 4))
def compared_predictions_of_lists(place):
    return predictions(place, {"id": [["a"]], "split": ["test"], "label": ["x"], "prediction": ["y"]})


@hostile((2, 3, 4))
def compared_predictions_of_tables(place):
    return predictions(place, {"id": ["a"], "split": ["test"], "label": [{"a": 1}], "prediction": [{"b": 1}]})


def own_predictions(place, change):
    def changed(run):
        table = parquet.read_table(run / "predictions.parquet").to_pydict()
        change(table)
        parquet.write_table(pyarrow.table(table), run / "predictions.parquet")

    return compared(place, changed)


@hostile((2, 3, 4))
def compared_predictions_that_are_nothing(place):
    return own_predictions(place, lambda table: table.update(prediction=[None] * len(table["id"])))


@hostile((2, 3, 4))
def compared_predictions_of_numbers(place):
    return own_predictions(place, lambda table: table.update(prediction=[float("nan")] * len(table["id"])))


@hostile((2, 3, 4))
def compared_predictions_of_more_rows_than_bytes(place):
    def change(run):
        column = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 1, "int32").take(
            pyarrow.array([0] * 1)), ["test"])  # fmt: skip
        import numpy

        column = pyarrow.DictionaryArray.from_arrays(pyarrow.array(numpy.zeros(20_000_000, "int32")), ["test"])
        parquet.write_table(pyarrow.table(dict.fromkeys(("id", "split", "label", "prediction"), column)),
                            run / "predictions.parquet")  # fmt: skip

    return compared(place, change)


@hostile(0)
def compared_recipe_that_steers(place):
    def change(run):
        changed_json(run / "manifest.json", lambda found: found["recipe"].update(
            {"name": "\x1b[2J", "\x1b[31mx": "<script>", "list": [1, "\x9b2J"]}))  # fmt: skip

    return compared(place, change, "--report", str(place.folder / "report.html"))


@hostile((0, 2, 3, 4))
def compared_recipe_that_is_deep(place):
    def change(run):
        changed_json(run / "manifest.json", lambda found: found["recipe"].update(x=json.loads(DEEP)))

    return compared(place, change, "--report", str(place.folder / "report.html"))


def listed(place, change, *words):
    run_of(place, change)
    return ["runs", str(place.folder), *words]


@hostile(0)
def listed_run_of_odd_types(place):
    def change(run):
        (run / "metrics.json").write_text('{"selection": 5, "test": [1]}')
        recipe = {"task": 5, "backbone": [1], "adapter": "x", "data": 7, "name": ["\x1b[2J"]}
        (run / "manifest.json").write_text(json.dumps({"seconds": [1], "started": {"a": 1}, "recipe": recipe}))

    return listed(place, change)


@hostile(0)
def listed_run_of_seconds_that_are_texts(place):
    return listed(place, changed_run("manifest.json", lambda found: found.update(seconds={"a": "b"})))


@hostile(2, "no run has")
def listed_run_with_numbers_beyond_measure(place):
    return listed(place, changed_run("metrics.json", lambda found: found["test"].update(macro_f1=10**400)), "--sort",
                  "macro_f1")  # fmt: skip


@hostile(0)
def listed_run_with_a_pipe(place):
    return listed(place, spoilt_run("manifest.json", None), "--json")


@hostile(0)
def listed_run_without_end(place):
    return listed(place, spoilt_run("metrics.json", "/dev/zero"))


@hostile(0)
def listed_run_that_steers(place):
    def change(run):
        changed_json(run / "metrics.json", lambda found: found.update(
            selection={"metric": "\x1b[2Jx"}, test={"\x1b[2Jx": 1.0, "b": float("nan")}))  # fmt: skip
        changed_json(run / "manifest.json", lambda found: found.update(started="\x1b[2J"))

    return listed(place, change)


# --- evaluations


def evaluated(place, change, *words):
    return ["evaluate", run_of(place, change), "--out", str(place.folder / "out"), *words]


@hostile()
def evaluated_manifest_that_is_nested(place):
    return evaluated(place, spoilt_run("manifest.json", NESTED))


@hostile()
def evaluated_manifest_that_is_a_pipe(place):
    return evaluated(place, spoilt_run("manifest.json", None))


@hostile()
def evaluated_manifest_without_end(place):
    return evaluated(place, spoilt_run("manifest.json", "/dev/zero"))


@hostile((0, 4))
def evaluated_manifest_of_odd_types(place):
    return evaluated(place, spoilt_run("manifest.json", '{"backbone": 5, "seconds": "x", "versions": [1], "data": 3}'))


@hostile(2)
def evaluated_manifest_of_an_odd_recipe(place):
    return evaluated(place, changed_run("manifest.json", lambda found: found["recipe"].update(
        data=7, train=[1], evil="os.system")))  # fmt: skip


@hostile(2)
def evaluated_table_of_a_run_with_odd_columns(place):
    change = changed_run("manifest.json", lambda found: found["recipe"].update(data={"input": {"a": 1}, "label": [1]}))
    return evaluated(place, change, "--data", str(place.good / "reviews.csv"))


@hostile((2, 4))
def evaluated_with_resamples_without_end(place):
    return evaluated(place, changed_run("manifest.json", lambda found: found["recipe"]["evaluate"].update(
        resamples=10**12)))  # fmt: skip


@hostile((0, 2, 4))
def evaluated_with_mistakes_without_end(place):
    return evaluated(place, changed_run("manifest.json", lambda found: found["recipe"]["evaluate"].update(
        mistakes=10**12, report="html")))  # fmt: skip


# --- unfinished runs


def resumed(place, change):
    shutil.copytree(place.good / "unfinished", place.folder / "unfinished")
    change(place.folder / "unfinished")
    return ["run", "--resume", str(place.folder / "unfinished")]


def checkpoints(run):
    return sorted((run / "checkpoints").glob("step-*"))


def in_checkpoints(change):
    """Return a change of every checkpoint, each sealed again."""

    def apply(run):
        assert checkpoints(run)
        for folder in checkpoints(run):
            change(folder)
            seal(folder)

    return apply


def positioned(change):
    def apply(folder):
        changed_json(folder / "manifest.json", lambda found: change(found["position"]))

    return in_checkpoints(apply)


@hostile(0)
def unfinished_run_that_is_good(place):
    return resumed(place, lambda run: None)


@hostile()
def begun_that_is_nested(place):
    return resumed(place, lambda run: (run / "begun.json").write_text(NESTED))


@hostile()
def begun_without_end(place):
    def change(run):
        (run / "begun.json").unlink()
        (run / "begun.json").symlink_to("/dev/zero")

    return resumed(place, change)


@hostile((2, 4))
def begun_with_a_place_that_is_a_number(place):
    return resumed(place, changed_run("begun.json", lambda found: found.update(place=5)))


@hostile((2, 4))
def begun_with_a_place_with_a_nul(place):
    return resumed(place, changed_run("begun.json", lambda found: found.update(place="a\0b")))


@hostile((2, 4))
def begun_with_an_odd_lock(place):
    return resumed(place, changed_run("begun.json", lambda found: found.update(lock={"a": 1})))


@hostile((2, 4))
def begun_with_an_identity_of_numbers(place):
    return resumed(place, changed_run("begun.json", lambda found: found.update(identity=[5])))


@hostile((2, 4))
def begun_with_an_identity_that_steers(place):
    return resumed(place, changed_run("begun.json", lambda found: found["identity"].update(
        {"\x1b[2J": "\x1b[31m" * 10**5, "deep": json.loads(DEEP)})))  # fmt: skip


@hostile()
def checkpoint_manifest_that_is_nested(place):
    return resumed(place, lambda run: [(one / "manifest.json").write_text(NESTED) for one in checkpoints(run)])


@hostile()
def checkpoint_manifest_without_end(place):
    def change(run):
        for one in checkpoints(run):
            (one / "manifest.json").unlink()
            (one / "manifest.json").symlink_to("/dev/zero")

    return resumed(place, change)


@hostile()
def checkpoint_manifest_that_is_a_pipe(place):
    def change(run):
        for one in checkpoints(run):
            (one / "manifest.json").unlink()
            os.mkfifo(one / "manifest.json")

    return resumed(place, change)


@hostile()
def checkpoint_without_a_step(place):
    return resumed(place, positioned(lambda found: found.pop("step")))


@hostile()
def checkpoint_at_a_step_of_letters(place):
    return resumed(place, positioned(lambda found: found.update(step="first")))


@hostile()
def checkpoint_at_an_endless_step(place):
    return resumed(place, positioned(lambda found: found.update(step=float("inf"))))


@hostile()
def checkpoint_in_an_epoch_without_end(place):
    return resumed(place, positioned(lambda found: found.update(epoch=10**9)))


@hostile()
def checkpoint_in_an_epoch_before_the_first(place):
    return resumed(place, positioned(lambda found: found.update(epoch=-1)))


@hostile()
def checkpoint_at_a_batch_without_end(place):
    return resumed(place, positioned(lambda found: found.update(batch=10**9)))


@hostile()
def checkpoint_at_a_batch_of_letters(place):
    return resumed(place, positioned(lambda found: found.update(batch="x")))


@hostile()
def checkpoint_without_scalars(place):
    return resumed(place, positioned(lambda found: found.pop("scalars")))


@hostile()
def checkpoint_with_odd_scalars(place):
    return resumed(place, positioned(lambda found: found.update(scalars={"optimizer": 5, "schedule": [1]})))


@hostile()
def checkpoint_with_a_schedule_of_numbers(place):
    return resumed(place, positioned(lambda found: found["scalars"].update(schedule=7)))


@hostile()
def checkpoint_that_is_nothing(place):
    return resumed(place, positioned(lambda found: found.clear()))


@hostile()
def checkpoint_of_pickles(place):
    def change(folder):
        for path in folder.glob("*.safetensors"):
            path.write_bytes(place.pickled)

    return resumed(place, in_checkpoints(change))


@hostile()
def checkpoint_whose_optimizer_has_odd_names(place):
    return resumed(place, in_checkpoints(lambda folder: save_file(
        {"x/y": torch.zeros(1)}, folder / "optimizer.safetensors")))  # fmt: skip


@hostile()
def checkpoint_whose_optimizer_has_odd_shapes(place):
    def change(folder):
        found = load_file(folder / "optimizer.safetensors")
        save_file({name: torch.zeros(3) for name in found}, folder / "optimizer.safetensors")

    return resumed(place, in_checkpoints(change))


@hostile()
def checkpoint_whose_optimizer_is_not_finite(place):
    def change(folder):
        found = load_file(folder / "optimizer.safetensors")
        save_file({name: one * float("nan") for name, one in found.items()}, folder / "optimizer.safetensors")

    return resumed(place, in_checkpoints(change))


@hostile()
def checkpoint_without_a_model(place):
    return resumed(place, in_checkpoints(lambda folder: (folder / "model.safetensors").unlink()))


@hostile()
def history_of_numbers(place):
    return resumed(place, lambda run: (run / "history.jsonl").write_text("5\n" * 50))


@hostile()
def history_that_is_nested(place):
    return resumed(place, lambda run: (run / "history.jsonl").write_text(NESTED + "\n"))


@hostile()
def history_without_end(place):
    def change(run):
        (run / "history.jsonl").unlink(missing_ok=True)
        (run / "history.jsonl").symlink_to("/dev/zero")

    return resumed(place, change)


@hostile()
def history_of_odd_records(place):
    return resumed(place, lambda run: (run / "history.jsonl").write_text('{"epoch": 1, "x": {"y": []}}\n' * 3))


@hostile((2, 4))
def recipe_of_an_unfinished_run_that_is_a_pickle(place):
    return resumed(place, lambda run: (run / "recipe.yaml").write_bytes(place.pickled))


# --- lock files


def locked(place, **entry):
    one = {"path": "w.pt", "origin": "x", "size": 0, "sha256": "0" * 64} | entry
    path = place.file("x.lock.json", json.dumps({"format": 1, "files": [one]}).encode())
    return ["weights", "verify", str(path)]


@hostile()
def lock_of_endless_zeros(place):
    return locked(place, path="/dev/zero")


@hostile()
def lock_of_a_pipe(place):
    os.mkfifo(place.folder / "pipe")
    return locked(place, path=str(place.folder / "pipe"))


@hostile()
def lock_of_a_nul(place):
    return locked(place, path="a\0b")


@hostile()
def lock_of_a_size_without_end(place):
    return locked(place, size=float("inf"))


@hostile()
def lock_of_a_path_that_is_a_table(place):
    return locked(place, path={"a": 1})


@hostile()
def lock_that_is_nested(place):
    return ["weights", "verify", str(place.file("x.lock.json", NESTED.encode()))]


@hostile()
def lock_whose_files_are_a_number(place):
    return ["weights", "verify", str(place.file("x.lock.json", b'{"format": 1, "files": 5}'))]


@hostile()
def lock_of_a_format_of_megabytes(place):
    return ["weights", "verify", str(place.file("x.lock.json", b'{"format": "%s", "files": []}' % (b"x" * 10**7)))]


@hostile()
def lock_that_steers(place):
    return locked(place, path="/\x1b[2J", origin="\x1b[31m")


# --- what lies in caches


def cached(place, **files):
    place.environ = {"TL_CACHE": str(place.folder / "cache")}
    folder = place.folder / "cache" / "features" / "0123456789abcdef"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return folder


def shard(folder, content):
    import hashlib

    path = folder / f"{hashlib.sha256(content).hexdigest()}.safetensors"
    path.write_bytes(content)
    return path


def stored(place, content, *words):
    shard(cached(place, about__json=b"{}"), content)
    return ["cache", *(words or ("verify",))]


def entry(dtype, shape, start, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


ABOUT = {"ragged": "[]", "made_on": "x"}


@hostile()
def shard_of_nothing(place):
    return stored(place, b"")


@hostile()
def shard_of_a_pickle(place):
    return stored(place, place.pickled)


@hostile()
def shard_without_keys(place):
    return stored(place, safetensors({"__metadata__": ABOUT, "x": entry("F32", [1], 0, 4)}, bytes(4)))


@hostile()
def shard_whose_keys_are_numbers(place):
    header = {"__metadata__": ABOUT, "keys": entry("F32", [8], 0, 32)}
    return stored(place, safetensors(header, bytes(32)))


@hostile()
def shard_with_fewer_rows_than_keys(place):
    header = {"__metadata__": ABOUT, "keys": entry("U8", [2, 32], 0, 64), "state/x": entry("F32", [1], 64, 68)}
    return stored(place, safetensors(header, bytes(68)))


@hostile()
def shard_with_negative_lengths(place):
    header = {"__metadata__": ABOUT | {"ragged": '["x"]'}, "keys": entry("U8", [1, 32], 0, 32),
              "lengths": entry("I64", [1], 32, 40), "state/x": entry("F32", [1], 40, 44)}  # fmt: skip
    return stored(place, safetensors(header, bytes(32) + struct.pack("<q", -5) + bytes(4)))


@hostile()
def shard_with_lengths_of_texts(place):
    header = {"__metadata__": ABOUT | {"ragged": "5"}, "keys": entry("U8", [1, 32], 0, 32)}
    return stored(place, safetensors(header, bytes(32)))


@hostile()
def shard_whose_metadata_is_nested(place):
    header = {"__metadata__": ABOUT | {"ragged": NESTED}, "keys": entry("U8", [1, 32], 0, 32)}
    return stored(place, safetensors(header, bytes(32)))


@hostile()
def shard_of_a_million_tensors(place):
    header = {str(n): entry("F32", [0], 0, 0) for n in range(300_000)}
    return stored(place, safetensors(header | {"__metadata__": ABOUT}))


@hostile(0)
def shard_of_a_million_tensors_listed(place):
    header = {str(n): entry("F32", [0], 0, 0) for n in range(300_000)}
    return stored(place, safetensors(header | {"__metadata__": ABOUT}), "ls")


@hostile(0)
def shard_listed_without_keys(place):
    return stored(place, safetensors({"__metadata__": ABOUT, "x": entry("F32", [1], 0, 4)}, bytes(4)), "ls")


@hostile(0)
def shard_that_is_a_pipe(place):
    os.mkfifo(cached(place) / f"{'0' * 64}.safetensors")
    return ["cache", "ls"]


@hostile()
def shard_that_is_a_pipe_verified(place):
    os.mkfifo(cached(place) / f"{'0' * 64}.safetensors")
    return ["cache", "verify"]


@hostile()
def shard_that_is_a_link_to_zeros(place):
    (cached(place) / f"{'0' * 64}.safetensors").symlink_to("/dev/zero")
    return ["cache", "verify"]


@hostile(0)
def store_whose_description_is_nested(place):
    header = {"__metadata__": ABOUT, "keys": entry("U8", [1, 32], 0, 32)}
    shard(cached(place, about__json=NESTED.encode()), safetensors(header, bytes(32)))
    return ["cache", "ls"]


@hostile(0)
def store_whose_description_has_odd_types(place):
    header = {"__metadata__": ABOUT, "keys": entry("U8", [1, 32], 0, 32)}
    about = {"stages": 5, "backbone": ["\x1b[2J"], "precision": {"a": 1}}
    shard(cached(place, about__json=json.dumps(about).encode()), safetensors(header, bytes(32)))
    return ["cache", "ls"]


@hostile(0)
def store_whose_description_has_no_end(place):
    header = {"__metadata__": ABOUT, "keys": entry("U8", [1, 32], 0, 32)}
    folder = cached(place)
    shard(folder, safetensors(header, bytes(32)))
    (folder / "about.json").symlink_to("/dev/zero")
    return ["cache", "ls"]


@hostile(0)
def cache_whose_digests_are_nested(place):
    cached(place)
    (place.folder / "cache" / "weights").mkdir()
    place.file("cache/digests.json", NESTED.encode())
    place.file("cache/weights/x-00000000.pth", place.pickled)
    return ["weights", "list"]


@hostile(0)
def cache_with_odd_files_of_weights(place):
    cached(place)
    weights = place.folder / "cache" / "weights"
    weights.mkdir()
    os.mkfifo(weights / "pipe")
    (weights / "zero").symlink_to("/dev/zero")
    (weights / "\x1b[2J").write_bytes(b"x")
    return ["weights", "list"]


@hostile(0)
def cache_of_the_hub_with_odd_files(place):
    place.environ = {"HF_HUB_CACHE": str(place.folder / "hub"), "TL_CACHE": str(place.folder / "cache")}
    for name in ("models--a--b", "models--\x1b[2J--x", "datasets--x", "models--", "spaces--a--b"):
        (place.folder / "hub" / name / "snapshots" / "x").mkdir(parents=True)
    kept = place.folder / "hub" / "models--a--b"
    (kept / "snapshots" / "x" / "w").symlink_to("/dev/zero")
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("../../../..")
    return ["weights", "list"]


# --- data


@hostile((0, 3))
def parquet_with_features_of_nothing(place):
    return features(place, 5)


@hostile((0, 3))
def parquet_with_features_that_are_deep(place):
    return features(place, {"info": {"features": json.loads(DEEP)}})


@hostile((0, 3))
def parquet_with_features_of_an_unknown_kind(place):
    return features(place, {"info": {"features": {"text": {"_type": "os.system"}, "label": {"_type": "__class__"}}}})


@hostile((0, 3))
def parquet_with_features_of_pictures(place):
    return features(place, {"info": {"features": {"text": {"_type": "Image"}, "label": {"_type": "Value",
                    "dtype": "string"}}}})  # fmt: skip


@hostile((0, 3))
def parquet_with_features_of_a_list(place):
    return features(place, {"info": {"features": [1, 2]}})


@hostile((0, 3))
def parquet_with_a_dtype_of_its_own(place):
    return features(place, {"info": {"features": {"text": {"_type": "Value", "dtype": "__import__('os').mkdir('x')"},
                    "label": {"_type": "ClassLabel", "names": 5}}}})  # fmt: skip


@hostile((0, 3))
def parquet_with_arrays_of_its_own(place):
    return features(place, {"info": {"features": {"text": {"_type": "Array2D", "shape": [10**9, 10**9], "dtype": "x"},
                    "label": {"_type": "ClassLabel", "names": ["a"] * 10**6}}}})  # fmt: skip


def features(place, about):
    (place.folder / "set").mkdir()
    table = pyarrow.table({"text": ["good film", "not at all"] * 5, "label": ["good", "bad"] * 5})
    table = table.replace_schema_metadata({"huggingface": json.dumps(about)})
    parquet.write_table(table, place.folder / "set" / "train.parquet")
    return on_data(place, {"source": "dataset", "path": str(place.folder / "set")})


@hostile((0, 3))
def parquet_with_types_that_are_pickled(place):
    storage = {"ARROW:extension:name": "datasets.features.features.Array2DExtensionType",
               "ARROW:extension:metadata": place.pickled}  # fmt: skip
    (place.folder / "set").mkdir()
    fields = [pyarrow.field("text", pyarrow.string(), metadata=storage), pyarrow.field("label", pyarrow.string())]
    parquet.write_table(pyarrow.table([["good"] * 2, ["good", "bad"]], schema=pyarrow.schema(fields)),
                        place.folder / "set" / "train.parquet")  # fmt: skip
    return on_data(place, {"source": "dataset", "path": str(place.folder / "set")})


@hostile((0, 3))
def parquet_with_pandas_that_are_pickled(place):
    table = pyarrow.table({"text": ["good film", "not at all"], "label": ["good", "bad"]})
    table = table.replace_schema_metadata({"pandas": json.dumps({"columns": [{"name": "x", "pandas_type": "object",
        "numpy_type": "object", "metadata": place.pickled.hex()}], "index_columns": [5]})})  # fmt: skip
    parquet.write_table(table, place.folder / "t.parquet")
    return on_data(place, {"source": "table", "path": str(place.folder / "t.parquet")})


@hostile(3)
def parquet_of_pickled_objects(place):
    table = pyarrow.table({"text": [place.pickled] * 4, "label": ["good", "bad"] * 2})
    parquet.write_table(table, place.folder / "t.parquet")
    return on_data(place, {"source": "table", "path": str(place.folder / "t.parquet")})


@hostile(3)
def table_of_pickles(place):
    return on_data(place, {"source": "table", "path": str(place.file("t.csv", place.pickled))})


@hostile(3)
def table_compressed_twice(place):
    import gzip

    return on_data(place, {"source": "table", "path": str(place.file("t.csv.gz", gzip.compress(place.pickled)))})


@hostile(3)
def set_whose_shards_are_links(place):
    (place.folder / "set").mkdir()
    (place.folder / "set" / "train.parquet").symlink_to("/dev/zero")
    return on_data(place, {"source": "dataset", "path": str(place.folder / "set")})


@hostile(3)
def set_whose_shards_are_pipes(place):
    (place.folder / "set").mkdir()
    os.mkfifo(place.folder / "set" / "train.parquet")
    return on_data(place, {"source": "dataset", "path": str(place.folder / "set")})


@hostile(3)
def set_whose_state_has_no_end(place):
    (place.folder / "set").mkdir()
    (place.folder / "set" / "state.json").symlink_to("/dev/zero")
    return on_data(place, {"source": "dataset", "path": str(place.folder / "set")})


@hostile(3)
def set_of_ten_thousand_files_of_one_split(place):
    (place.folder / "set").mkdir()
    table = pyarrow.table({"text": ["good"], "label": ["good"]})
    parquet.write_table(table, place.folder / "set" / "train-00000-of-99999.parquet")
    return on_data(place, {"source": "dataset", "path": str(place.folder / "set")})


# --- the zoo is met


class StopAfter(Stopping):
    """Asks for a stop after so many questions."""

    def __init__(self, questions):
        super().__init__()
        self._left = questions

    def asked(self):
        self._left -= 1
        if self._left < 0:
            self.by = signal.SIGTERM
        return self._left < 0


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Return what is good: as the first zoo has it, a model for pictures, and a run that was stopped."""
    folder = made_good(tmp_path_factory.mktemp("good"))
    text = (folder / "recipe.yaml").read_text()
    adapter = "adapter: {name: fine-tuning, layers: 1}"
    (folder / "longer.yaml").write_text(
        text.replace("adapter: feature-extraction", adapter).replace("epochs: 2", "epochs: 4, checkpoint_steps: 1")
    )
    with pytest.raises(tlcore.errors.Interrupted):
        tlcore.run(folder / "longer.yaml", out=folder / "unfinished", warn=lambda text: None, stopping=StopAfter(4))
    (folder / "pictures.yaml").write_text(json.dumps({
        "task": "image-classification", "data": {"source": "drawn-vehicles", "count": 40},
        "backbone": {"name": "resnet18", "weights": "random", "output": "layer1", "size": 32},
        "adapter": {"name": "feature-extraction"}, "train": {"epochs": 1},
        "evaluate": {"resamples": 0, "probe": False, "report": "none"},
    }))  # fmt: skip
    tlcore.run(folder / "pictures.yaml", out=folder / "pictures", warn=lambda text: None)
    [picture, *_] = sorted((folder / "pictures" / "model" / "self_test").iterdir())
    shutil.copy(picture, folder / "new.png")
    return folder


@pytest.fixture(scope="module")
def met(good, tmp_path_factory):
    return ZOO.met(good, tmp_path_factory.mktemp("zoo"))


def test_the_programs_work_where_nothing_is_wrong(met):
    assert met["nothing_wrong"]["code"] == 0, met["nothing_wrong"]["said"]


@pytest.mark.parametrize("name", ZOO)
def test_what_is_hostile_does_nothing_and_is_refused(met, good, name):
    ZOO.require_refused(met, good, name)
