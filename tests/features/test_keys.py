"""What a state is known by: everything that decides it, and nothing else."""

import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tlcore import View
from tlcore.features.keys import _source_digest, namespace_of, state_key


class Two:
    def __init__(self, stages=("one", "two"), **preparation):
        self.stages = {name: nn.Identity() for name in stages}
        self.preparation = preparation


def digest(backbone=None, line=1, **changed):
    given = {"name": "p/two", "weights": "w", "precision": "fp32", "libraries": {"torch": "2.10"}, **changed}
    return namespace_of(backbone or Two(size=32), line, **given).digest


@pytest.mark.parametrize(
    "changed",
    [
        {"backbone": Two(size=64)},
        {"backbone": Two(size=32, mean=[0.5])},
        {"backbone": Two(("one", "three", "two"), size=32), "line": 2},
        {"line": 2},
        {"name": "q/two"},
        {"weights": "v"},
        {"precision": "bf16"},
        {"libraries": {"torch": "2.11"}},
        {"libraries": {"torch": "2.10", "pillow": "13.0"}},
    ],
)
def test_whatever_decides_a_state_makes_another_namespace(changed):
    assert digest(**changed) != digest()


@pytest.mark.parametrize(
    "backbone", [Two(size=32), Two(size=32, augment={"flip": True}), Two(("one", "other"), size=32)]
)
def test_what_decides_nothing_makes_none(backbone):
    """How examples are augmented is in the key of a version; stages above the line decide nothing."""
    assert digest(backbone) == digest()


@given(st.binary(min_size=32, max_size=32), st.integers(0, 3), st.integers(0, 3), st.sampled_from(["a", "b", None]))
def test_a_version_is_known_by_content_seed_number_and_how_it_is_augmented(content, seed, number, augment):
    plain = state_key(content.hex(), None)
    version = state_key(content.hex(), View(seed, number), augment)
    another = bytes([content[0] ^ 1]) + content[1:]
    assert plain == content
    assert len(version) == 32
    assert version not in {
        plain,
        state_key(content.hex(), View(seed + 1, number), augment),
        state_key(content.hex(), View(seed, number + 1), augment),
        state_key(content.hex(), View(seed, number), "another way"),
        state_key(another.hex(), View(seed, number), augment),
    }
    assert version == state_key(content.hex(), View(seed, number), augment)


class Scaled(nn.Module):
    def __init__(self, factor, kept=1.0, mode="plain"):
        super().__init__()
        self.factor = factor
        self.mode = mode
        self.register_buffer("kept", torch.tensor(kept), persistent=False)


@pytest.mark.parametrize("other", [Scaled(3.0), Scaled(2.0, kept=5.0), Scaled(2.0, mode="other"), nn.Identity()])
def test_what_no_saved_tensor_shows_makes_another_namespace(other):
    first, second = Two(), Two()
    first.stages["one"], second.stages["one"] = Scaled(2.0), other
    again = Two()
    again.stages["one"] = Scaled(2.0).eval()
    assert digest(first) == digest(again) != digest(second)
    second.stages = {"one": Scaled(2.0), "two": other}
    assert digest(first) == digest(second)  # above the line it decides nothing


def test_a_plugin_whose_code_changed_without_a_new_version_has_another_namespace(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "__init__.py").write_text("")
    (tmp_path / "strange" / "network.py").write_text(
        "class Net:\n    preparation = {}\n    def __init__(self, stages):\n        self.stages = stages\n"
    )
    (tmp_path / "strange" / "pixels.py").write_text("SIZE = 1\n")
    from strange.network import Net

    def now():
        _source_digest.cache_clear()  # as a new process would begin
        return digest(Net({"one": nn.Identity()}))

    try:
        before = now()
        (tmp_path / "strange" / "pixels.py").write_text("SIZE = 2\n")
        assert now() != before
        (tmp_path / "strange" / "pixels.py").write_text("SIZE = 1\n")
        assert now() == before
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "strange"]:
            del sys.modules[name]
