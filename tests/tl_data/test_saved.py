"""Data sets of the library datasets that lie on the disk: read as they are, whole, and nothing beside them."""

import io
import json
import os

import pyarrow
import pytest
from datasets import Audio, ClassLabel, Dataset, DatasetDict, Features, Image, Sequence, Value
from PIL import Image as Picture
from pyarrow import parquet

from tl_data import DatasetOptions, HubOptions
from tl_data.hub import HubSource
from tl_data.saved import DatasetSource
from tlcore import DataError, Problem

FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"]), "stars": Value("int64")})


def rows(count, word="text"):
    texts = [f"{word} {n}" for n in range(count)]
    return Dataset.from_dict(
        {"text": texts, "label": [n % 2 for n in range(count)], "stars": [n % 5 for n in range(count)]},
        features=FEATURES,
    )


def read(path, **options):
    found = list(DatasetSource(DatasetOptions(path=path, **options)).examples())
    return [one for one in found if not isinstance(one, Problem)], [one for one in found if isinstance(one, Problem)]


def test_a_saved_data_set_gives_classes_by_name_and_its_splits(tmp_path):
    parts = {"train": rows(6), "dev": rows(3, "dev"), "test": rows(2, "test"), "unsupervised": rows(2, "other")}
    DatasetDict(parts).save_to_disk(tmp_path / "saved")
    found, problems = read(tmp_path / "saved")
    assert [one.split for one in found] == ["train"] * 6 + ["validation"] * 3 + ["test"] * 2
    assert {one.label for one in found} == {"bad", "good"}
    assert found[0].columns == {"stars": "0"}
    assert any("'unsupervised' is not used" in problem.reason for problem in problems)


def test_splits_can_be_named_and_wrong_names_are_refused(tmp_path):
    DatasetDict({"train": rows(4), "new": rows(2, "new")}).save_to_disk(tmp_path / "saved")
    found, _ = read(tmp_path / "saved", splits={"train": "train", "test": "new"})
    assert [one.split for one in found] == ["train"] * 4 + ["test"] * 2
    with pytest.raises(DataError, match="no split 'newer'") as caught:
        read(tmp_path / "saved", splits={"test": "newer"})
    assert "'new'" in caught.value.hint
    with pytest.raises(DataError, match="'dev' is no split of a run"):
        read(tmp_path / "saved", splits={"dev": "new"})


def test_one_data_set_without_splits_leaves_them_to_the_run(tmp_path):
    rows(5).save_to_disk(tmp_path / "saved")
    found, _ = read(tmp_path / "saved", filter={"stars": "3"})
    assert [(one.input, one.split, one.label) for one in found] == [("text 3", None, "good")]


def test_parquet_files_are_read_by_the_splits_in_their_names_with_their_classes(tmp_path):
    (tmp_path / "data").mkdir()
    rows(4).to_parquet(tmp_path / "data" / "train-00000-of-00002.parquet")
    rows(3, "more").to_parquet(tmp_path / "data" / "train-00001-of-00002.parquet")
    rows(2, "held").to_parquet(tmp_path / "data" / "test-00000-of-00001.parquet")
    found, _ = read(tmp_path)
    assert [one.split for one in found].count("train") == 7
    assert [one.input for one in found if one.split == "test"] == ["held 0", "held 1"]
    assert found[1].label == "good"


def test_content_decides_what_is_read_not_an_earlier_reading(tmp_path):
    path = tmp_path / "train.parquet"
    rows(2).to_parquet(path)
    first, _ = read(tmp_path)
    stamp = path.stat()
    rows(2, "next").to_parquet(path)

    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    second, _ = read(tmp_path)
    assert [one.input for one in first] == ["text 0", "text 1"]
    assert [one.input for one in second] == ["next 0", "next 1"]


def test_pictures_come_as_the_bytes_that_are_stored(tmp_path):
    raw = io.BytesIO()
    Picture.new("RGB", (4, 3), (200, 0, 0)).save(raw, "PNG")
    features = Features(
        {"image": Image(), "label": ClassLabel(names=["red"]), "tags": Sequence(ClassLabel(names="xy"))}
    )
    Dataset.from_dict(
        {"image": [{"bytes": raw.getvalue(), "path": None}], "label": [0], "tags": [[1, 0]]}, features=features
    ).save_to_disk(tmp_path / "pictures")
    (one,), _ = read(tmp_path / "pictures", input="image")
    assert one.input == raw.getvalue()
    assert one.label == "red"
    (one,), _ = read(tmp_path / "pictures", input="image", label="tags")
    assert one.label == ("x", "y")


def test_a_data_set_that_names_a_file_outside_of_its_folder_is_refused(tmp_path):
    rows(2).save_to_disk(tmp_path / "saved")
    state = tmp_path / "saved" / "state.json"
    planted = json.loads(state.read_text())
    planted["_data_files"] = [{"filename": "../elsewhere.arrow"}]
    state.write_text(json.dumps(planted))
    with pytest.raises(DataError, match="outside of its folder"):
        read(tmp_path / "saved")


def test_what_is_no_data_set_says_what_to_use(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n")
    with pytest.raises(DataError, match="holds no data set") as caught:
        read(tmp_path)
    assert "source: table" in caught.value.hint
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(DataError, match=r"train\.parquet is damaged"):
        read(tmp_path)


def test_a_damaged_arrow_file_is_refused(tmp_path):
    rows(2).save_to_disk(tmp_path / "saved")
    (file,) = (tmp_path / "saved").glob("*.arrow")
    file.write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "saved")


@pytest.mark.parametrize("form", ["numpy", "arrow", "pandas"])
def test_the_form_a_data_set_was_saved_in_changes_nothing(tmp_path, form):
    rows(4).with_format(form, columns=["label"]).save_to_disk(tmp_path / "saved")
    found, _ = read(tmp_path / "saved")
    assert [(one.input, one.label, one.columns["stars"]) for one in found][:2] == [
        ("text 0", "bad", "0"),
        ("text 1", "good", "1"),
    ]


def test_what_no_library_here_could_decode_is_given_as_its_bytes(tmp_path):
    sounds = Dataset.from_dict({"audio": [{"bytes": b"RIFF", "path": None}], "label": ["x"]})
    sounds.cast_column("audio", Audio()).save_to_disk(tmp_path / "saved")
    (one,), _ = read(tmp_path / "saved", input="audio")
    assert one.input == b"RIFF"


def pictures_by_path(folder, *paths):
    table = pyarrow.table(
        {"image": [{"bytes": None, "path": str(path)} for path in paths], "label": ["x"] * len(paths)}
    )
    parquet.write_table(table, folder / "train.parquet")


def test_files_that_a_data_set_names_lie_in_its_folder_or_in_the_root(tmp_path):
    (tmp_path / "set" / "deep").mkdir(parents=True)
    (tmp_path / "set" / "deep" / "in.png").write_bytes(b"inside")
    (tmp_path / "out.png").write_bytes(b"outside")
    pictures_by_path(tmp_path / "set", "deep/in.png", tmp_path / "out.png", "../out.png", "deep/gone.png")
    found, problems = read(tmp_path / "set", input="image")
    assert [one.input.read_bytes() for one in found] == [b"inside"]
    assert [problem.reason.split(":")[0] for problem in problems] == [
        f"its path leads out of {tmp_path / 'set'}",
        f"its path leads out of {tmp_path / 'set'}",
        "there is no file deep/gone.png",
    ]
    found, _ = read(tmp_path / "set", input="image", root=tmp_path)
    assert [one.input.read_bytes() for one in found] == [b"outside"]


def test_a_picture_has_one_id_as_bytes_and_as_a_file(tmp_path):
    for name in ("bytes", "file"):
        (tmp_path / name).mkdir()
    (tmp_path / "file" / "a.png").write_bytes(b"picture")
    pictures_by_path(tmp_path / "file", "a.png")
    table = pyarrow.table({"image": [{"bytes": b"picture", "path": "b.png"}], "label": ["x"]})
    parquet.write_table(table, tmp_path / "bytes" / "train.parquet")
    ((one,), _), ((other,), _) = (read(tmp_path / name, input="image") for name in ("bytes", "file"))
    assert one.id == other.id


def test_a_split_of_which_a_file_is_missing_is_refused(tmp_path):
    rows(4).to_parquet(tmp_path / "train-00000-of-00003.parquet")
    rows(4).to_parquet(tmp_path / "train-00002-of-00003.parquet")
    with pytest.raises(DataError, match="1 of 3 files of train are missing") as caught:
        read(tmp_path)
    assert "train-00001-of-00003.parquet" in caught.value.where


def test_two_configurations_are_never_read_as_one(tmp_path):
    for config in ("de", "en"):
        (tmp_path / config).mkdir()
        rows(3, config).to_parquet(tmp_path / config / "train-00000-of-00001.parquet")
    with pytest.raises(DataError, match="holds several data sets: de, en"):
        read(tmp_path)
    assert [one.input for one in read(tmp_path / "de")[0]] == ["de 0", "de 1", "de 2"]
    found = HubSource(HubOptions(dataset=str(tmp_path), config="en")).examples()
    assert [one.input for one in found if not isinstance(one, Problem)] == ["en 0", "en 1", "en 2"]
    with pytest.raises(DataError, match="no configuration 'eng'") as caught:
        list(HubSource(HubOptions(dataset=str(tmp_path), config="eng")).examples())
    assert "'en'" in caught.value.hint


def test_split_folders_hidden_files_and_unusual_splits(tmp_path):
    for name in ("data/train/0.parquet", "data/train/1.parquet", "data/test/0.parquet", ".cache/train.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        rows(2, name).to_parquet(tmp_path / name)
    rows(2, "other").to_parquet(tmp_path / "data" / "unsupervised-00000-of-00001.parquet")
    found, problems = read(tmp_path)
    assert sorted({(one.input[:-2], one.split) for one in found}) == [
        ("data/test/0.parquet", "test"), ("data/train/0.parquet", "train"), ("data/train/1.parquet", "train")
    ]  # fmt: skip
    assert any("'unsupervised' is not used" in problem.reason for problem in problems)


def test_files_of_different_columns_are_not_mixed(tmp_path):
    rows(2).to_parquet(tmp_path / "train-a.parquet")
    Dataset.from_dict({"text": [1], "label": ["x"]}).to_parquet(tmp_path / "train-b.parquet")
    with pytest.raises(DataError, match="split train have different columns"):
        read(tmp_path)


def test_a_split_that_nobody_labelled_is_refused_with_the_way_out(tmp_path):
    unlabelled = Dataset.from_dict({"text": ["a", "b"], "label": [-1, -1], "stars": [0, 0]}, features=FEATURES)
    DatasetDict({"train": rows(30), "test": unlabelled}).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match="no row of the test split has a label") as caught:
        read(tmp_path / "saved")
    assert "data.splits" in caught.value.hint
    assert len(read(tmp_path / "saved", splits={"train": "train"})[0]) == 30
    assert len(read(tmp_path / "saved", labelled=False)[0]) == 32


@pytest.mark.parametrize("planted", ["../elsewhere", "..", "/elsewhere", 3])
def test_splits_outside_of_the_folder_are_refused(tmp_path, planted):
    DatasetDict({"train": rows(2)}).save_to_disk(tmp_path / "saved")
    rows(2).save_to_disk(tmp_path)
    (tmp_path / "saved" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", planted]}))
    with pytest.raises(DataError, match="outside of its folder"):
        read(tmp_path / "saved")


def test_features_that_make_no_sense_are_refused(tmp_path):
    table = pyarrow.table({"text": ["a"], "label": [0]})
    for planted in (b"{", b'{"info": {"features": {"label": {"_type": "Nonsense"}}}}', b'{"info": 3}'):
        parquet.write_table(table.replace_schema_metadata({"huggingface": planted}), tmp_path / "train.parquet")
        with pytest.raises(DataError, match=r"train\.parquet is damaged"):
            read(tmp_path)
