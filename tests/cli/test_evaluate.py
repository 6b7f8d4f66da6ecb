"""`tl evaluate` on a real run of a tiny network."""

import json

import pytest
from PIL import Image

import tlcore
from tests.support.reviews import finish, rows, tl, write


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with a finished run on one table, and another table."""
    folder = tmp_path_factory.mktemp("evaluate")
    finish(folder, second=["train.epochs=12", "train.lr=0.3"])
    write(folder / "more.csv", rows(30, 2))
    return folder


def test_a_model_scores_its_own_test_split_as_the_run_did(place, monkeypatch, capsys, tmp_path):
    run = place / "runs" / "reviews" / "second"
    code, out, err = tl(monkeypatch, capsys, "evaluate", run, "--out", tmp_path / "again", "--json")
    assert code == 0, err
    told = json.loads(out)["metrics"]["test"]
    before = json.loads((run / "metrics.json").read_text())["test"]
    assert told["n"] == before["n"]
    for key in ("loss", "accuracy", "macro_f1", "ece"):
        assert told[key] == pytest.approx(before[key], abs=1e-6)
    names = {path.name for path in (tmp_path / "again").iterdir()}
    assert {"metrics.json", "predictions.parquet", "confusion.csv", "report.html", "problems.jsonl"} <= names


def test_another_table_is_read_with_the_columns_of_the_runs_own(place, monkeypatch, capsys, tmp_path):
    run = place / "runs" / "reviews" / "second"
    code, out, err = tl(monkeypatch, capsys, "evaluate", run, "--data", place / "more.csv", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["metrics"]["data"]["n"] == 30
    assert str(run / "evaluations") in found["folder"]
    assert "source: table" in err


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ("review,kind\na good film,praise\nnot at all,prais\n", 3, "'prais' stands on 1 examples"),
        ("review,kind\na good film,\n", 3, "none of the 1 rows can be used"),
        ("text,score\na good film,1\n", 3, "no columns 'review', 'kind'"),
    ],
)
def test_data_that_does_not_fit_the_model_is_refused(place, monkeypatch, capsys, tmp_path, content, code, words):
    (tmp_path / "odd.csv").write_text(content)
    run = place / "runs" / "reviews" / "second"
    found, out, err = tl(monkeypatch, capsys, "evaluate", run, "--data", tmp_path / "odd.csv")
    assert (found, out) == (code, "")
    assert words in err


def test_data_that_is_not_there_and_folders_in_use_are_usage_errors(place, monkeypatch, capsys, tmp_path):
    run = place / "runs" / "reviews" / "second"
    assert tl(monkeypatch, capsys, "evaluate", run, "--data", "absent.csv")[0] == 2
    (tmp_path / "taken").write_text("x")
    assert tl(monkeypatch, capsys, "evaluate", run, "--out", tmp_path)[0] == 2
    assert tl(monkeypatch, capsys, "evaluate", run, "--split", "dev")[0] == 2


def test_a_run_on_class_folders_is_scored_on_a_table_of_files(monkeypatch, capsys, tmp_path):
    table = ["image,label"]
    for n in range(24):
        path = tmp_path / "photos" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (36, 36), (200 if n % 2 else 40, 10 * n, 90)).save(path)
        table.append(f"{path.relative_to(tmp_path)},{'ab'[n % 2]}")
    recipe = {
        "task": "image-classification",
        "data": {"source": "folder", "path": str(tmp_path / "photos")},
        "backbone": {"name": "resnet18", "weights": "random", "size": 32},
        "adapter": "feature-extraction",
        "train": {"epochs": 1, "precision": "fp32"},
        "evaluate": {"resamples": 0, "probe": False, "report": "none"},
    }
    (tmp_path / "photos.yaml").write_text(json.dumps(recipe))
    run = tlcore.run(tmp_path / "photos.yaml", out=tmp_path / "run", warn=lambda text: None).folder
    (tmp_path / "list.csv").write_text("\n".join(table))
    words = ["--data", tmp_path / "list.csv", "--set", "data.input_is=path"]
    code, out, err = tl(monkeypatch, capsys, "evaluate", run, *words, "--json")
    assert code == 0, err
    assert json.loads(out)["metrics"]["data"]["n"] == 24
    (tmp_path / "notes.unheard").touch()
    code, _, err = tl(monkeypatch, capsys, "evaluate", run, "--data", tmp_path / "notes.unheard")
    assert (code, "no data source recognizes" in err) == (2, True)
