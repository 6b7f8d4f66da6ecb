"""A lock file says which files of weights are meant; a file that is another one is refused, wherever it lies."""

import contextlib
import json
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcore import RecipeWarning, WeightsError
from tlcore.weights.lock import lock_beside, lock_of, read_lock, verify_used, write_lock
from tlcore.weights.sources import FileUse


def files(folder, **contents):
    """Write files; a double underscore stands for a slash."""
    uses = []
    for name, content in contents.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        uses.append(FileUse(path, "hub someone/network@1"))
    return uses


def test_files_of_one_name_are_each_compared_with_all_of_that_name(tmp_path):
    used = files(tmp_path / "a", config="one", pooling__config="two")
    lock = tmp_path / "r.lock.json"
    assert len(write_lock(lock, used)) == 2
    verify_used(lock, used)
    verify_used(lock, files(tmp_path / "b", config="one", pooling__config="two"))
    with pytest.raises(WeightsError, match=r"not those that r.lock.json locks") as caught:
        verify_used(lock, files(tmp_path / "c", config="one", pooling__config="three"))
    assert str(tmp_path / "c" / "pooling" / "config") in caught.value.where
    assert str(tmp_path / "c" / "config:") not in caught.value.where


def test_a_file_that_is_not_locked_is_noted(tmp_path):
    lock = tmp_path / "r.lock.json"
    write_lock(lock, files(tmp_path, a="one"))
    with pytest.warns(RecipeWarning, match="not among those that r.lock.json locks"):
        verify_used(lock, files(tmp_path, b="one"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        verify_used(lock, [])


def test_every_kind_of_change_has_its_reason(tmp_path):
    (same, longer, other, gone) = files(tmp_path, same="abc", longer="abc", other="abc", gone="abc")
    write_lock(tmp_path / "l", [same, longer, other, gone])
    longer.path.write_text("abcd")
    other.path.write_text("abd")
    gone.path.unlink()
    faults = [one.fault() for one in read_lock(tmp_path / "l")]
    assert faults[0] is None
    assert [fault.split(":")[0] for fault in faults[1:]] == ["changed", "changed", "missing"]


def test_the_lock_of_a_recipe_lies_beside_it(tmp_path):
    assert lock_beside(tmp_path / "a.b.yaml") == tmp_path / "a.b.lock.json"
    assert lock_of(tmp_path / "r.yml") == tmp_path / "r.lock.json"
    assert lock_of(tmp_path / "r.lock.json") == tmp_path / "r.lock.json"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["path", "size", "files"]), inner),
    max_leaves=8,
)


@given(st.fixed_dictionaries({"format": st.just(1) | ANYTHING, "files": ANYTHING}) | ANYTHING)
def test_whatever_stands_in_a_lock_it_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("lock") / "l.lock.json"
    path.write_text(json.dumps(content))
    with contextlib.suppress(WeightsError):
        assert isinstance(read_lock(path), list)
