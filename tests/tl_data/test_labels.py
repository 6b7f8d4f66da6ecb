"""Labels of rows: one name, several, or a number; rows that are filtered; names of classes from a file."""

import json

import pytest

from tl_data import FolderOptions, TableOptions
from tl_data.folder import FolderSource
from tl_data.table import TableSource
from tlcore import DataError, Problem


def read(tmp_path, rows, **options):
    path = tmp_path / "table.csv"
    path.write_text("\n".join(rows) + "\n")
    found = list(TableSource(TableOptions(path=path, **options)).examples())
    return [one for one in found if not isinstance(one, Problem)], [one for one in found if isinstance(one, Problem)]


ROWS = ["text,label,lang", "one,a|b,de", "two,,en", "three, b ,de", "four,b|a|b,fr"]


def test_a_separator_makes_sets_of_which_one_may_be_empty(tmp_path):
    found, problems = read(tmp_path, ROWS, label_separator="|")
    assert [example.label for example in found] == [("a", "b"), (), ("b",), ("a", "b")]
    assert not problems


def test_without_a_separator_an_empty_label_is_a_problem(tmp_path):
    found, problems = read(tmp_path, ROWS)
    assert [example.label for example in found] == ["a|b", "b", "b|a|b"]
    assert [problem.reason for problem in problems] == ["the label is empty"]


def test_a_list_in_a_cell_is_a_set(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"text": str(n), "label": label}) for n, label in enumerate([["x", "a"], []])))
    assert [one.label for one in TableSource(TableOptions(path=path)).examples()] == [("a", "x"), ()]


def test_a_column_for_each_label_gives_those_that_are_set(tmp_path):
    rows = ["text,sunny,warm", "one,1,0", "two,,TRUE", "three,0.0,no", "four,yes,1.0"]
    found, _ = read(tmp_path, rows, labels=("sunny", "warm"))
    assert [one.label for one in found] == [("sunny",), ("warm",), (), ("sunny", "warm")]
    with pytest.raises(DataError, match="neither set nor unset") as caught:
        read(tmp_path, [*rows, "five,maybe,1"], labels=("sunny", "warm"))
    assert "table.csv:6" in caught.value.where
    assert found[0].columns == {}
    with pytest.raises(DataError, match="no column 'suny'"):
        read(tmp_path, rows, labels=("suny",))


def test_label_columns_are_sorted_and_found_in_any_case(tmp_path):
    found, problems = read(tmp_path, ["text,Warm,Sunny", "one,1,1", "two,1,0"], labels=("warm", "sunny"))
    assert [one.label for one in found] == [("sunny", "warm"), ("warm",)]
    assert {problem.reason for problem in problems} == {
        "column 'Warm' is taken for 'warm'", "column 'Sunny' is taken for 'sunny'"
    }  # fmt: skip


def test_label_columns_may_be_numbers_that_a_file_names(tmp_path):
    (tmp_path / "names.txt").write_text("sunny\nwarm\n")
    found, _ = read(tmp_path, ["text,0,1", "one,1,1", "two,0,1"], labels=("0", "1"), classes=tmp_path / "names.txt")
    assert [one.label for one in found] == [("sunny", "warm"), ("warm",)]


@pytest.mark.parametrize("label", [{"a": 1}, [{"a": 1}], [["a"]]])
def test_a_nested_label_is_refused(tmp_path, label):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": "one", "label": label}))
    with pytest.raises(DataError, match="not a label") as caught:
        list(TableSource(TableOptions(path=path)).examples())
    assert "rows.jsonl:1" in caught.value.where


def test_numbers_may_be_spelt_in_several_ways_where_they_are_numbers(tmp_path):
    rows = ["text,label", "one,1", "two,1.0", "three,2"]
    with pytest.raises(DataError, match="one number in several spellings") as caught:
        read(tmp_path, rows)
    assert "data.label_is: number" in caught.value.hint
    found, _ = read(tmp_path, rows, label_is="number")
    assert [one.label for one in found] == ["1", "1.0", "2"]


@pytest.mark.parametrize(("wanted", "kept"), [("de", ["one", "three"]), (("de", "fr"), ["one", "three", "four"])])
def test_a_filter_keeps_rows_by_a_column_and_says_how_many(tmp_path, wanted, kept):
    found, problems = read(tmp_path, ROWS, label_separator="|", filter={"lang": wanted})
    assert [one.input for one in found] == kept
    assert f"leaves {len(kept)} of 4 rows" in problems[0].reason


def test_a_filter_by_what_is_missing_and_by_one_of_several(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"lang": None, "tags": ["a", "b"]}, {"lang": "None", "tags": ["b"]}, {"tags": []}]
    path.write_text("\n".join(json.dumps({"text": str(n), "label": "x", **row}) for n, row in enumerate(rows)))

    def kept(**wanted):
        found = TableSource(TableOptions(path=path, filter=wanted)).examples()
        return [one.input for one in found if not isinstance(one, Problem)]

    assert kept(lang="") == ["0", "2"]
    assert kept(lang="None") == ["1"]
    assert kept(tags="a") == ["0"]
    assert kept(tags=("a", "b"), lang="") == ["0"]


def test_a_filter_that_cannot_work_is_refused(tmp_path):
    with pytest.raises(DataError, match="no column 'lnag'") as caught:
        read(tmp_path, ROWS, filter={"lnag": "de"})
    assert "'lang'" in caught.value.hint
    with pytest.raises(DataError, match="leaves nothing") as caught:
        read(tmp_path, ROWS, filter={"lang": "it"})
    assert "de, en, fr" in caught.value.where


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", "negative\npositive\n"),
        ("names.csv", "0,negative\n1,positive\n"),
        ("names.json", '{"0": "negative", "1": "positive"}'),
        ("names.json", '["negative", "positive"]'),
    ],
)
def test_a_file_names_the_classes(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    found, _ = read(tmp_path, ["text,label", "one,0", "two,1"], classes=tmp_path / name)
    assert [one.label for one in found] == ["negative", "positive"]


def test_a_label_without_a_name_and_a_file_without_names_are_errors(tmp_path):
    (tmp_path / "names.txt").write_text("negative\npositive\n")
    with pytest.raises(DataError, match="no name for the label '2'") as caught:
        read(tmp_path, ["text,label", "one,0", "two,2"], classes=tmp_path / "names.txt")
    assert "table.csv:3" in caught.value.where
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DataError, match="gives no names of classes"):
        read(tmp_path, ["text,label", "one,0"], classes=tmp_path / "bad.json")


def folders(tmp_path, **options):
    for name in ("pets/cats/a.txt", "pets/dogs/b.txt", "wild/cats/c.txt"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    found = FolderSource(FolderOptions(path=tmp_path / "photos", **options)).examples()
    return {one.id: one.label for one in found}


@pytest.mark.parametrize(
    ("which", "labels"),
    [("first", ["pets", "pets", "wild"]), ("last", ["cats", "dogs", "cats"]),
     ("path", ["pets/cats", "pets/dogs", "wild/cats"])],
)  # fmt: skip
def test_any_of_nested_folders_may_name_the_class(tmp_path, which, labels):
    assert list(folders(tmp_path, label=which).values()) == labels


def test_a_limit_takes_the_same_files_each_time(tmp_path):
    some = folders(tmp_path, limit=2)
    assert len(some) == 2
    assert some == folders(tmp_path, limit=2)
