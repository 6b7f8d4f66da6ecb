"""Names that data bring stay names: on a terminal, in CSV, in JSON and in pages."""

import csv
import io
import json
import re
import sys
import unicodedata
from html.parser import HTMLParser

import pytest

from tl_text.checkpoint import write_tiny
from tlcore.cli import main
from tlcore.files.run_folder import FORMULA_STARTS

PAYLOADS = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>', "javascript:alert(1)",
    "'><a href='http://evil.example/'>x</a>", "</title><script>1</script>", "{{ 7 * 7 }}", "[/bold] [red]x",
    "[link=http://evil.example]x[/link]", "=cmd|'/c calc'!A1", "+1+1", "-2+3", "@SUM(A1)", "$\\bad{",
    "\x1b[31mred\x1b[2J", "\x9b2J\x07", "\u202egnp.exe", "\uff1dcmd()", "' onfocus=alert(1) '", "../../etc/passwd",
    "a\u2028b", "%s {0.__class__}",
]  # fmt: skip
WORDS = ["good", "film", "one", "the", "not", "at", "all", "is", "a"]


class Acting(HTMLParser):
    """Counts what could act in a page."""

    def __init__(self, page):
        super().__init__()
        self.acting = []
        self.policies = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag in ("script", "iframe", "object", "embed", "base", "form", "link"):
            self.acting.append(tag)
        given = dict(attrs)
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policies.append(given["content"])
        self.acting += [name for name, _ in attrs if name.startswith("on")]
        self.acting += [
            value for value in given.values() if value and re.match(r"(?i)\s*(javascript|https?|//)", value)
        ]


def steering(text):
    """Return the characters of a text that would steer a terminal."""
    return {one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp") and one not in "\n"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with two finished runs, whose classes, ids, texts and columns are payloads."""
    import tlcore

    folder = tmp_path_factory.mktemp("names")
    write_tiny(folder / "bert")
    with (folder / "t.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label", "id", PAYLOADS[0], PAYLOADS[14]])
        for n, payload in enumerate(PAYLOADS * 7):
            rows.writerow([f"{payload} {WORDS[n % 9]} {n}", payload, f"{payload} {n}", payload, payload])
    recipe = {
        "task": "text-classification",
        "data": {"source": "table", "path": str(folder / "t.csv"), "input": "text"},
        "backbone": {"name": "bert", "weights": str(folder / "bert")},
        "adapter": "feature-extraction",
        "train": {"epochs": 1, "precision": "fp32"},
        "evaluate": {"resamples": 0, "probe": False},
    }
    (folder / "r.yaml").write_text(json.dumps(recipe))
    for name, seed in (("first", 1), ("second", 2)):
        tlcore.run(folder / "r.yaml", overrides=[f"train.lr=0.0{seed}"], out=folder / "runs" / name)
    (folder / "new.csv").write_text((folder / "t.csv").read_text("utf-8"), "utf-8")
    return folder


@pytest.fixture
def tl(monkeypatch, capfd):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["tl", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capfd.readouterr()
        return ended.value.code or 0, told.out, told.err

    return run


@pytest.mark.parametrize(
    "words",
    [
        ["run", "r.yaml", "--set", "train.epochs=1", "--out", "OUT"],
        ["run", "r.yaml", "--set", "data.label=\x1b[31mred", "--out", "OUT"],
        ["run", "r.yaml", "--set", "data.\x9b2J=\x1b[31mred"],
        ["--debug", "run", "\x1b[31m\u202e.yaml"],
        ["evaluate", "runs/first", "--out", "OUT"],
        ["evaluate", "runs/first", "--data", "new\x1b[31m.csv"],
        ["predict", "runs/first", "new.csv"],
        ["predict", "runs/first", "new.csv", "--format", "jsonl"],
        ["predict", "runs/first", "new\x1b[31m.csv"],
        ["runs", "runs"],
        ["runs", "runs", "--json"],
        ["runs", "\x1b[31m"],
        ["compare", "runs/first", "runs/second"],
        ["weights", "add", "\x1b[31m\x9b2J"],
        ["show", "backbone", "\x1b[31m\u202e"],
        ["recipe", "check", "r.yaml", "--set", "\x1b[31m=1"],
    ],
    ids=str,
)
def test_nothing_steers_a_terminal(place, tl, tmp_path, monkeypatch, words):
    monkeypatch.chdir(place)
    code, out, err = tl(*[str(tmp_path / "out") if word == "OUT" else word for word in words])
    assert code in (0, 2, 3), err
    assert ("Traceback" in err) == (words[0] == "--debug")
    assert steering(out) | steering(err) == set()


def test_predictions_as_json_are_json_with_the_whole_names(place, tl):
    _, out, _ = tl("predict", place / "runs" / "first", place / "new.csv", "--format", "jsonl")
    rows = [json.loads(line) for line in out.split("\n") if line]
    assert {row["id"].rpartition(" ")[0] for row in rows} == set(PAYLOADS)


def test_no_cell_is_a_formula(place, tl, tmp_path):
    _, out, _ = tl("predict", place / "runs" / "first", place / "new.csv", "--format", "csv")
    tables = [out, *((path.read_text("utf-8")) for path in (place / "runs" / "first").glob("*.csv"))]
    assert len(tables) > 1
    for table in tables:
        cells = [cell for row in csv.reader(io.StringIO(table)) for cell in row]
        assert cells
        numbers = [cell for cell in cells if re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell)]
        assert [cell for cell in cells if cell.startswith(FORMULA_STARTS) and cell not in numbers] == []


def test_nothing_acts_in_a_page(place, tl, tmp_path):
    tl("compare", place / "runs" / "first", place / "runs" / "second", "--report", tmp_path / "compared.html")
    for path in (place / "runs" / "first" / "report.html", tmp_path / "compared.html"):
        page = Acting(path.read_text("utf-8"))
        assert page.acting == []
        assert len(page.policies) == 1
        assert page.policies[0].startswith("default-src 'none'")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in (place / "runs" / "first" / "report.html").read_text("utf-8")
