"""Data sets of the library datasets: read as they lie on the disk, and honest about a hub that is not there."""

import io
import json
import os

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Sequence, Value
from huggingface_hub.errors import OfflineModeIsEnabled
from PIL import Image as Picture

from tl_data import DatasetOptions, HubOptions
from tl_data.hub import HubSource
from tl_data.saved import DatasetSource
from tlcore import DataError, Problem, WeightsError

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


@pytest.mark.parametrize("error", [ConnectionError("no route to host\nat all"), TimeoutError("slow")])
def test_a_hub_that_cannot_be_reached_says_how_to_do_without(monkeypatch, error):
    def unreachable(*given, **options):
        raise error

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", unreachable)
    with pytest.raises(WeightsError, match="the hub cannot be reached") as caught:
        list(HubSource(HubOptions(dataset="someone/reviews")).examples())
    assert caught.value.exit_code == 4
    assert "save_to_disk" in caught.value.hint
    assert "source: dataset" in caught.value.hint


def test_from_the_hub_the_commit_is_pinned_and_told(monkeypatch):
    asked = {}

    def load(name, config, *, revision, streaming):
        asked.update(name=name, config=config, revision=revision, streaming=streaming)
        return DatasetDict({"train": rows(3)})

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *a, **k: type("Info", (), {"sha": "abc123"})())
    monkeypatch.setattr("datasets.load_dataset", load)
    found = list(HubSource(HubOptions(dataset="someone/reviews", config="de")).examples())
    assert asked == {"name": "someone/reviews", "config": "de", "revision": "abc123", "streaming": False}
    assert any(isinstance(one, Problem) and "data.revision: abc123" in one.reason for one in found)
    pinned = list(HubSource(HubOptions(dataset="someone/reviews", revision="abc123")).examples())
    assert not [one for one in pinned if isinstance(one, Problem)]


def test_streaming_with_a_limit_reads_only_the_beginning(monkeypatch):
    class Endless:
        features = FEATURES

        def __iter__(self):
            for n in range(10**9):
                assert n < 20, "far more was read than asked for"
                yield {"text": f"text {n}", "label": n % 2, "stars": 1}

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *a, **k: type("Info", (), {"sha": "abc"})())
    monkeypatch.setattr("datasets.load_dataset", lambda *a, **k: {"train": Endless()})
    options = HubOptions(dataset="someone/reviews", streaming=True, limit=10, revision="abc")
    assert len(list(HubSource(options).examples())) == 10


def test_offline_on_purpose_what_was_fetched_is_used(monkeypatch):
    def offline(*given, **options):
        raise OfflineModeIsEnabled("offline")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", offline)
    monkeypatch.setattr("datasets.load_dataset", lambda *a, **k: {"train": rows(2)})
    assert len(list(HubSource(HubOptions(dataset="someone/reviews")).examples())) == 2


def test_a_damaged_arrow_file_is_refused(tmp_path):
    rows(2).save_to_disk(tmp_path / "saved")
    (file,) = (tmp_path / "saved").glob("*.arrow")
    file.write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "saved")
