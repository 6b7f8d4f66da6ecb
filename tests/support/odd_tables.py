"""Tables as strangers have them: the bytes of each, and how a run over it ends.

What is usable tells the labels it has; what is skipped, the rows; what is refused, words of the message.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["OddTable", "odd_tables"]

WORDS = ("calm", "loud", "green", "cold", "round", "quick", "late", "sharp")
ROWS = 24


@dataclass(frozen=True)
class OddTable:
    """A file, what ``data`` says besides its path, and how it ends.

    ``labels``: those of the usable rows. ``skipped``: the places that are left out, with words of the reason.
    ``notes``: words of what is said without leaving a row out. ``refused``: words of the error.
    """

    name: str
    content: bytes
    options: dict = field(default_factory=dict)
    labels: tuple[str, ...] = ("bad", "good")
    skipped: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    rows: int = ROWS


def text_of(number: int) -> str:
    return f"the {WORDS[number % 8]} {WORDS[number // 8 % 8]} thing no {number}"


def table(
    labels: Sequence[str] = ("good", "bad"), *, cells: str = ",", end: str = "\n", head: str = "", rows=ROWS
) -> str:
    lines = [head or f"text{cells}label"]
    lines += [f"{text_of(n)}{cells}{labels[n % len(labels)]}" for n in range(rows)]
    return end.join([*lines, ""])


def with_line(text: str, number: int, line: str) -> bytes:
    """Put a line in the place of another, both counted from 1."""
    lines = text.split("\n")
    lines[number - 1] = line
    return "\n".join(lines).encode()


def odd_tables() -> Iterator[OddTable]:
    """Yield every case."""
    yield from _encodings()
    yield from _cells_and_lines()
    yield from _headers()
    yield from _labels()
    yield from _json()
    yield from _parquet()
    yield from _texts()


def _encodings() -> Iterator[OddTable]:
    plain = table()
    umlauts = table(("schön", "übel"))
    seen = ("schön", "übel")
    yield OddTable("plain.csv", plain.encode())
    yield OddTable("mark.csv", plain.encode("utf-8-sig"))
    yield OddTable("utf16.csv", umlauts.encode("utf-16"), labels=seen, notes=("utf-16",))
    yield OddTable("utf32.csv", umlauts.encode("utf-32"), labels=seen, notes=("utf-32",))
    yield OddTable(
        "utf16_unmarked.csv", plain.encode("utf-16-le"), refused=("UTF-16 without a byte order mark", "utf-16-le")
    )
    yield OddTable("latin1.csv", umlauts.encode("latin-1"), refused=("not UTF-8", "line 2", "encoding"))
    yield OddTable("latin1_named.csv", umlauts.encode("latin-1"), {"encoding": "latin-1"}, seen)
    yield OddTable("cp1252_named.csv", table(("€5", "“no”")).encode("cp1252"), {"encoding": "cp1252"}, ("“no”", "€5"))
    yield OddTable("no_such_encoding.csv", plain.encode(), {"encoding": "utf-9"}, refused=("no encoding 'utf-9'",))
    yield OddTable("nul_in_one_text.csv", with_line(plain, 5, "a\0b,good"), notes=("NUL byte",))
    yield OddTable("nul_in_the_header.csv", b"te\0xt,label\n" + plain.encode()[11:], refused=("NUL",))
    yield OddTable("zeros.csv", bytes(4000), refused=("zero bytes",))
    yield OddTable("empty.csv", b"", refused=("empty",))
    yield OddTable("two_marks.csv", b"\xef\xbb\xbf" + plain.encode("utf-8-sig"))
    yield OddTable("only_a_mark.csv", b"\xef\xbb\xbf", refused=("empty",))
    yield OddTable("blank_lines.csv", b"\n\n  \n\n", refused=("blank",))
    yield OddTable("header_only.csv", b"text,label\n", refused=("no rows",))
    yield OddTable("one_line_without_end.csv", plain.rstrip("\n").encode())
    yield OddTable("a_picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), refused=("a PNG picture",))
    yield OddTable("html.csv", b"<!DOCTYPE html>\n<html><body>404, not found</body></html>\n", refused=("a web page",))
    yield OddTable("workbook.csv", b"PK\x03\x04" + bytes(50), refused=("Excel workbook", "CSV"))
    yield OddTable("old_workbook.csv", b"\xd0\xcf\x11\xe0" + bytes(50), refused=("old Excel workbook",))
    yield OddTable("packed.csv", gzip.compress(plain.encode()), refused=("gzip", "gunzip"))
    yield OddTable(
        "lfs.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", refused=("Git LFS",)
    )
    yield OddTable("workbook.xlsx", b"PK\x03\x04" + bytes(50), refused=(".xlsx", "CSV"))


def _cells_and_lines() -> Iterator[OddTable]:
    plain = table()
    for name, cells in {"semicolons": ";", "tabs": "\t", "bars": "|"}.items():
        yield OddTable(f"{name}.csv", table(cells=cells).encode(), notes=("separated",))
    yield OddTable("commas.tsv", plain.encode(), notes=("separated",))
    for name, end in {"windows": "\r\n", "old_mac": "\r"}.items():
        yield OddTable(f"{name}.csv", table(end=end).encode())
    mixed = plain.replace("\n", "\r\n", 3).replace("no 9,", "no 9,").encode()
    yield OddTable("mixed_line_ends.csv", mixed)
    yield OddTable("leading_blank_lines.csv", b"\n\n" + plain.encode())
    yield OddTable("excel_says_its_separator.csv", b"sep=;\n" + table(cells=";").encode(), notes=("sep=;",))
    yield OddTable("excel_says_comma.csv", b"sep=,\r\n" + table(end="\r\n").encode(), notes=("sep=,",))
    yield OddTable(
        "a_comment_first.csv", b"# made by hand\n" + plain.encode(), refused=("a_comment_first.csv", "# made by hand")
    )
    yield OddTable(
        "too_few_cells.csv", with_line(plain, 4, "no label"), skipped={"too_few_cells.csv:4": "it has 1 cell "}
    )
    yield OddTable(
        "too_many_cells.csv", with_line(plain, 4, "a,b,good"), skipped={"too_many_cells.csv:4": "it has 3 cells"}
    )
    yield OddTable("a_separator_at_each_end.csv", plain.replace("\n", ",\n").encode())
    yield OddTable(
        "a_separator_at_rows_ends.csv",
        b"text,label\n" + plain[11:].replace("\n", ",\n").encode(),
        refused=("3 cells",),
    )
    yield OddTable("an_open_quotation_mark.csv", with_line(plain, 4, '"open,good'), refused=("line 4", "never closed"))
    yield OddTable("a_mark_inside.csv", with_line(plain, 4, 'a 5" nail,good'))
    yield OddTable(
        "text_after_a_mark.csv",
        with_line(plain, 4, '"a" b,good'),
        skipped={"text_after_a_mark.csv:4": "quotation marks"},
    )
    yield OddTable("line_ends_in_a_cell.csv", with_line(plain, 4, '"two\nlines",good'))
    yield OddTable("doubled_marks.csv", with_line(plain, 4, '"he said ""no""",good'))
    yield OddTable(
        "blanks_before_marks.csv",
        with_line(plain, 4, 'a, "good"'),
        labels=('"good"', "bad", "good"),
        notes=("look the same",),
    )
    yield OddTable("a_million_letters.csv", with_line(plain, 4, "x " * 500_000 + ",good"))
    yield OddTable("a_formula.csv", with_line(plain, 4, "=1+1,good"))
    yield OddTable("an_empty_text.csv", with_line(plain, 4, ",good"), skipped={"an_empty_text.csv:4": "empty"})
    yield OddTable(
        "an_empty_label.csv", with_line(plain, 4, "text,"), skipped={"an_empty_label.csv:4": "label is empty"}
    )
    yield OddTable(
        "a_blank_label.csv", with_line(plain, 4, "text,   "), skipped={"a_blank_label.csv:4": "label is empty"}
    )
    yield OddTable("a_row_of_commas.csv", with_line(plain, 4, ","), skipped={"a_row_of_commas.csv:4": "empty"})


def _headers() -> Iterator[OddTable]:
    yield OddTable("no_header.csv", table()[11:].encode(), refused=("no column with a usual name", "first line"))
    yield OddTable(
        "no_header_numbers.csv",
        "\n".join(f"{text_of(n)},{n % 2}" for n in range(ROWS)).encode(),
        refused=("no column with a usual name", "first line"),
    )
    yield OddTable(
        "header_twice.csv", with_line(table(), 9, "text,label"), skipped={"header_twice.csv:9": "header once more"}
    )
    yield OddTable(
        "files_put_together.csv",
        with_line(table(), 9, "\ufefftext,label"),
        skipped={"files_put_together.csv:9": "header once more"},
    )
    yield OddTable("carets.csv", table(cells="^").encode(), refused=("separated by '^'", 'data.delimiter: "^"'))
    yield OddTable("carets_named.csv", table(cells="^").encode(), {"delimiter": "^"})
    yield OddTable(
        "named_wrong.csv",
        table().encode(),
        {"delimiter": ";"},
        refused=("separated by ','", "leave data.delimiter out"),
    )
    yield OddTable("a_name_twice.csv", table(head="text,text").encode(), refused=("two columns 'text'",))
    yield OddTable("no_name.csv", ("," + table().replace("\n", "\n1,")).rsplit("\n", 1)[0].encode())
    yield OddTable("two_without_names.csv", table(head=",").encode(), refused=("columns found: column 1, column 2",))
    yield OddTable("upper_case.csv", table(head="TEXT,Label").encode(), notes=("'TEXT'", "'Label'"))
    yield OddTable("misspelt.csv", table(head="texte,lable").encode(), refused=("texte, lable",))
    yield OddTable("two_texts.csv", table(head="review,sentence").encode(), {"label": "sentence"})
    yield OddTable(
        "which_text.csv",
        b"review,tweet,label\n" + "\n".join(f"{text_of(n)},b,{'ab'[n % 2]}" for n in range(ROWS)).encode(),
        refused=("several columns", "'review', 'tweet'"),
    )
    yield OddTable(
        "one_column.csv", table(head="text").replace(",good", "").replace(",bad", "").encode(), refused=("label",)
    )
    yield OddTable("input_named_wrong.csv", table().encode(), {"input": "txt"}, refused=("did you mean 'text'",))


def _labels() -> Iterator[OddTable]:
    for name, written in {
        "not_there": ("NA", "None", "null", "nan", "NaN", "N/A", "NULL", "-"),
        "truth": ("True", "False"),
        "truth_and_digits": ("True", "1", "False", "0"),
        "answers": ("yes", "no"),
        "agents": ("007", "008"),
        "versions": ("1.0", "2.0"),
        "powers": ("1e3", "1e4"),
        "signs": ("+", "-"),
        "dates": ("2024-01-01", "01/02/24"),
        "faces": ("😀", "☹️"),
        "letters": ("ä", "ß"),
        "punctuation": ("[/bold]", "<b>", "a/b", "$x$", "=1+1", "../up"),
        "long": ("x" * 3000, "y" * 3000),
        "alike": ("a", "a b", "a  b"),
        "right_to_left": ("\u202eabc", "abc"),
    }.items():
        notes = {
            "not_there": ("only in case",),
            "alike": ("look the same",),
            "right_to_left": ("\\u202e",),
            "truth_and_digits": ("may mean the same",),
        }.get(name, ())
        yield OddTable(f"labels_{name}.csv", table(written).encode(), labels=tuple(sorted(written)), notes=notes)
    yield OddTable("labels_in_quotes.csv", table(('"a,b"', '"c"')).encode(), labels=("a,b", "c"))
    yield OddTable(
        "labels_in_two_cases.csv",
        table(("Good", "good")).encode(),
        labels=("Good", "good"),
        notes=("differ only in case",),
    )
    yield OddTable("labels_with_blanks.csv", table(("good", " good ", "bad")).encode())
    yield OddTable(
        "labels_in_two_forms.csv", table(("é", "e\u0301")).encode(), labels=("e\u0301", "é"), notes=("look the same",)
    )
    yield OddTable(
        "labels_with_invisible_letters.csv",
        table(("good", "go\u200bod", "bad")).encode(),
        labels=("bad", "good", "go\u200bod"),
        notes=("look the same",),
    )
    yield OddTable(
        "labels_as_two_numbers.csv", table(("1", "1.0", "2")).encode(), refused=("one number in several spellings",)
    )
    yield OddTable(
        "named_numbers_one_without_end.csv",
        with_line(table(("1.5", "2")), 4, "a,inf"),
        {"label_is": "number"},
        labels=("1.5", "2"),
        skipped={"named_numbers_one_without_end.csv:4": "'inf' is no number"},
    )
    yield OddTable(
        "decimal_commas.csv",
        table(('"1,5"', '"2,5"')).encode(),
        {"label_is": "number"},
        refused=("decimal_commas.csv:2", "'1,5' is no number"),
    )
    yield OddTable("labels_007_and_7.csv", table(("007", "7")).encode(), refused=("one number in several spellings",))
    yield OddTable("labels_with_a_nul.csv", table(("good", "b\0d")).encode(), refused=("NUL",))
    yield OddTable("one_row.csv", table(rows=1).encode(), refused=("split is empty",))
    yield OddTable("two_rows.csv", table(rows=2).encode(), refused=("split is empty",))
    yield OddTable("a_class_of_one.csv", with_line(table(), 4, "alone,rare"), labels=("bad", "good", "rare"))


def lines_of(rows: Sequence[dict]) -> str:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n"


def _json() -> Iterator[OddTable]:
    rows = [{"text": text_of(n), "label": ("good", "bad")[n % 2]} for n in range(ROWS)]
    plain = lines_of(rows)
    yield OddTable("lines.jsonl", plain.encode())
    yield OddTable("array.jsonl", json.dumps(rows).encode())
    yield OddTable("mark.jsonl", plain.encode("utf-8-sig"))
    yield OddTable("named_csv.csv", plain.encode(), refused=("JSON", ".jsonl"))
    yield OddTable(
        "broken_line.jsonl", with_line(plain, 4, '{"text": "a", "la'), skipped={"broken_line.jsonl:4": "no JSON"}
    )
    yield OddTable("a_number.jsonl", with_line(plain, 4, "7"), skipped={"a_number.jsonl:4": "no JSON object"})
    yield OddTable("a_list.jsonl", with_line(plain, 4, '["a", "good"]'), skipped={"a_list.jsonl:4": "no JSON object"})
    yield OddTable(
        "a_missing_key.jsonl",
        with_line(plain, 4, '{"text": "a"}'),
        skipped={"a_missing_key.jsonl:4": "label is missing"},
    )
    yield OddTable(
        "null.jsonl",
        with_line(plain, 4, '{"text": null, "label": "good"}'),
        skipped={"null.jsonl:4": "input is missing"},
    )
    yield OddTable(
        "a_key_twice.jsonl",
        with_line(plain, 4, '{"text": "a", "label": "good", "label": "bad"}'),
        skipped={"a_key_twice.jsonl:4": "twice"},
    )
    yield OddTable(
        "half_a_letter.jsonl",
        with_line(plain, 4, '{"text": "a\\ud800", "label": "good"}'),
        skipped={"half_a_letter.jsonl:4": "surrogate"},
    )
    yield OddTable(
        "not_a_number.jsonl",
        with_line(plain, 4, '{"text": NaN, "label": "good"}'),
        skipped={"not_a_number.jsonl:4": "missing"},
    )
    yield OddTable("deep.jsonl", with_line(plain, 4, '{"text": ' + "[" * 100_000), skipped={"deep.jsonl:4": ""})
    yield OddTable(
        "numbers.jsonl", plain.replace('"good"', "1").replace('"bad"', "2.50").encode(), labels=("1", "2.50")
    )
    yield OddTable(
        "a_huge_number.jsonl",
        plain.replace('"good"', "1" * 5000).replace('"bad"', "2").encode(),
        labels=("1" * 5000, "2"),
    )
    yield OddTable(
        "truth.jsonl", plain.replace('"good"', "true").replace('"bad"', "false").encode(), labels=("false", "true")
    )
    yield OddTable("nested.jsonl", lines_of([{"text": {"en": "a"}, "label": "b"}] * ROWS).encode(), refused=("nested",))
    yield OddTable(
        "one_nested.jsonl",
        with_line(plain, 4, '{"text": {"en": "a"}, "label": "good"}'),
        refused=("one_nested.jsonl:4", "nested"),
    )
    yield OddTable(
        "a_nested_label.jsonl",
        with_line(plain, 4, '{"text": "a", "label": {"is": "good"}}'),
        refused=("a_nested_label.jsonl:4", "nested"),
    )
    yield OddTable("wrapped.json", json.dumps({"data": rows}).encode(), refused=("data",))
    yield OddTable("columns.json", json.dumps({"text": ["a"] * 9, "label": ["b"] * 9}).encode(), refused=("list",))
    yield OddTable("pretty.json", json.dumps(rows, indent=2).encode())
    yield OddTable("cut.json", json.dumps(rows).encode()[:-40], refused=("no JSON",))
    yield OddTable("empty.json", b"", refused=("holds no rows",))
    yield OddTable("an_empty_list.json", b"[]", refused=("holds no rows",))
    yield OddTable("packed.jsonl", gzip.compress(plain.encode()), refused=("gzip",))
    yield OddTable("unpacked_name.jsonl.gz", gzip.compress(plain.encode()), refused=("gunzip",))


def parquet_of(columns: dict, **types) -> bytes:
    import pyarrow
    from pyarrow import parquet

    raw = io.BytesIO()
    arrays = {name: pyarrow.array(values, types.get(name)) for name, values in columns.items()}
    parquet.write_table(pyarrow.table(arrays), raw)
    return raw.getvalue()


def _parquet() -> Iterator[OddTable]:
    import datetime
    import decimal

    import pyarrow

    texts = [text_of(n) for n in range(ROWS)]
    names = [("good", "bad")[n % 2] for n in range(ROWS)]
    plain = parquet_of({"text": texts, "label": names})
    yield OddTable("plain.parquet", plain)
    yield OddTable("cut.parquet", plain[:-200], refused=("cut off",))
    yield OddTable("only_a_mark.parquet", b"PAR1", refused=("cut off",))
    yield OddTable("wrong_footer.parquet", plain[:-8] + b"\xff\xff\xff\x7fPAR1", refused=("damaged",))
    yield OddTable("noise_inside.parquet", plain[:30] + b"\xff" * 60 + plain[90:], refused=("damaged",))
    yield OddTable("empty.parquet", b"", refused=("empty",))
    yield OddTable("named.csv", plain, refused=("Parquet", ".parquet"))
    yield OddTable(
        "no_rows.parquet",
        parquet_of({"text": [], "label": []}, text=pyarrow.string(), label=pyarrow.string()),
        refused=("no rows",),
    )
    yield OddTable("dictionary.parquet", parquet_of({"text": texts, "label": pyarrow.array(names).dictionary_encode()}))
    yield OddTable(
        "numbers.parquet", parquet_of({"text": texts, "label": [n % 2 for n in range(ROWS)]}), labels=("0", "1")
    )
    yield OddTable(
        "truth.parquet",
        parquet_of({"text": texts, "label": [n % 2 == 0 for n in range(ROWS)]}),
        labels=("False", "True"),
    )
    yield OddTable(
        "decimals.parquet",
        parquet_of({"text": texts, "label": [decimal.Decimal(("1.50", "2.50")[n % 2]) for n in range(ROWS)]}),
        labels=("1.50", "2.50"),
    )
    yield OddTable(
        "dates.parquet",
        parquet_of({"text": texts, "label": [datetime.date(2024, 1, 1 + n % 2) for n in range(ROWS)]}),
        labels=("2024-01-01", "2024-01-02"),
    )
    yield OddTable(
        "nulls.parquet",
        parquet_of({"text": [None, *texts[1:]], "label": names}),
        skipped={"nulls.parquet: row 1": "missing"},
    )
    yield OddTable(
        "nested.parquet", parquet_of({"text": [{"en": text} for text in texts], "label": names}), refused=("nested",)
    )


def _texts() -> Iterator[OddTable]:
    plain = table()
    for name, text in {
        "only_faces": "😀😀",
        "only_punctuation": "?!",
        "control_letters": "a\x07\x1b[31mb",
        "right_to_left": "\u202eabc \u05d0\u05d1",
        "no_break_blanks": "a\u00a0b\u3000c",
        "variants": "Z\u0351\u036b\u0343\u036aa\u0349l\u0358g\u0320o",
        "a_private_letter": "\ue000 x",
        "a_very_long_word": "x" * 50_000,
    }.items():
        yield OddTable(f"text_{name}.csv", with_line(plain, 4, f"{text},good"))
    for name, text in {"invisible": "\u200b\u200b", "no_break_blank": "\u00a0", "mark": "\ufeff"}.items():
        yield OddTable(
            f"text_only_{name}.csv", with_line(plain, 4, f"{text},good"), skipped={f"text_only_{name}.csv:4": "empty"}
        )
