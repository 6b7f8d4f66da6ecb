"""Files of tensors are read without running anything, or refused."""

import contextlib
import io
import json
import os
import pickle
import struct
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from tlcore import WeightsError
from tlcore.weights.loading import read_tensors


class Planted:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def safetensors(header, body=b""):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + body


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10**9) + b"{}",
        safetensors(b"not json"),
        safetensors(b"[]"),
        safetensors(b"[" * 100_000),
        safetensors(b'{"a": %s, "a": %s}' % ((json.dumps(ENTRY).encode(),) * 2), bytes(4)),
        safetensors({"a": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}}),
        safetensors({"a": ENTRY}, bytes(3)),
        safetensors({"a": ENTRY}, bytes(5)),
        safetensors({"a": {**ENTRY, "data_offsets": [4, 0]}}, bytes(4)),
        safetensors({"a": {**ENTRY, "shape": "abc"}}, bytes(4)),
        safetensors({"a": {**ENTRY, "shape": None}}, bytes(4)),
        safetensors({"a": {**ENTRY, "shape": [-1]}}, bytes(4)),
        safetensors({"a": 5}, bytes(4)),
    ],
)
def test_a_damaged_safetensors_file_is_refused(tmp_path, content):
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="refused"):
        read_tensors(tmp_path / "w.safetensors")


def test_good_files_of_both_kinds_are_read(tmp_path):
    tensors = {"a": torch.randn(3, 2), "b": torch.arange(4)}
    save_file(tensors, tmp_path / "w.safetensors")
    torch.save(tensors, tmp_path / "w.pt")
    torch.save({"state_dict": tensors}, tmp_path / "w.bin")
    for name in ("w.safetensors", "w.pt", "w.bin"):
        found = read_tensors(tmp_path / name)
        assert all(torch.equal(found[key], value) for key, value in tensors.items())


@pytest.mark.parametrize("environ", [{}, {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_planted_object_never_runs(tmp_path, monkeypatch, environ, legacy):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "w.pth"
    if legacy:
        path.write_bytes(pickle.dumps({"a": Planted(tmp_path / "ran")}))
    else:
        torch.save({"a": torch.zeros(1), "b": Planted(tmp_path / "ran")}, path)
    with pytest.raises(WeightsError, match="refused"):
        read_tensors(path)
    assert not (tmp_path / "ran").exists()


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused(tmp_path):
    plain = io.BytesIO()
    torch.save({"a": torch.zeros(1000)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    with pytest.raises(WeightsError, match="compressed members"):
        read_tensors(tmp_path / "w.pt")


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
    st.floats(0.2, 1),
    st.sampled_from(["w.pt", "w.safetensors"]),
)
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path, changes, end, name):
    tensors = {"a": torch.ones(9), "b": torch.arange(4)}
    (torch.save if name == "w.pt" else save_file)(tensors, tmp_path / name)
    raw = bytearray((tmp_path / name).read_bytes())
    for place, value in changes:
        raw[min(int(place * len(raw)), len(raw) - 1)] = value
    (tmp_path / name).write_bytes(raw[: int(end * len(raw))])
    with contextlib.suppress(WeightsError):
        read_tensors(tmp_path / name)


def test_an_archive_without_its_directory_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pt")
    raw = (tmp_path / "w.pt").read_bytes()
    (tmp_path / "w.pt").write_bytes(raw.replace(b"PK\x01\x02", b"XXXX"))
    with pytest.raises(WeightsError, match="refused"):
        read_tensors(tmp_path / "w.pt")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "tensor",
    [torch.eye(3).to_sparse(), torch.eye(3).to_sparse_csr(), torch.zeros(3, device="meta")],
    ids=["sparse", "rows", "meta"],
)
def test_a_tensor_that_is_not_dense_is_refused_by_its_name(tmp_path, tensor):
    torch.save({"a": tensor}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"tensor \'a\' of w\.pt is not dense"):
        read_tensors(tmp_path / "w.pt")


@pytest.mark.parametrize("content", [5, [torch.zeros(1)], {"a": "text"}, {1: torch.zeros(1)}])
def test_something_else_than_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="no table of named tensors"):
        read_tensors(tmp_path / "w.pt")
