"""Examples held in few bytes are the examples that the source gave."""

import copy
from pathlib import Path

import pytest

from tlcore import Example
from tlcore.data.compact import Digests, held, place


@pytest.mark.parametrize(
    ("id_", "path"),
    [
        ("cat/1.jpg", Path("/photos/cat/1.jpg")),
        ("cat/1.jpg", Path("cat/1.jpg")),
        ("1.jpg", Path("/1.jpg")),
        ("1.jpg", Path("photos/x1.jpg")),
        ("another", Path("photos/1.jpg")),
    ],
)
def test_a_file_example_gives_the_path_that_it_was_made_of(id_, path):
    given = Example(id_, path, "cat", "train", None, {"weight": 3})
    found = held(given, {})
    assert found.input == path
    assert found == given == found
    assert copy.deepcopy(found).input == path
    place(found, "test")
    assert (found.split, found.columns) == ("test", {"weight": 3})
    assert found != given


def test_what_is_held_of_a_file_does_not_grow_with_it():
    one, two = (held(Example(f"cat/{n}.jpg", Path(f"/photos/cat/{n}.jpg"), "cat"), {}) for n in range(2))
    stored = Example.__dict__["input"]
    assert stored.__get__(one) is stored.__get__(two)


def test_digests_are_held_as_bytes_and_read_as_text():
    digests = Digests()
    digests["a"] = "0f" * 32
    assert (digests["a"], digests.raw("a"), dict(digests)) == ("0f" * 32, b"\x0f" * 32, {"a": "0f" * 32})
