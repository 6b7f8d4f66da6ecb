"""`tl evaluate`, `tl runs` and `tl compare` on real runs of a tiny network."""

import csv
import json
import random
import shutil
import subprocess
import sys

import pytest

from tl_text.checkpoint import write_tiny
from tlcore.cli import main

WORDS = ["a", "the", "good", "not", "film", "is", "one", "at", "all"]


def rows(count, seed):
    drawn = random.Random(seed)
    for n in range(count):
        words = [drawn.choice(WORDS) for _ in range(6)]
        yield [f"{' '.join(words)} {n}", "praise" if "good" in words else "blame"]


def write(path, found):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["review", "kind"], *found])


def tl(monkeypatch, capsys, *words):
    """Run `tl` and return its exit code, standard output and standard error."""
    monkeypatch.setattr(sys, "argv", ["tl", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    return ended.value.code or 0, told.out, told.err


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two finished runs on one table, one with another seed of its data, and one that was broken off."""
    import tlcore

    folder = tmp_path_factory.mktemp("after")
    write_tiny(folder / "bert")
    write(folder / "reviews.csv", rows(120, 1))
    write(folder / "more.csv", rows(30, 2))
    recipe = {
        "task": "text-classification",
        "data": {"source": "table", "path": str(folder / "reviews.csv"), "input": "review", "label": "kind"},
        "backbone": {"name": "bert", "weights": str(folder / "bert")},
        "adapter": "feature-extraction",
        "train": {"epochs": 2, "lr": 0.05},
        "evaluate": {"resamples": 20, "probe": False},
    }
    (folder / "reviews.yaml").write_text(json.dumps(recipe))
    for name, overrides in (("first", []), ("second", ["train.epochs=12", "train.lr=0.3"])):
        out = folder / "runs" / "reviews" / name
        tlcore.run(folder / "reviews.yaml", overrides=overrides, out=out, warn=lambda text: None)
    broken = folder / "runs" / "reviews" / "broken"
    broken.mkdir()
    (broken / "recipe.yaml").write_text("name: reviews\n")
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
    run = place / "runs" / "reviews" / "first"
    assert tl(monkeypatch, capsys, "evaluate", run, "--data", "absent.csv")[0] == 2
    (tmp_path / "taken").write_text("x")
    assert tl(monkeypatch, capsys, "evaluate", run, "--out", tmp_path)[0] == 2
    assert tl(monkeypatch, capsys, "evaluate", run, "--split", "dev")[0] == 2


def test_runs_are_listed_with_the_unfinished_ones(place, monkeypatch, capsys):
    code, out, _ = tl(monkeypatch, capsys, "runs", place / "runs")
    assert code == 0
    assert out.count("bert") == 2
    assert "unfinished" in out
    code, out, _ = tl(monkeypatch, capsys, "runs", place / "runs", "--sort", "-macro_f1", "--json")
    found = json.loads(out)
    scores = [run["test"].get("macro_f1") for run in found]
    assert scores[2] is None
    assert scores[0] >= scores[1]
    assert found[2]["status"].startswith("unfinished")


@pytest.mark.parametrize(
    ("condition", "count"),
    [("train.epochs=12", 1), ("train.epochs>2", 1), ("macro_f1>=0", 2), ("backbone=bert", 2), ("backbone=vgg16", 0),
     ("status=finished", 2), ("seconds<100000", 2), ("adapter!=lora", 3)],
)  # fmt: skip
def test_runs_are_filtered_by_recipe_and_result(place, monkeypatch, capsys, condition, count):
    code, out, _ = tl(monkeypatch, capsys, "runs", place / "runs", "--filter", condition, "--json")
    assert (code, len(json.loads(out))) == (0, count)


def test_wrong_keys_and_folders_are_told(place, monkeypatch, capsys):
    code, _, err = tl(monkeypatch, capsys, "runs", place / "runs", "--sort", "macro_f")
    assert (code, "did you mean 'macro_f1'" in err) == (2, True)
    assert tl(monkeypatch, capsys, "runs", place / "runs", "--filter", "epochs")[0] == 2
    assert tl(monkeypatch, capsys, "runs", place / "nowhere")[0] == 2


def test_a_damaged_run_is_listed_as_such(place, monkeypatch, capsys, tmp_path):
    shutil.copytree(place / "runs" / "reviews" / "first", tmp_path / "runs" / "one")
    (tmp_path / "runs" / "one" / "metrics.json").write_text("{")
    code, out, _ = tl(monkeypatch, capsys, "runs", tmp_path / "runs")
    assert (code, "damaged" in out) == (0, True)


def test_two_runs_are_compared_on_the_same_examples(place, monkeypatch, capsys, tmp_path):
    first, second = (place / "runs" / "reviews" / name for name in ("first", "second"))
    code, out, err = tl(monkeypatch, capsys, "compare", first, second, "--json", "--report", tmp_path / "c.html")
    assert code == 0, err
    found = json.loads(out)
    (difference,) = found["differences"]
    scores = [json.loads((run / "metrics.json").read_text())["test"]["macro_f1"] for run in (first, second)]
    assert difference["difference"] == pytest.approx(scores[1] - scores[0], abs=1e-9)
    low, high = difference["interval"]
    assert low <= difference["difference"] <= high
    assert difference["real"] == (low > 0 or high < 0)
    assert found["changed"]["train.epochs"] == [2, 12]
    page = (tmp_path / "c.html").read_text()
    assert "Comparison of 2 runs" in page
    assert "<script" not in page
    code, out, _ = tl(monkeypatch, capsys, "compare", first, second)
    assert (code, "train.epochs" in out) == (0, True)


def test_a_run_beside_itself_shows_no_difference(place, monkeypatch, capsys):
    run = place / "runs" / "reviews" / "second"
    _, out, _ = tl(monkeypatch, capsys, "compare", run, run, "--json")
    (difference,) = json.loads(out)["differences"]
    assert difference["p"] == 1.0
    assert not difference["real"]


def test_runs_on_different_test_examples_are_only_compared_where_they_meet(place, monkeypatch, capsys, tmp_path):
    import tlcore

    other = tlcore.run(
        place / "reviews.yaml", overrides=["data.limit=80"], out=tmp_path / "other", warn=lambda text: None
    )
    first = place / "runs" / "reviews" / "first"
    code, _, err = tl(monkeypatch, capsys, "compare", first, other.folder)
    assert (code, "different examples" in err, "--shared" in err) == (3, True, True)
    assert tl(monkeypatch, capsys, "compare", first, other.folder, "--shared")[0] == 0


def test_what_cannot_be_compared_is_refused(place, monkeypatch, capsys):
    first = place / "runs" / "reviews" / "first"
    assert tl(monkeypatch, capsys, "compare", first)[0] == 2
    code, _, err = tl(monkeypatch, capsys, "compare", first, place / "runs" / "reviews" / "broken")
    assert (code, "unfinished" in err) == (2, True)


def test_listing_runs_imports_no_torch(place):
    code = (
        "import sys; sys.argv = ['tl', 'runs', sys.argv[1]]\nfrom tlcore.cli import main\n"
        "try:\n    main()\nfinally:\n    assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code, str(place / "runs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
