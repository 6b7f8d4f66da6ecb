import csv
import io
import json
import os
from collections import Counter
from decimal import Decimal
from unicodedata import category

import pyarrow
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tl_data import TableOptions
from tl_data.table import TableSource
from tlcore import DataError, Example, Problem, UsageError

UNSEEN = ("Cc", "Cf", "Zs", "Zl", "Zp")


def read(path, **options):
    return list(TableSource(TableOptions(path=path, **options)).examples())


def examples(path, **options):
    return [item for item in read(path, **options) if isinstance(item, Example)]


def problems(path, **options):
    return {item.id: item for item in read(path, **options) if isinstance(item, Problem)}


def refusal(path, kind=DataError, **options):
    with pytest.raises(kind) as caught:
        read(path, **options)
    return str(caught.value)


@pytest.fixture
def table(tmp_path):
    def write(content, name="t.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


SPELLINGS = ["007", "NA", "None", "null", "nan", "True", "1e5", "0x10", "-", "N/A", "1_000"]


def test_no_spelling_changes_the_meaning_of_a_cell(table):
    path = table("text,label,note\n" + "".join(f"{word},{word},{word}\n" for word in SPELLINGS))
    found = examples(path)
    assert [(e.input, e.label, e.columns["note"]) for e in found] == [(word,) * 3 for word in SPELLINGS]


def test_json_values_become_texts_as_they_are_spelt(table):
    lines = ['{"text": 1.50, "label": true, "n": null}', '{"text": 12345678901234567890123, "label": 1, "n": [1.0]}']
    found = examples(table("\n".join(lines), "t.jsonl"))
    assert [(e.input, e.label, e.columns["n"]) for e in found] == [
        ("1.50", "true", None),
        ("12345678901234567890123", "1", '["1.0"]'),
    ]


def test_parquet_values_become_texts(tmp_path):
    columns = {"text": ["a", "b", None, "d"], "label": [1, 0, 1, None], "blob": [b"xyz"] * 4, "x": [0.5, None, 1, 2]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    found = examples(tmp_path / "t.parquet")
    assert [(e.input, e.label, e.columns["x"], e.columns["blob"]) for e in found] == [
        ("a", "1", "0.5", "3 bytes"),
        ("b", "0", None, "3 bytes"),
    ]
    assert {id_: p.reason for id_, p in problems(tmp_path / "t.parquet").items()} == {
        "t.parquet: row 3": "the input is missing",
        "t.parquet: row 4": "the label is missing",
    }


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.sampled_from("abc")),
        min_size=1,
    ),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_the_csv_module_writes_comes_back(tmp_path_factory, rows, delimiter, line_end, encoding):
    seen = [row for row in rows if any(category(letter) not in UNSEEN for letter in row[0])]
    assume(seen)
    out = io.StringIO(newline="")
    # Older versions of the module leave a line end of another kind unquoted, and then nothing tells it from a real one.
    quoting = csv.QUOTE_ALL if any(set(text) & set("\r\n") for text, _ in rows) else csv.QUOTE_MINIMAL
    writer = csv.writer(out, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
    writer.writerows([("text", "label"), *rows])
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(out.getvalue().encode(encoding))
    assert [(e.input, e.label) for e in examples(path)] == seen


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        ("text;label\nja, gut;a\nnein, nie;b\n", "t.csv", "';'"),
        ("text\tlabel\nja, gut; so\ta\nnein\tb\n", "t.csv", "tabs"),
        ("text|label\nja, gut|a\nnein|b\n", "t.tsv", "'|'"),
        ("text\tlabel\nja, gut\ta\nnein, nie\tb\n", "t.tsv", None),
        ('text,label\n"ja; gut; so",a\nnein,b\n', "t.csv", None),
        ("text,label\nja;gut\tso,a\nnein|nie,b\n", "t.csv", None),
        ("text,label,x;y\nyes,a,1;1\nno,b,2;2\n", "t.csv", None),
        ("id;text, long;label\n1;so, la;a\n2;so;b\n", "t.csv", "';'"),
    ],
)
def test_the_delimiter_is_recognised_and_an_unusual_one_said(table, content, name, said):
    items = read(table(content, name), input="text, long" if "long" in content else None)
    assert [item.label for item in items if isinstance(item, Example)] == ["a", "b"]
    assert [item.reason for item in items if isinstance(item, Problem)] == (
        [f"the cells are separated by {said}"] if said else []
    )


def test_a_given_delimiter_is_obeyed(table):
    assert [e.input for e in examples(table("text label\nyes a\nno b\n"), delimiter=" ")] == ["yes", "no"]
    assert [e.input for e in examples(table("text\tlabel\nyes\ta\n"), delimiter="tab")] == ["yes"]
    assert "one character" in refusal(table("text,label\na,b\n"), UsageError, delimiter="::")


def test_an_encoding_is_obeyed_and_never_guessed(table):
    path = table("text,label\nschön,gut\ngr\xfcn,gut\nrot,schlecht\n".encode("latin-1"))
    message = refusal(path)
    assert f"{path}:2" in message
    assert "2 such lines" in message
    assert "--set data.encoding=latin-1" in message
    assert [e.input for e in examples(path, encoding="latin-1")] == ["schön", "grün", "rot"]
    assert "no encoding 'latin-one'" in refusal(path, UsageError, encoding="latin-one")
    assert "no encoding 'hex'" in refusal(path, UsageError, encoding="hex")


def test_latin1_text_is_cut_at_line_ends_only(table):
    path = table("text,label\none\x85two,a\nthree,b\n".encode("latin-1"))  # NEL, which str.splitlines cuts at
    assert [e.input for e in examples(path, encoding="latin-1")] == ["one\x85two", "three"]


def test_marks_of_byte_order_are_no_part_of_the_first_column(table):
    text = "text,label\nfür,a\nnie,b\n"
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        assert [e.input for e in examples(table(text.encode(encoding)))] == ["für", "nie"]
    assert [e.input for e in examples(table(text.encode("utf-8-sig")), encoding="utf-8")] == ["für", "nie"]
    for encoding in ("utf-16-le", "utf-16-be"):
        assert f"`encoding: {encoding}`" in refusal(table(text.encode(encoding)))
        assert [e.input for e in examples(table(text.encode(encoding)), encoding=encoding)] == ["für", "nie"]


def test_bad_rows_are_named_and_nothing_else_is_lost(table):
    path = table('text,label\nok,a\n\n"two\nlines",b\nragged\nwide,a,b\n"x"y,a\n,a\nempty,\nn\0l,a\n   \nlast,b\n')
    found = problems(path)
    assert [e.input for e in examples(path)] == ["ok", "two\nlines", "n\0l", "last"]
    assert {id_: p.reason for id_, p in found.items()} == {
        "t.csv:6": "it has 1 cell where the header has 2",
        "t.csv:7": "it has 3 cells where the header has 2",
        "t.csv:8": found["t.csv:8"].reason,
        "t.csv:9": "the input is empty",
        "t.csv:10": "the label is empty",
        "t.csv:11": "column 'text' holds a NUL byte; the text is used as it stands",
    }
    assert "quotation marks" in found["t.csv:8"].reason
    assert [id_ for id_, p in found.items() if not p.skipped] == ["t.csv:11"]


def test_bad_json_lines_are_named_and_nothing_else_is_lost(table):
    lines = [
        '{"text": "a", "label": "x"}',
        "",
        '{"text": "b',
        "[1]",
        '{"text": "c"}',
        '{"text": "\\ud800", "label": "x"}',
    ]
    path = table("\n".join([*lines, '{"text": "d", "label": "y"}']), "t.jsonl")
    found = problems(path)
    assert [e.input for e in examples(path)] == ["a", "d"]
    assert list(found) == ["t.jsonl:3", "t.jsonl:4", "t.jsonl:5", "t.jsonl:6"]
    assert "surrogate" in found["t.jsonl:6"].reason


def test_an_unclosed_quotation_mark_does_not_swallow_the_rest(table):
    path = table('text,label\nok,a\n"open,b\nlost,a\nlost,b\n')
    message = refusal(path)
    assert f"{path}:3" in message
    assert "quotes: false" in message
    assert [e.input for e in examples(path, quotes=False)] == ["ok", '"open', "lost", "lost"]


def test_a_cell_may_be_huge(table):
    text = "wort " * 400_000
    assert [len(e.input) for e in examples(table(f'text,label\n"{text}",a\nb,b\n'))] == [len(text), 1]


@pytest.mark.parametrize(
    "header", ["text,label", "sentence,class", "Review,Stars", " tweet , SENTIMENT ", "message,target"]
)
def test_columns_are_found_by_their_usual_names(table, header):
    items = read(table(f"{header}\nhi,a\n"))
    assert [(item.input, item.label) for item in items if isinstance(item, Example)] == [("hi", "a")]
    said = [item.reason for item in items if isinstance(item, Problem)]
    assert len(said) == sum(name != name.strip().lower() for name in header.split(","))


def test_the_first_usual_name_wins_and_the_others_are_ambiguous(table):
    assert examples(table("content,text,label,stars\nx,y,a,5\n"))[0].input == "y"
    message = refusal(table("content,message,label\nx,y,a\n"))
    assert "'content', 'message'" in message
    assert "`data.input: content`" in message


def test_columns_that_are_missing_are_answered_with_those_found(table):
    message = refusal(table("Satz,Klasse\nx,a\n"))
    assert "columns found: Satz, Klasse" in message
    assert "`data.input: Satz`, `data.label: Klasse`" in message
    assert "did you mean 'Klasse'?" in refusal(table("Satz,Klasse\nx,a\n"), input="Satz", label="Klase")
    assert "as input and as label" in refusal(table("Satz,Klasse\nx,a\n"), input="Satz", label="Satz")
    found = examples(table("Satz,Klasse\nx,a\n"), input="satz", label="Klasse")
    assert (found[0].input, found[0].label, dict(found[0].columns)) == ("x", "a", {})
    assert "has two columns 'text'" in refusal(table("text,text,label\na,b,c\n"))
    assert "data.input_is: path" in refusal(table("image,label\na.jpg,c\n"))


def test_split_and_group_columns(table):
    rows = "text,label,split,group,customer,set\na,x,val,1,c1,7\nb,y,TRAIN,1,,8\n"
    plain = examples(table(rows))
    assert [(e.split, e.group) for e in plain] == [("val", None), ("TRAIN", None)]
    assert dict(plain[0].columns) == {"group": "1", "customer": "c1", "set": "7"}
    assert [e.group for e in examples(table(rows), group="customer")] == ["c1", None]
    assert [e.split for e in examples(table(rows), split="set")] == ["7", "8"]
    (note,) = problems(table("text,label,fold\na,x,1\nb,y,2\n")).values()
    assert not note.skipped
    assert "data.split: fold" in note.reason


def test_ids_come_from_their_column_while_it_is_unique(table):
    assert [e.id for e in examples(table("id,text,label\n7,a,x\n8,b,y\n"))] == ["7", "8"]
    assert [e.id for e in examples(table("nr,text,label\n7,a,x\n8,b,y\n"), id="nr")] == ["7", "8"]
    path = table("id,text,label\n7,a,x\n7,b,y\n")
    assert [e.id for e in examples(path)] == [e.id for e in examples(table("text,label\na,x\nb,y\n", "u.csv"))]
    assert "'7' is on several" in problems(path)["t.csv:2"].reason
    assert "'7' is on several" in refusal(path, id="id")


def test_made_ids_stay_when_rows_are_added_and_moved(table):
    before = {e.input: e.id for e in examples(table("text,label\na,x\nb,y\n"))}
    after = {e.input: e.id for e in examples(table("extra,text,label\n1,c,x\n2,b,x\n3,a,x\n"))}
    assert before.items() < after.items()
    twins = [e.id for e in examples(table("text,label\na,x\na,x\na,y\n"))]
    assert len(set(twins)) == 3
    assert twins[0] == before["a"]


def test_labels_that_are_one_number_in_two_spellings_are_refused(table):
    message = refusal(table("text,label\na,1\nb,0\nc,1.0\nd,positive\n"))
    assert "'1' and '1.0'" in message
    assert "'0'" not in message.splitlines()[0]
    assert len(examples(table("text,label\na,1\nb,2\nc,1.5\nd,NaN\n"))) == 4


@given(st.integers(-999, 999), st.sampled_from(["{}.0", "{}.", "{}e0", "0{}", "{}.00"]))
def test_every_other_spelling_of_a_number_is_noticed(tmp_path_factory, number, spelling):
    other = spelling.format(number)
    assume(number >= 0 or not spelling.startswith("0"))
    assert Decimal(other) == number
    path = tmp_path_factory.mktemp("n") / "t.csv"
    path.write_text(f"text,label\na,{number}\nb,{other}\n")
    assert "several spellings" in refusal(path)


def test_labels_that_differ_in_case_are_said_and_blanks_around_them_are_none(table):
    items = read(table("text,label\na, Pos\nb,pos\nc,Pos \n"))
    assert [item.label for item in items if isinstance(item, Example)] == ["Pos", "pos", "Pos"]
    (note,) = [item for item in items if isinstance(item, Problem)]
    assert not note.skipped
    assert "'Pos' and 'pos'" in note.reason


def test_formats_are_what_they_say_or_refused(table, tmp_path):
    assert "no Parquet file by its content" in refusal(table("text,label\na,b\n", "t.parquet"))
    parquet.write_table(pyarrow.table({"text": ["a"], "label": ["b"]}), tmp_path / "p.csv")
    assert "a Parquet file by its content" in refusal(tmp_path / "p.csv")
    raw = (tmp_path / "p.csv").read_bytes()
    assert "is cut off" in refusal(table(raw[: len(raw) // 2], "cut.parquet"))
    assert "Excel workbook" in refusal(table(b"PK\x03\x04rest", "t.csv"))
    assert "known: .csv" in refusal(table("text,label\na,b\n", "t.xlsx"))
    assert "no JSON object" in refusal(table('{"a":\n1}\n', "t.json"))
    assert f"{tmp_path / 'cut.json'}:3" in refusal(table('[\n{"text": "a", "label": "b"},\n{"text"', "cut.json"))
    assert "nested too deeply" in refusal(table("[" * 100_000, "deep.json"))
    assert [e.input for e in examples(table('[{"text": "a", "label": "b"}]', "t.jsonl"))] == ["a"]


def test_nothing_to_read_is_said(table, tmp_path):
    assert "is empty" in refusal(table("", "a.csv"))
    assert "blank lines" in refusal(table("\n\n", "b.csv"))
    assert "holds no rows" in refusal(table("text,label\n", "c.csv"))
    assert "holds no rows" in refusal(table("[]", "d.json"))
    assert "none of the 2 rows" in refusal(table("text,label\n,a\nb,\n", "e.csv"))
    assert f"did you mean '{tmp_path / 'a.csv'}'?" in refusal(tmp_path / "aa.csv")


def test_a_folder_of_tables_names_the_splits(table, tmp_path):
    table("text,label\na,x\nb,y\n", "set/train.csv")
    table("text,label\na,x\n", "set/TEST.tsv".lower())
    table('{"text": "c", "label": "y"}', "set/dev.jsonl")
    table("nothing", "set/README.md")
    found = examples(tmp_path / "set")
    assert Counter(e.split for e in found) == {"train": 2, "test": 1, "validation": 1}
    assert len({e.id.rpartition("/")[2] for e in found}) == 3  # "a" stands in two splits
    assert all(e.id.startswith(f"{e.split}/") for e in found)
    alone = {e.id for e in found}
    table("text,label\nc,x\na,x\nb,y\n", "set/train.csv")
    assert alone < {e.id for e in examples(tmp_path / "set")}
    assert "data.split names a column" in refusal(tmp_path / "set", UsageError, split="label")
    table("text,label\na,x\n", "set/test.csv")
    assert "test.csv and test.tsv" in refusal(tmp_path / "set")
    os.remove(tmp_path / "set" / "train.csv")
    assert "tables found: dev.jsonl, test.csv, test.tsv" in refusal(tmp_path / "set")


def test_paths_are_taken_from_the_tables_folder(table, tmp_path):
    for name in ("data/pictures/1.jpg", "data/pictures/2.jpg", "elsewhere.jpg"):
        table("x", name)
    rows = f"image,label\npictures/1.jpg,a\npictures/../pictures/2.jpg,b\n{tmp_path}/elsewhere.jpg,a\n"
    path = table(rows + f"../elsewhere.jpg,a\npictures/9.jpg,b\n{tmp_path}/data/pictures/1.jpg,a\n", "data/t.csv")
    assert [e.input.name for e in examples(path, input_is="path")] == ["1.jpg", "2.jpg", "1.jpg"]
    assert all(e.input.is_file() for e in examples(path, input_is="path"))
    hint = "; `data.root` can name another folder"
    assert {id_: p.reason for id_, p in problems(path, input_is="path").items()} == {
        "t.csv:4": f"its path leads out of the table's folder: {tmp_path}/elsewhere.jpg{hint}",
        "t.csv:5": f"its path leads out of the table's folder: ../elsewhere.jpg{hint}",
        "t.csv:6": "there is no file pictures/9.jpg",
    }


def test_paths_are_taken_from_the_root_that_is_named(table, tmp_path):
    for name in ("photos/1.jpg", "photos/deep/2.jpg", "lists/1.jpg", "secret.jpg"):
        table(name, name)
    path = table(
        f"image,label\n1.jpg,a\ndeep/2.jpg,b\n{tmp_path}/photos/deep/2.jpg,b\n../secret.jpg,a\n", "lists/t.csv"
    )
    found = examples(path, input_is="path", root=tmp_path / "photos")
    assert [e.input.read_text() for e in found] == ["photos/1.jpg", "photos/deep/2.jpg", "photos/deep/2.jpg"]
    (fault,) = problems(path, input_is="path", root=tmp_path / "photos").values()
    assert f"leads out of {tmp_path / 'photos'}: ../secret.jpg" in fault.reason


def test_a_limit_takes_the_same_examples_whatever_else_there_is(table):
    rows = [f"text {n},{'ab'[n % 2]}" for n in range(400)]
    few = examples(table("\n".join(["text,label", *rows])), limit=50)
    assert len(few) == 50
    assert [e.input for e in few] != [f"text {n}" for n in range(50)]
    again = examples(table("\n".join(["text,label", *reversed(rows)])), limit=50)
    assert {e.id for e in again} == {e.id for e in few}
    more = {e.id for e in examples(table("\n".join(["text,label", *rows])), limit=100)}
    assert {e.id for e in few} < more
    assert len(examples(table("text,label\na,x\nb,y\n"), limit=10)) == 2


def test_a_limit_leaves_the_share_of_bad_rows(table):
    rows = ["text,label", *(f"text {n},a" if n % 4 else ",a" for n in range(800))]
    items = read(table("\n".join(rows)), limit=60)
    assert sum(isinstance(item, Example) for item in items) == 60
    assert 8 < sum(isinstance(item, Problem) for item in items) < 36


EXPECTED = {  # examples, skipped rows, other notes; or a part of the refusal
    "array.json": (60, 0, 0),
    "bad_utf8_one_line.csv": "not UTF-8: byte 0xff in line 32, the only such line",
    "blank_lines_only.csv": "nothing but blank lines",
    "bom.csv": (60, 0, 0),
    "bool_labels.csv": (60, 0, 0),
    "broken_line.jsonl": (59, 1, 0),
    "case_names.csv": (60, 0, 2),
    "contradictions.csv": (70, 0, 0),
    "cr_only.csv": (60, 0, 0),
    "csv_named.parquet": "no Parquet file by its content",
    "empty.parquet": "holds no rows",
    "formula.csv": (61, 0, 0),
    "huge_text.csv": (61, 0, 0),
    "int_labels.csv": (60, 0, 0),
    "missing_key.jsonl": (59, 1, 0),
    "missing_label.csv": "columns found: text",
    "missing_test_class/train.csv": (40, 0, 0),
    "missing_text.csv": "columns found: label",
    "mixed_label_types.csv": "'0' and '0.0'; '1' and '1.0'",
    "nan_text.csv": (54, 6, 0),
    "nested.jsonl": "column 'text' holds a nested object",
    "nul_bytes.csv": (60, 0, 16),
    "ok.csv": (60, 0, 0),
    "one_class.csv": (60, 0, 0),
    "other_names.csv": "columns found: Satz, Klasse",
    "overlap/train.csv": (40, 0, 0),
    "singleton_class.csv": (61, 0, 0),
    "tabs_named.csv": (60, 0, 1),
    "unknown_label/test.csv": (21, 0, 0),
    "utf16.csv": (60, 0, 1),
}


def test_the_collection_of_bad_tables(bad_inputs):
    with (bad_inputs / "manifest.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        expected = {row["path"]: row["expected"] for row in csv.DictReader(file) if row["kind"] == "text"}
    assert {path.removeprefix("text/") for path in expected} == set(EXPECTED)
    for case, outcome in EXPECTED.items():
        path = bad_inputs / "text" / case
        if isinstance(outcome, str):
            assert expected[f"text/{case}"] == "clear_error"
            assert outcome in refusal(path), case
        else:
            items = read(path)
            skipped = [item for item in items if isinstance(item, Problem) and item.skipped]
            notes = [item for item in items if isinstance(item, Problem) and not item.skipped]
            assert (len(items) - len(skipped) - len(notes), len(skipped), len(notes)) == outcome, case
    assert "broken_line.jsonl:31" in problems(bad_inputs / "text" / "broken_line.jsonl")
    assert {e.label for e in examples(bad_inputs / "text" / "bool_labels.csv")} == {"True", "False"}


def test_the_real_tables(shared):
    tweets = examples(shared / "data" / "sentiment" / "tweets.csv")
    assert len(tweets) == 3277
    assert {e.split for e in tweets} <= {"train", "validation", "val", "test"}
    assert {e.label for e in tweets} == {"positive", "negative"}
    intents = read(shared / "data" / "intents-de" / "data.csv", group="template_id")
    assert len(intents) == 2400
    assert len({e.label for e in intents}) == 20
    assert json.dumps([e.id for e in intents])
