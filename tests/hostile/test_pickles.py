"""Pickles and archives in every disguise, where weights are loaded: none is unpickled."""

import gzip
import io
import pickle
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy
import pytest
import torch

from tests.support.hostile import GONE, PICKLED, ZEROS, Planted, bert, put, refused, resnet, zipped

pytestmark = pytest.mark.slow

NO_TENSORS = ("archive/data.pkl", pickle.dumps({}))
PICKLE = ("archive/data.pkl", PICKLED)
VERSION = ("archive/version", b"3\n")
CONSTANTS = ("archive/constants.pkl", PICKLED)
CODE = ("archive/code/__torch__.py", b"import os")


def saved(make):
    """Return a builder: the weights of a ResNet from what `torch.save` writes."""

    def write(path):
        with warnings.catch_warnings(action="ignore"):
            torch.save(make(), path)

    return resnet(write)


def tar(*names):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(PICKLED)
            archive.addfile(member, io.BytesIO(PICKLED))
    return content.getvalue()


def torch_script(path):
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), path)


def compressed(path):
    """Write an archive that unpacks to 50 MB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(*NO_TENSORS)
        with archive.open("archive/data/0", "w") as member:
            for _ in range(50):
                member.write(bytes(2**20))


def overlapping(path):
    """Write an archive whose directory lists one megabyte as two thousand members."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(*NO_TENSORS)
        archive.writestr("archive/data/0", bytes(2**20))
        original = archive.infolist()[1]
        for n in range(2000):
            member = zipfile.ZipInfo(f"archive/data/{n + 1}")
            for name in ("file_size", "compress_size", "CRC", "header_offset"):
                setattr(member, name, getattr(original, name))
            archive.filelist.append(member)


def doubling():
    """Return a pickle of which each step holds the one before twice: 2**60 in all."""
    return b"\x80\x02]q\x00" + b"".join(b"]q%c(h%ch%ce" % (n + 1, n, n) for n in range(60)) + b"."


def recursive():
    table = {}
    table["state_dict"] = table
    return table


def folder_of_accelerate(work):
    for name in ("custom_checkpoint_0.pkl", "random_states_0.pkl", "optimizer.bin"):
        work.put(f"w/{name}", PICKLED)
    return resnet(lambda path: None, "w")(work)


def quantized():
    return {"conv1.weight": torch.quantize_per_tensor(torch.zeros(64, 3, 7, 7), 0.1, 0, torch.quint8)}


def bert_pickle(content):
    return bert({"model.safetensors": GONE, "pytorch_model.bin": content})


OBJECTS = numpy.array([Planted()], dtype=object)
PICKLES = {
    "BERT pickle": (bert_pickle(PICKLED), "refused: pytorch_model.bin"),
    "BERT archive with an object": (
        bert_pickle(lambda path: torch.save({"a": torch.zeros(1), "b": Planted()}, path)),
        "refused: pytorch_model.bin",
    ),
    "pickle": (resnet(PICKLED, "w.pth"), "refused: w.pth"),
    "protocol 0": (resnet(pickle.dumps(Planted(), protocol=0)), "refused: w.pt "),
    "zip": (resnet(zipped(PICKLE, VERSION), "w.pth"), "refused: w.pth"),
    "tar": (resnet(tar("pickle", "storages", "tensors", "../../escaped"), "w.pth"), "refused: w.pth"),
    "TorchScript": (resnet(torch_script), "refused: w.pt"),
    "zip after a pickle": (resnet(zipped(PICKLE, VERSION, prefix=PICKLED)), "refused: w.pt"),
    "zip after a tar": (resnet(zipped(PICKLE, prefix=tar("pickle"))), "refused: w.pt"),
    "two pickles": (resnet(zipped(NO_TENSORS, PICKLE, VERSION)), "refused: w.pt"),
    "code": (resnet(zipped(NO_TENSORS, CONSTANTS, CODE)), "refused: w.pt"),
    "5 million steps": (resnet(lambda path: put(path, b"\x80\x02" + b"]" * 5_000_000 + b".")), "refused: w.pt"),
    "nested lists": (resnet(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."), "w.pt"),
    "doubling lists": (resnet(doubling()), "w.pt"),
    "compressed archive": (resnet(compressed), "compressed members"),
    "overlapping members": (resnet(overlapping), "more than the file"),
    "gzip": (resnet(gzip.compress(PICKLED)), "no file of torch"),
    "tensor of one repeated number": (
        saved(lambda: {"conv1.weight": torch.zeros(1).expand(2**20, 2**20)}),
        "do not fit resnet18",
    ),
    "table in itself": (saved(recursive), "w.pt"),
    "sparse tensor": (saved(lambda: {"conv1.weight": torch.eye(4).to_sparse()}), "w.pt"),
    "tensor without data": (saved(lambda: {"conv1.weight": torch.empty(10**6, 10**6, device="meta")}), "w.pt"),
    "quantized tensor": (saved(quantized), "w.pt"),
    "names that are numbers": (saved(lambda: {1: torch.zeros(1)}), "w.pt"),
    "link to /dev/zero": (resnet(ZEROS), ""),
    "link to itself": (resnet(Path("w.pt")), ""),
}
OTHER_FORMATS = {
    "w.npy": lambda path: numpy.save(path, OBJECTS, allow_pickle=True),
    "w.joblib": PICKLED,
    "w.onnx": b"\x08\x07\x12\x04evil:\x10location\x12../../../etc/passwd",
    "w.keras": zipped(("config.json", b'{"class_name": "Lambda"}')),
}
CASES = {name: refused(build, message) for name, (build, message) in PICKLES.items()}
CASES |= {
    name: refused(resnet(content, name), "no .safetensors, .pt, .pth or .bin file")
    for name, content in OTHER_FORMATS.items()
}
CASES |= {"checkpoint of Accelerate": refused(folder_of_accelerate, "without the model of a finished run", 2)}


@pytest.mark.parametrize("case", CASES)
def test_pickle_is_refused(case, check):
    check(CASES[case])
