"""What makes two inputs the same."""

import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tlcore import UnreadableError
from tlcore.data.digests import content_digest


def test_a_file_is_its_bytes_whatever_its_name(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"pixels")
    (tmp_path / "b.png").write_bytes(b"pixels")
    os.utime(tmp_path / "b.png", (1, 1))
    assert content_digest(tmp_path / "a.jpg") == content_digest(tmp_path / "b.png") == content_digest(b"pixels")
    (tmp_path / "b.png").write_bytes(b"pixelt")
    assert content_digest(tmp_path / "a.jpg") != content_digest(tmp_path / "b.png")


@given(st.text(), st.text())
def test_texts_are_the_same_only_if_equal(one, other):
    assert (content_digest(one) == content_digest(other)) == (one == other)


def test_kinds_do_not_mix():
    assert len({content_digest("1"), content_digest(b"1"), content_digest(1), content_digest([1])}) == 4


def test_numbers_and_arrays_have_content():
    assert content_digest((1.0, 2.0)) == content_digest([1.0, 2.0]) != content_digest([1.0, 3.0])
    assert content_digest(torch.ones(2).numpy()) != content_digest(torch.zeros(2).numpy())


def test_a_pipe_is_refused_rather_than_read_for_ever(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableError, match="not a regular file"):
        content_digest(tmp_path / "pipe")


def test_a_thing_without_content_is_refused():
    with pytest.raises(UnreadableError, match="type object"):
        content_digest(object())


def test_an_array_of_objects_has_no_content():
    """Its bytes are where the objects happen to lie."""
    import numpy

    with pytest.raises(UnreadableError, match="ndarray"):
        content_digest(numpy.array(["a", None], dtype=object))
