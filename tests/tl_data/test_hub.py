"""Data sets of the hub: pinned, streamed, and honest about a hub that is not there."""

import errno
import os
import subprocess
import sys
import warnings

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, IterableDataset, Value
from datasets.exceptions import DataFilesNotFoundError, DatasetGenerationError
from huggingface_hub.errors import OfflineModeIsEnabled

from tl_data import HubOptions
from tl_data.hub import HubSource
from tlcore import DataError, Example, Problem, ResourceError, UsageError, WeightsError
from tlcore.data.dataset import split_examples

FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"]), "lang": Value("string")})


def rows(count):
    columns = {"text": [f"text {n}" for n in range(count)], "label": [n % 2 for n in range(count)]}
    return Dataset.from_dict({**columns, "lang": ["de"] * count}, features=FEATURES)


def read(**options):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = list(HubSource(HubOptions(**options)).examples())
    examples, problems = ([one for one in found if isinstance(one, kind)] for kind in (Example, Problem))
    return examples, [one.reason for one in problems], [str(one.message) for one in said]


@pytest.fixture
def hub(monkeypatch):
    """A hub with one data set at commit abc123, which a test sets; it remembers what it was asked for."""

    class Hub:
        dataset = DatasetDict({"train": rows(3)})
        asked = None

        def info(self, api, name, *, revision, timeout):
            assert timeout <= 5
            return type("Info", (), {"sha": "abc123"})

        def load(self, name, config, *, revision, streaming):
            self.asked = (name, config, revision, streaming)
            if isinstance(self.dataset, Exception):
                raise self.dataset
            return self.dataset

    hub = Hub()
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *a, **k: hub.info(*a, **k))
    monkeypatch.setattr("datasets.load_dataset", hub.load)
    return hub


def test_without_a_commit_the_newest_is_read_and_told(hub):
    found, problems, said = read(dataset="someone/reviews", config="de")
    assert hub.asked == ("someone/reviews", "de", "abc123", False)
    assert len(found) == 3
    assert any("data.revision: abc123" in reason for reason in problems)
    assert any("names no commit of someone/reviews" in text and "abc123" in text for text in said)
    assert read(dataset="someone/reviews", revision="abc123")[1:] == ([], [])


def test_the_warning_becomes_a_note_of_the_run(hub):
    hub.dataset = DatasetDict({"train": rows(40)})
    source = HubSource(HubOptions(dataset="someone/reviews"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = split_examples(source, shares={"validation": 0.2, "test": 0.2}, max_bad=None)
    assert any("data.revision names no commit" in note for note in dataset.notes)


def endless(**columns):
    def rows():
        for n in range(10**9):
            assert n < 1000, "far more was read than asked for"
            yield {"text": f"text {n}", "label": n % 2, "lang": "de" if n % 3 else "en"}

    return IterableDataset.from_generator(rows, **columns)


@pytest.mark.parametrize("features", [FEATURES, None])
def test_streaming_with_a_limit_reads_only_the_beginning_that_passes_the_filter(hub, features):
    hub.dataset = {"train": endless(features=features)}
    found, _, said = read(dataset="a/b", revision="abc", streaming=True, limit=10, filter={"lang": "en"})
    assert [one.input for one in found] == [f"text {n}" for n in range(0, 30, 3)]
    assert [one.label for one in found][:2] == (["bad", "good"] if features else ["0", "1"])
    assert any("first 10 rows of each split" in text for text in said)
    with pytest.raises(DataError, match="no column 'lnag'"):
        read(dataset="a/b", revision="abc", streaming=True, limit=10, filter={"lnag": "en"})


def streamed_pictures(*paths):
    features = Features({"image": Image(), "label": Value("string")})
    rows = [{"image": {"bytes": None, "path": path}, "label": "x"} for path in paths]
    return {"train": IterableDataset.from_generator(lambda: iter(rows), features=features)}


def test_streamed_pictures_are_fetched_from_their_own_data_set_only(hub, monkeypatch, tmp_path):
    (tmp_path / "a.png").write_bytes(b"picture")
    opened = []

    def open_(address, mode):
        opened.append(address)
        return (tmp_path / "a.png").open(mode)

    monkeypatch.setattr("datasets.utils.file_utils.xopen", open_)
    own = "zip://a.png::hf://datasets/someone/pictures@abc/train.zip"
    hub.dataset = streamed_pictures(own, "hf://datasets/other/pictures@abc/b.png", "http://127.0.0.1/c", "/etc/passwd")
    found, problems, _ = read(dataset="someone/pictures", revision="abc", streaming=True, input="image")
    assert [one.input for one in found] == [b"picture"]
    assert opened == [own]
    assert [reason.split(":")[0] for reason in problems[:2]] == ["it is no file of the data set"] * 2
    assert "its path leads out of" in problems[2]


def test_files_in_the_cache_of_the_library_are_read(hub, monkeypatch, tmp_path):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    (tmp_path / "a.png").write_bytes(b"picture")
    features = Features({"image": Image(), "label": Value("string")})
    rows = {"image": [str(tmp_path / "a.png"), "/etc/passwd"], "label": ["x", "x"]}
    hub.dataset = DatasetDict({"train": Dataset.from_dict(rows, features=features)})
    found, problems, _ = read(dataset="someone/pictures", revision="abc", input="image")
    assert [one.input for one in found] == [tmp_path / "a.png"]
    assert "its path leads out of" in problems[0]


@pytest.mark.parametrize("error", [ConnectionError("no route to host\nat all"), TimeoutError("slow")])
def test_a_hub_that_cannot_be_reached_says_how_to_do_without(monkeypatch, error):
    def unreachable(*given, **options):
        raise error

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", unreachable)
    with pytest.raises(WeightsError, match="the hub cannot be reached") as caught:
        read(dataset="someone/reviews", config="de", revision="abc")
    assert caught.value.exit_code == 4
    assert caught.value.what.endswith((": no route to host", ": slow"))
    assert "load_dataset('someone/reviews', 'de', revision='abc').save_to_disk" in caught.value.hint
    assert "source: dataset" in caught.value.hint


@pytest.mark.parametrize("offline", ["0", "1"])
def test_without_a_network_it_ends_at_once_whichever_way_that_is_known(offline):
    code = (
        "from tl_data import HubOptions; from tl_data.hub import HubSource\n"
        "from tlcore import WeightsError\n"
        "try: list(HubSource(HubOptions(dataset='someone/reviews', revision='abc')).examples())\n"
        "except WeightsError as error: print(error)"
    )
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": offline}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | nowhere, capture_output=True, text=True, timeout=600, check=True
    )
    assert ("switched off (HF_HUB_OFFLINE)" if offline == "1" else "cannot be reached") in done.stdout
    assert "Retry" not in done.stderr


def test_offline_on_purpose_what_was_fetched_is_used(hub):
    def offline(*given, **options):
        raise OfflineModeIsEnabled("offline")

    hub.info = offline
    found, _, said = read(dataset="someone/reviews")
    assert len(found) == 3
    assert any("as it was last fetched" in text for text in said)
    assert read(dataset="someone/reviews", revision="abc")[2] == []
    assert hub.asked[2] == "abc"


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("BuilderConfig 'x' not found"), DataError),
        (DataFilesNotFoundError("no supported files"), DataError),
        (caused(DatasetGenerationError("generating"), ConnectionError("reset")), WeightsError),
        (caused(DatasetGenerationError("generating"), OSError(errno.ENOSPC, "No space left on device")), ResourceError),
        (ImportError("needs a library"), DataError),
    ],
)
def test_what_goes_wrong_while_loading_is_called_what_it_is(hub, error, kind):
    hub.dataset = error
    with pytest.raises(kind) as caught:
        read(dataset="someone/reviews", revision="abc")
    assert "\n" not in caught.value.what


def test_a_network_that_fails_in_the_middle_of_a_stream_is_told(hub):
    def broken():
        yield {"text": "a", "label": 0, "lang": "de"}
        raise ConnectionError("reset by peer")

    hub.dataset = {"train": IterableDataset.from_generator(broken, features=FEATURES)}
    with pytest.raises(WeightsError, match="reset by peer"):
        read(dataset="someone/reviews", revision="abc", streaming=True)


def test_a_name_that_no_data_set_can_have_is_no_fault_of_the_network():
    with pytest.raises(DataError, match="neither a folder here nor a name"):
        read(dataset="some one/re/views")
    with pytest.raises(ValueError, match="name of a data set is needed"):
        HubOptions(dataset=" ")


def test_a_folder_of_that_name_is_read_and_that_is_said(tmp_path, monkeypatch):
    (tmp_path / "imdb").mkdir()
    rows(4).to_parquet(tmp_path / "imdb" / "train-00000-of-00001.parquet")
    monkeypatch.chdir(tmp_path)
    found, problems, _ = read(dataset="imdb")
    assert len(found) == 4
    assert f"the folder {tmp_path / 'imdb'}, not a data set of the hub" in problems[0]
    for idle in ({"revision": "abc"}, {"streaming": True}):
        with pytest.raises(UsageError, match="means nothing"):
            read(dataset="imdb", **idle)
