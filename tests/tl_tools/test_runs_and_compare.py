"""`tl runs` and `tl compare` on real runs of a tiny network."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.support.reviews import finish, tl


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two finished runs on one table, one with another seed of its data, and one that was broken off."""
    folder = tmp_path_factory.mktemp("after")
    finish(folder, first=[], second=["train.epochs=12", "train.lr=0.3"])
    broken = folder / "runs" / "reviews" / "broken"
    broken.mkdir()
    (broken / "recipe.yaml").write_text("name: reviews\n")
    return folder


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


@pytest.mark.parametrize("command", ["runs", "compare", "reproduce", "cache ls", "weights list", "recipe init"])
def test_without_the_plugin_its_commands_are_refused_with_its_name(monkeypatch, capsys, command):
    code, out, err = tl(monkeypatch, capsys, "--no-plugin", "tools", *command.split())
    assert (code, out) == (2, "")
    assert "error: No such command" in err
    assert "not asked, since they are switched off: tools" in err
