import csv
import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tl_data import FolderOptions
from tl_data.folder import FolderSource
from tl_data.paths import printable
from tlcore import DataError, Example, Problem


def read(folder):
    return list(FolderSource(FolderOptions(path=folder)).examples())


def examples(folder):
    return [item for item in read(folder) if isinstance(item, Example)]


def problems(folder):
    return {item.id: item for item in read(folder) if isinstance(item, Problem)}


def plant(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def test_a_link_that_leads_nowhere_is_called_so(tmp_path):
    (tmp_path / "data").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match="data is a broken link") as caught:
        read(tmp_path / "data")
    assert str(tmp_path / "gone") in caught.value.where


def test_the_folder_is_the_label_and_the_relative_path_the_id(tmp_path):
    plant(tmp_path, "Cat/deep/er/2.jpg", "Cat/1.jpg", "007/a.jpg", "None/x y.jpg")
    found = examples(tmp_path)
    assert [(e.id, e.label, e.split) for e in found] == [
        ("007/a.jpg", "007", None),
        ("Cat/1.jpg", "Cat", None),
        ("Cat/deep/er/2.jpg", "Cat", None),
        ("None/x y.jpg", "None", None),
    ]
    assert all(e.input.read_text() == e.id for e in found)


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train", "val", "test"), ("test", "train", "validation")),
        (("Training", "dev", "TESTING"), ("test", "train", "validation")),
        (("training", "valid"), ("train", "validation")),
        (("train", "validation"), ("train", "validation")),
    ],
)
def test_split_folders_by_their_usual_names(tmp_path, names, splits):
    plant(tmp_path, *(f"{split}/{label}/1.jpg" for split in names for label in ("a", "b")))
    found = examples(tmp_path)
    assert sorted({e.split for e in found}) == sorted(splits)
    assert {e.label for e in found} == {"a", "b"}


@pytest.mark.parametrize("names", [("train", "car"), ("val", "test"), ("training", "set")])
def test_split_names_among_others_are_classes(tmp_path, names):
    plant(tmp_path, *(f"{name}/1.jpg" for name in names))
    assert {(e.label, e.split) for e in examples(tmp_path)} == {(name, None) for name in names}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("val/a/1.jpg", "val/b/1.jpg", "test/a/1.jpg"), "there is no train folder"),
        (("train/a/1.jpg", "test/a/1.jpg", "notes/1.txt"), "'notes' beside them is none"),
        (("train/a/1.jpg", "test/a/1.jpg", "vaild/a/1.jpg"), "did you mean 'valid'?"),
        (("trian/a/1.jpg", "test/a/1.jpg"), "did you mean 'train'?"),
        (("train/a/1.jpg", "tets/a/1.jpg", "tets/b/1.jpg"), "did you mean 'test'?"),
    ],
)
def test_split_folders_with_a_stranger_beside_them_are_no_classes(tmp_path, files, said):
    plant(tmp_path, *files)
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert said in str(caught.value)


@pytest.mark.parametrize("inner", [("cat/1.jpg", "dog/1.jpg"), ("train/cat/1.jpg", "test/cat/1.jpg")])
def test_a_folder_around_everything_is_named_as_what_to_leave_out(tmp_path, inner):
    plant(tmp_path, *(f"pets/{file}" for file in inner), "__MACOSX/pets/._cat")
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert f"`data.path: {tmp_path / 'pets'}`" in str(caught.value)
    assert len(examples(tmp_path / "pets")) == 2
    plant(tmp_path, "one/a/deep/1.jpg")
    assert {e.label for e in examples(tmp_path / "one")} == {"a"}


def test_a_test_folder_without_its_train_folder_is_no_class(tmp_path):
    plant(tmp_path, "test/cat/1.jpg", "test/dog/1.jpg")
    with pytest.raises(DataError, match="give a train folder beside it"):
        read(tmp_path)


def test_an_empty_split_folder_is_said(tmp_path):
    plant(tmp_path, "train/a/1.jpg", "test/.keep")
    assert "test split is empty" in problems(tmp_path)["test"].reason


@pytest.mark.parametrize("names", [("Cat", "cat"), ("cat", "cat "), ("\u00e9", "e\u0301"), ("cat", "c\u200bat")])
def test_class_folders_that_look_the_same_are_said(tmp_path, names):
    plant(tmp_path, *(f"{name}/1.jpg" for name in names), "dog/1.jpg")
    assert {e.label for e in examples(tmp_path)} == {*names, "dog"}
    assert "different classes" in problems(tmp_path)["."].reason


def test_junk_is_left_out_without_a_word(tmp_path):
    plant(tmp_path, "a/1.jpg", "b/1.jpg", "a/Thumbs.db", "a/desktop.ini", "a/Icon\r", "b/.DS_Store", "b/.hidden/1.jpg")
    plant(tmp_path, "__MACOSX/a/1.jpg", ".git/config", "Thumbs.db")
    assert [item.id for item in read(tmp_path)] == ["a/1.jpg", "b/1.jpg"]


def test_files_outside_class_folders_are_reported(tmp_path):
    plant(tmp_path, "README.txt", "train/a/1.jpg", "train/b/1.jpg", "train/lost.jpg", "test/a/1.jpg")
    assert {id_: p.skipped for id_, p in problems(tmp_path).items()} == {"README.txt": True, "train/lost.jpg": True}
    assert len(examples(tmp_path)) == 3


def test_an_empty_class_is_said(tmp_path):
    plant(tmp_path, "a/1.jpg", "b/1.jpg", "c/.keep")
    problem = problems(tmp_path)["c"]
    assert not problem.skipped
    assert "'c' is empty" in problem.reason


def test_links_that_lead_in_circles_end(tmp_path):
    plant(tmp_path, "a/1.jpg", "b/1.jpg")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "b" / "self").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "other").symlink_to(tmp_path / "a")
    found = problems(tmp_path)
    assert [e.id for e in examples(tmp_path)] == ["a/1.jpg", "b/1.jpg"]
    assert {id_: p.reason.rsplit(": ")[-1] for id_, p in found.items()} == {"a/up": ".", "b/self": "b", "b/other": "a"}
    assert all(p.skipped and "read already" in p.reason for p in found.values())


def test_links_to_files_and_to_folders_elsewhere_are_followed(tmp_path):
    pool = plant(tmp_path / "pool", "1.jpg", "2.jpg")
    plant(tmp_path / "photos", "a/0.jpg")
    (tmp_path / "photos" / "a" / "linked.jpg").symlink_to(pool / "1.jpg")
    (tmp_path / "photos" / "b").symlink_to(pool)
    assert [e.id for e in examples(tmp_path / "photos")] == ["a/0.jpg", "a/linked.jpg", "b/1.jpg", "b/2.jpg"]


def test_what_is_no_readable_file_is_a_problem_of_its_own(tmp_path, monkeypatch):
    plant(tmp_path, "a/1.jpg", "a/locked.jpg", "b/1.jpg")
    (tmp_path / "a" / "dangling.jpg").symlink_to("gone.jpg")
    (tmp_path / "a" / "loop.jpg").symlink_to("pool.jpg")
    (tmp_path / "a" / "pool.jpg").symlink_to("loop.jpg")
    os.mkfifo(tmp_path / "a" / "pipe.jpg")  # opening it would wait for ever
    allowed = os.access  # the tests may run as root, to whom everything is readable
    monkeypatch.setattr(os, "access", lambda path, mode: "locked" not in str(path) and allowed(path, mode))
    found = problems(tmp_path)
    assert set(found) == {"a/dangling.jpg", "a/locked.jpg", "a/loop.jpg", "a/pipe.jpg", "a/pool.jpg"}
    assert all(problem.skipped for problem in found.values())
    assert "broken link" in found["a/dangling.jpg"].reason
    assert "permission" in found["a/locked.jpg"].reason
    assert "not a regular file" in found["a/pipe.jpg"].reason
    assert [e.id for e in examples(tmp_path)] == ["a/1.jpg", "b/1.jpg"]


def test_names_that_are_no_utf8_are_printable_and_still_open(tmp_path):
    plant(tmp_path, "a/1.jpg", "b/tab\there.jpg", "b/new\nline.jpg")
    odd = os.path.join(os.fsencode(tmp_path), b"b", b"latin1_\xe4\xf6.jpg")
    try:
        with open(odd, "wb") as file:
            file.write(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    found = examples(tmp_path)
    assert all(e.id.isprintable() and e.id.encode() and e.input.is_file() for e in found)
    assert len({e.id for e in found}) == 4
    assert "b/latin1_\\udce4\\udcf6.jpg" in {e.id for e in found}


@settings(max_examples=200)
@example(["\udce4", "\\udce4", "\\\\udce4"])
@given(st.lists(st.text(st.characters(exclude_characters="\0/")), unique=True))
def test_different_names_have_different_printable_ones(names):
    shown = [printable(name) for name in names]
    assert len(set(shown)) == len(names)
    assert all(name.isprintable() for name in shown)


def test_the_order_is_that_of_code_points_whatever_the_system_says(tmp_path, monkeypatch):
    plant(tmp_path, "b/1.jpg", "a/10.jpg", "a/2.jpg", "a/Z.jpg", "a/é.jpg", "B/1.jpg")
    expected = ["B/1.jpg", "a/10.jpg", "a/2.jpg", "a/Z.jpg", "a/é.jpg", "b/1.jpg"]
    assert [e.id for e in examples(tmp_path)] == expected
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: sorted(listed(folder), reverse=True))
    assert [e.id for e in examples(tmp_path)] == expected


def test_ids_stay_when_files_are_added(tmp_path):
    plant(tmp_path, "a/2.jpg", "b/1.jpg")
    before = {e.id for e in examples(tmp_path)}
    plant(tmp_path, "a/1.jpg", "aa/1.jpg", "b/0/1.jpg")
    assert before < {e.id for e in examples(tmp_path)}


def test_refusals_say_what_to_do(tmp_path):
    plant(tmp_path, "photos/1.jpg", "split/train/1.jpg", "split/test/a/1.jpg")
    (tmp_path / "empty").mkdir()

    def refusal(name):
        with pytest.raises(DataError) as caught:
            read(tmp_path / name)
        return str(caught.value)

    assert f"did you mean '{tmp_path / 'photos'}'?" in refusal("fotos")
    assert f"did you mean '{tmp_path / 'photos'}'?" in refusal("photo/cats/big")
    assert "is a file, not a folder" in refusal("photos/1.jpg")
    assert "is empty" in refusal("empty")
    assert "no class folders" in refusal("photos")
    assert "cat/1.jpg" in refusal("photos")
    assert f"{tmp_path / 'split' / 'train'} holds 1 files but no class folders" in refusal("split")


def test_a_folder_that_cannot_be_read_stops_the_run(tmp_path, monkeypatch):
    plant(tmp_path, "a/1.jpg", "b/1.jpg")
    listed = os.listdir

    def forbidden(folder):
        if str(folder).endswith("b"):
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(os, "listdir", forbidden)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        read(tmp_path)


EXPECTED = {  # how many examples, how many problems; what else is wrong with them only a task or a backbone can know
    "all_bad_class": (12, 0),
    "empty_class": (12, 1),
    "flat_files": None,
    "nested": (12, 0),
    "same_image_two_classes": (13, 0),
    "test_unknown_class": (18, 0),
}


def test_the_collection_of_bad_folders(bad_inputs):
    with (bad_inputs / "manifest.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        cases = {os.path.basename(row["path"]) for row in csv.DictReader(file) if row["kind"] == "image-folder"}
    assert cases == set(EXPECTED)
    for case, counts in EXPECTED.items():
        if counts is None:
            with pytest.raises(DataError, match="no class folders"):
                read(bad_inputs / "folders" / case)
        else:
            assert (
                len(examples(bad_inputs / "folders" / case)),
                len(problems(bad_inputs / "folders" / case)),
            ) == counts


def test_the_odd_names_and_links_of_the_collection(bad_inputs):
    found = examples(bad_inputs)
    images = [e for e in found if e.label == "images"]
    assert len(images) > 30
    assert all(e.id.isprintable() and e.id.encode() for e in found)
    assert {"images/dirloop/up", "images/dangling.jpg", "images/loop_b.jpg"} <= set(problems(bad_inputs))
    assert not any("Thumbs.db" in e.id for e in found)


@pytest.mark.parametrize(("name", "how"), [("photos.zip", "unzip"), ("photos.tgz", "tar -xf")])
def test_an_archive_is_to_be_unpacked(tmp_path, name, how):
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(DataError, match="is a file, not a folder") as caught:
        list(FolderSource(FolderOptions(path=tmp_path / name)).examples())
    assert f"unpack it ({how})" in caught.value.hint


def test_an_address_is_no_path(tmp_path):
    with pytest.raises(DataError, match=r"https://example.com/photos is an address") as caught:
        list(FolderSource(FolderOptions(path=tmp_path / "https:/example.com/photos")).examples())
    assert "fetch it" in caught.value.hint
