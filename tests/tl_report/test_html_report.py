"""The page: complete, self-contained, and nothing that data brought is markup in it."""

import io
from html.parser import HTMLParser

import pytest
from PIL import Image

from tl_report.html import rendered, write_report
from tlcore import Mistake, Problem, RunFinished, Table

PAYLOADS = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>', "javascript:alert(1)",
    "'><a href='http://evil.example/'>x</a>", "</title><script>1</script>", "</style><script>1</script>", "{{ 7 * 7 }}",
    "{% include '/etc/passwd' %}", "<iframe src=//evil.example>", "--><script>1</script>", "&lt;script&gt;",
    "]]><script>1</script>", "<meta http-equiv=refresh content=0>", "<base href=//evil.example/>", "\x1b[31mred",
    "[/bold]", "$\\bad{", "=cmd()", "\u202egnp.exe", "\ud800",
]  # fmt: skip


class Census(HTMLParser):
    """Counts what could act in a page."""

    def __init__(self, page):
        super().__init__()
        self.scripts = self.handlers = 0
        self.addresses = []
        self.tags = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.scripts += tag == "script"
        for name, value in attrs:
            self.handlers += name.startswith("on")
            if name in ("src", "href", "action", "data"):
                self.addresses.append(value)

    def handle_data(self, data):
        self.text += data


def png(size=(40, 30)):
    raw = io.BytesIO()
    Image.effect_noise(size, 90).save(raw, "PNG")
    return raw.getvalue()


def finished(folder, word="plain", classes=("car", "bus", "bike"), preview=None, **changes):
    names = [f"{name} {word}" for name in classes]
    scores = {"n": 30, "loss": 0.5, "accuracy": 0.8, "macro_f1": 0.79, "ece": 0.05, "absent": []}
    scores["per_class"] = {name: {"precision": 0.8, "recall": 0.7, "f1": 0.75, "support": 10} for name in names}
    scores["majority"] = {"class": names[0], "accuracy": 0.33, "macro_f1": 0.16}
    rows = tuple((name, *[9 if m == n else 1 for m in range(len(names))]) for n, name in enumerate(names))
    given = {
        "folder": folder,
        "recipe": {
            "name": word, "task": {"name": f"x/{word}"},
            "backbone": {"name": "vision/vgg16"}, "adapter": {"name": "a/b"},
            "data": {"source": f"data/{word}"}, "train": {"epochs": 2}, "evaluate": {"report": "html", "mistakes": 12},
        },
        "metrics": {"test": scores, "validation": scores, "best_epoch": 2,
                    "selection": {"metric": "macro_f1", "higher_is_better": True}},
        "history": [
            {"epoch": n, "train": {"loss": 1 / n}, "validation": {"loss": 1.1 / n, "macro_f1": 0.5 + n / 10}, "lr": 0.1,
             "seconds": 1.0, "best": True}
            for n in (1, 2)
        ],
        "tables": {"confusion": Table(("truth", *names), rows)},
        "manifest": {
            "tlcore": "0.1.0", "versions": {"torch": word}, "seed": 7, "device": "cpu", "precision": "fp32",
            "backbone": {"stages": [word, "two"], "first_trained": None,
                         "trained_parameters": 10, "frozen_parameters": 99},
            "counts": {"train": 140, "validation": 30, "test": 30},
            "classes": {name: {"train": 47, "validation": 10, "test": 10} for name in names},
            "features": {"computed": 200, "reused": 0}, "seconds": {"features": 3.0, "training": 1.0},
            "peak_memory_bytes": 10**9, "started": "2026-01-31T12:00:00", "command": f"tl run {word}",
        },
        "problems": (Problem(f"file {word}", f"broken {word}"),),
        "mistakes": (Mistake(f"id {word}", names[0], names[1], {"confidence": 0.93}, preview or f"text {word}"),),
        "notes": (f"note {word}",),
    }  # fmt: skip
    return RunFinished(**{**given, **changes})


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_that_data_brought_is_markup(tmp_path, payload):
    harmless, hostile = Census(rendered(finished(tmp_path))), Census(rendered(finished(tmp_path, payload)))
    assert hostile.scripts == hostile.handlers == 0
    assert hostile.tags == harmless.tags
    assert hostile.addresses == harmless.addresses == []


def test_the_page_says_what_counts(tmp_path):
    page = rendered(finished(tmp_path))
    text = Census(page).text
    said = [
        "Macro F1 0.790 on 30 test examples",
        "always guessing “car plain” gives 0.160",
        "weakest class",
        "id plain",
    ]
    said += ["taken for", "93%", "note plain", "broken plain", "All stages stayed frozen", "tl run plain"]
    assert [words for words in said if words not in text] == []
    assert "default-src 'none'" in page
    assert page.count('class="cell') == 9


def test_pictures_of_mistakes_are_inside_the_page_and_the_page_stays_small(tmp_path):
    mistakes = tuple(Mistake(str(n), "a", "b", {}, png((800, 800))) for n in range(12))
    page = rendered(finished(tmp_path, mistakes=mistakes))
    addresses = Census(page).addresses
    assert addresses
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert len(page) < 5_000_000
    assert page.count("picture not shown") == 12 - len(addresses)


def test_many_classes_become_a_list_of_the_worst_confusions(tmp_path):
    page = rendered(finished(tmp_path, classes=[f"class{n}" for n in range(100)]))
    assert 'class="cell' not in page
    assert "too many classes for a picture" in page
    assert len(page) < 5_000_000


def test_a_task_without_classes_has_a_report_too(tmp_path):
    scores = {"n": 30, "loss": 0.5, "mae": 0.1}
    selection = {"metric": "mae", "higher_is_better": False}
    metrics = {"test": scores, "validation": scores, "best_epoch": 1, "selection": selection}
    record = {"epoch": 1, "train": {"loss": 1.0}, "validation": scores, "lr": 0.1, "seconds": 1.0, "best": True}
    text = Census(rendered(finished(tmp_path, metrics=metrics, history=(record,), tables={}))).text
    assert "Mean absolute error 0.100 on 30 test examples" in text


def test_the_file_is_written_whole_beside_nothing_else(tmp_path):
    path = write_report(finished(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text("utf-8").rstrip().endswith("</html>")
