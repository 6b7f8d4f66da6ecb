"""Hostile safetensors files: every header is checked before memory is allocated."""

import json

import pytest
import torch

from tests.support.hostile import PICKLED, PIPE, accepted, bert, refused, resnet, safetensors, tensors, zipped

pytestmark = pytest.mark.slow

FLOAT = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
BIAS = "embeddings.LayerNorm.bias"


def converted(change):
    """Return a builder: a checkpoint in which every tensor is converted."""
    return bert({"model.safetensors": tensors(lambda old: {name: change(tensor) for name, tensor in old.items()})})


def header(content, body=bytes(4)):
    return resnet(safetensors(content, body), "w.safetensors")


def entry(**keys):
    return header({"conv1.weight": FLOAT | keys})


def metadata(content):
    return header({"__metadata__": content, "conv1.weight": FLOAT})


def followed_by_archive(path):
    safetensors({"conv1.weight": FLOAT}, bytes(4))(path)
    zipped(("archive/data.pkl", PICKLED), prefix=path.read_bytes())(path)


def million_tensors():
    text = json.dumps({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]})
    return ("{" + ",".join(f'"{n}":{text}' for n in range(1_000_000)) + "}").encode()


def many_tensors():
    return {str(n): FLOAT | {"data_offsets": [4 * n, 4 * n + 4]} for n in range(200_000)}


def twice():
    return b'{"conv1.weight": %s, "conv1.weight": %s}' % ((json.dumps(FLOAT).encode(),) * 2)


FOUR_BITS = {"dtype": "F4", "shape": [16], "data_offsets": [0, 8]}
TOO_LARGE = torch.full((16,), 1e300, dtype=torch.float64)
HEADERS = {
    "unknown type": entry(dtype="EVIL"),
    "negative offsets": entry(data_offsets=[-4, 0]),
    "negative shape": entry(shape=[-1]),
    "shape of texts": entry(shape=["1"]),
    "100,000 dimensions": entry(shape=[1] * 100_000),
    "entry that is a number": header({"conv1.weight": 5}),
    "number of 400 digits": header(b'{"conv1.weight": {"dtype": "F32", "shape": [' + b"9" * 400 + b"]}}", b""),
    "list": header([1, 2], b""),
    "metadata of 10 MB": header(
        lambda: {"__metadata__": {str(n): "x" * 1000 for n in range(10_000)}, "conv1.weight": FLOAT}
    ),
    "metadata that is a list": metadata([1]),
    "control characters": metadata({"format": "\x1b[2J<script>"}),
    "reserved name": header({"__proto__": FLOAT}),
    "name of 10 MB": header(lambda: {"a" * 10**7: FLOAT}),
    "NUL in a name": header({"a\0b": FLOAT}),
    "no tensors": header({}, b""),
    "seven bytes": resnet(bytes(7), "w.safetensors"),
    "invalid UTF-8": header(b'{"\xff\xfe": 1}', b""),
    "archive at the end": resnet(followed_by_archive, "w.safetensors"),
    "200,000 tensors": header(many_tensors, bytes(800_000)),
}
CASES = {name: refused(build, "w.safetensors") for name, build in HEADERS.items()} | {
    "100 MB of spaces": refused(header(lambda: b"{}" + b" " * 99_000_000, b""), "the header of w.safetensors"),
    "a million tensors": refused(header(million_tensors, b""), "the header of w.safetensors"),
    "empty tensor of huge shape": refused(
        header({"conv1.weight": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}}, b""), "is empty"
    ),
    "duplicate name": refused(header(twice), "twice"),
    "name that is a path": refused(header({"../../escaped": FLOAT}), "refused: "),
    "pipe": refused(resnet(PIPE, "w.safetensors"), "no weights file"),
    "pickle": refused(bert({"model.safetensors": PICKLED}), "refused: the header of model.safetensors"),
    "complex numbers": refused(converted(lambda tensor: tensor.to(torch.complex64)), "another type"),
    "booleans": refused(converted(lambda tensor: tensor > 0), "another type"),
    "8-bit floats": accepted(converted(lambda tensor: tensor.to(torch.float8_e8m0fnu))),
    "4-bit floats": refused(bert({"model.safetensors": safetensors({BIAS: FOUR_BITS}, bytes(8))})),
    "overflow": refused(bert({"model.safetensors": tensors(lambda old: old | {BIAS: TOO_LARGE})}), "not finite"),
}


@pytest.mark.parametrize("case", CASES)
def test_hostile_tensor_file_is_refused(case, check):
    check(CASES[case])
