"""Ten ways in which weights go wrong, for a network of torchvision and for a BERT: each is refused by name."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import tl_vision
from tl_text import BertOptions
from tl_text.bert import Bert
from tl_text.checkpoint import opened, write_tiny
from tl_vision.network import PictureNetwork
from tlcore import WeightsError

RESNET = {spec.name: spec for spec in tl_vision.tl_backbones()}["resnet18"]


@pytest.fixture(scope="module")
def picture_weights(tmp_path_factory):
    """Return a file of torchvision's names for resnet18, with its last layer."""
    torch.manual_seed(1)
    drawn = PictureNetwork("resnet18", RESNET.options(weights="random", size=32), None)
    tensors = {key: value for stage in drawn.stages.values() for key, value in stage.state_dict().items()}
    path = tmp_path_factory.mktemp("pictures") / "resnet18.safetensors"
    save_file(tensors | {"fc.weight": torch.zeros(5, 512), "fc.bias": torch.zeros(5)}, path)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Return the folder of a tiny BERT."""
    folder = tmp_path_factory.mktemp("texts") / "bert"
    write_tiny(folder)
    return folder


@pytest.fixture(params=["torchvision", "bert"])
def network(request, picture_weights, checkpoint, tmp_path):
    """Return a file of weights, how the network is built from it, a matrix, a vector and a layer of it."""
    if request.param == "torchvision":
        path = shutil.copy(picture_weights, tmp_path / "w.safetensors")
        options = RESNET.options(weights=path, size=32)
        return path, lambda: PictureNetwork("resnet18", options, None), "layer2.0.conv1.weight", "bn1.bias", "layer3.1."
    folder = shutil.copytree(checkpoint, tmp_path / "bert")
    matrix, vector = "encoder.layer.0.intermediate.dense.weight", "embeddings.LayerNorm.bias"
    build = lambda: Bert(BertOptions(weights=folder), opened(folder))  # noqa: E731
    return folder / "model.safetensors", build, matrix, vector, "encoder.layer.1."


def without(tensors, start):
    return {key: value for key, value in tensors.items() if not key.startswith(start)}


DAMAGE = {
    "a layer is missing": (lambda t, matrix, vector, layer: without(t, layer), "layer"),
    "a tensor is missing": (lambda t, matrix, vector, layer: without(t, matrix), "matrix"),
    "all names have a prefix": (lambda t, *names: {f"module.{key}": value for key, value in t.items()}, "vector"),
    "a tensor has another name": (
        lambda t, matrix, vector, layer: without(t, vector) | {f"{vector}_new": t[vector]},
        "vector",
    ),
    "a value is not a number": (
        lambda t, matrix, vector, layer: t | {vector: torch.full_like(t[vector], float("nan"))},
        "vector",
    ),
    "a value is infinite in half precision": (
        lambda t, matrix, vector, layer: t | {vector: (t[vector].double() + 1e300)},
        "vector",
    ),
    "it is empty": (lambda t, *names: {"nothing": torch.zeros(1)}, "vector"),
    "a matrix is transposed": (
        lambda t, matrix, vector, layer: t | {matrix: t[matrix].transpose(0, 1).contiguous()},
        "matrix",
    ),
    "a vector is of whole numbers": (
        lambda t, matrix, vector, layer: t | {vector: torch.zeros_like(t[vector], dtype=torch.int64)},
        "vector",
    ),
    "a vector is too long": (lambda t, matrix, vector, layer: t | {vector: torch.zeros(77)}, "vector"),
    "something is left over": (lambda t, matrix, vector, layer: t | {f"{layer}extra.weight": torch.zeros(3)}, "layer"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_weights_are_refused_with_the_names_of_what_is_wrong(network, damage):
    path, build, *names = network
    change, named = DAMAGE[damage]
    save_file(change(load_file(path), *names), path)
    with pytest.raises(WeightsError) as caught:
        build()
    assert dict(zip(("matrix", "vector", "layer"), names, strict=True))[named].removesuffix(".") in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 25


@pytest.mark.parametrize("share", [0.5, 0.99, 0.9999])
def test_truncated_weights_are_refused(network, share):
    path, build, *_ = network
    raw = path.read_bytes()
    path.write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(WeightsError, match=r"is damaged|claims"):
        build()


def test_only_the_head_may_be_missing_or_another(network):
    path, build, *_ = network
    first = build()
    tensors = load_file(path)
    save_file(
        without(tensors, "fc.") | ({} if "conv1.weight" in tensors else {"pooler.dense.bias": torch.zeros(9)}), path
    )
    again = build()
    for name, stage in first.stages.items():
        for key, value in stage.state_dict().items():
            assert torch.equal(value, again.stages[name].state_dict()[key])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda words: [*words, "more"], "ids up to 14, the network knows 14"),
        (lambda words: [*words[:5], *reversed(words[5:])], "tokenizer.json and vocab.txt are of different networks"),
    ],
)
def test_a_foreign_tokenizer_is_refused(checkpoint, tmp_path, change, said):
    from tl_text.tokenizing import read_tokenizer

    folder = shutil.copytree(checkpoint, tmp_path / "bert")
    words = (folder / "vocab.txt").read_text().split("\n")
    (folder / "vocab.txt").write_text("\n".join(change(words)))
    foreign = read_tokenizer(folder / "vocab.txt").to_str()
    (folder / "vocab.txt").write_text("\n".join(words))
    (folder / "tokenizer.json").write_text(foreign)
    with pytest.raises(WeightsError, match=said):
        opened(folder)


def test_a_tokenizer_of_far_fewer_words_is_refused(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "bert")
    for count, padding in ((14 + 511, True), (14 + 512, False)):
        config = json.loads((folder / "config.json").read_text()) | {"vocab_size": count}
        (folder / "config.json").write_text(json.dumps(config))
        if padding:
            opened(folder)
        else:
            with pytest.raises(WeightsError, match="ids up to 13, the network knows 526"):
                opened(folder)


def test_a_length_beyond_the_places_of_the_network_is_refused(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "bert")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 512}')
    with pytest.raises(WeightsError, match="says 512 tokens, the network has 32 places"):
        opened(folder)
