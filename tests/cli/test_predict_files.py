"""`tl predict` on texts: lines, text files and tables without labels."""

import csv
import io
import json

import pytest
from typer.testing import CliRunner

import tlcore
from tlcore.cli import app


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return a run of a tiny BERT on a tiny table."""
    from tl_text.checkpoint import write_tiny

    place = tmp_path_factory.mktemp("texts")
    write_tiny(place / "bert")
    words = {"good": "good film one the", "bad": "not at all a"}
    with (place / "reviews.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for n in range(120):
            label = "good" if n % 2 else "bad"
            rows.writerow([" ".join(words[label].split()[(n + k) % 4] for k in range(2 + n % 5)) + f" {n}", label])
    recipe = place / "recipe.yaml"
    recipe.write_text(f"""
task: text-classification
data: {{source: table, path: {place}/reviews.csv}}
backbone: {{name: bert, weights: {place}/bert}}
adapter: feature-extraction
train: {{epochs: 20, optimizer: {{name: adam, lr: 3e-2}}}}
""")
    return tlcore.run(recipe, out=place / "run").folder


def predict(finished, *words, **given):
    return CliRunner().invoke(app, ["predict", str(finished), *map(str, words), "--format", "jsonl"], **given)


def rows_of(done):
    assert done.exit_code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_table_needs_no_label_column_and_a_bad_row_keeps_its_place(finished, tmp_path):
    (tmp_path / "new.csv").write_text("id,text\n7,good film one\n8,\n9,not at all\n")
    rows = rows_of(predict(finished, tmp_path / "new.csv"))
    assert {row.get("prediction", row.get("problem")) for row in rows} == {"good", "bad", "the input is empty"}
    assert [row["prediction"] for row in rows if row["id"] in ("7", "9")] == ["good", "bad"]


def test_a_column_can_be_named(finished, tmp_path):
    (tmp_path / "new.jsonl").write_text('{"Satz": "good film"}\n{"Satz": "not at all"}\n')
    done = predict(finished, tmp_path / "new.jsonl", "--input", "Satz")
    assert [row["prediction"] for row in rows_of(done)] == ["good", "bad"]
    refused = predict(finished, tmp_path / "new.jsonl")
    assert refused.exit_code == 3
    assert "Satz" in refused.stderr


def test_lines_of_a_text_file_and_of_standard_input(finished, tmp_path):
    (tmp_path / "new.txt").write_text("good film one\n\nnot at all\n")
    rows = rows_of(predict(finished, tmp_path / "new.txt"))
    assert [(row["id"].rpartition(":")[2], row["prediction"]) for row in rows] == [("1", "good"), ("3", "bad")]
    rows = rows_of(predict(finished, "-", input="good film one\n"))
    assert rows[0]["prediction"] == "good"


def test_csv_output_cannot_start_a_formula(finished, tmp_path):
    (tmp_path / "new.csv").write_text("id,text\n=cmd(),good film\n")
    done = CliRunner().invoke(app, ["predict", str(finished), str(tmp_path / "new.csv"), "--format", "csv"])
    assert list(csv.reader(io.StringIO(done.stdout)))[1][0] == "'=cmd()"


def test_an_encoding_can_be_named(finished, tmp_path):
    for name in ("new.csv", "new.txt"):
        (tmp_path / name).write_bytes("text\ngood film schön\n".encode("latin-1"))
        refused = predict(finished, tmp_path / name)
        assert refused.exit_code == 3
        assert "--encoding latin-1" in refused.stderr
        rows = rows_of(predict(finished, tmp_path / name, "--encoding", "latin-1"))
        assert rows[-1]["prediction"] == "good"
        unknown = predict(finished, tmp_path / name, "--encoding", "utf-99")
        assert unknown.exit_code == 2
        assert "no encoding 'utf-99'" in unknown.stderr


def test_a_text_in_place_of_a_file_is_told_the_way(finished):
    refused = predict(finished, "lovely film")
    assert refused.exit_code == 3
    assert "echo 'a text' | tl predict RUN -" in refused.stderr


def test_a_finished_run_is_not_resumed_and_a_folder_without_one_not_repeated(finished, tmp_path):
    done = CliRunner().invoke(app, ["run", "--resume", str(finished)])
    assert done.exit_code == 2
    assert f"tl reproduce {finished}" in done.stderr
    done = CliRunner().invoke(app, ["reproduce", str(tmp_path)])
    assert done.exit_code == 4
    assert "holds no finished run" in done.stderr
    assert "Errno" not in done.stderr
    assert "`tl runs` lists them" in done.stderr
