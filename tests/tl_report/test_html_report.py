"""The page: complete, self-contained, and nothing that data brought is markup in it."""

import io
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

import tl_report
from tests.support.reports import NOWHERE, finished
from tl_report.html import rendered, write_report
from tlcore import Mistake, Problem, Table

PAYLOADS = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>', "javascript:alert(1)",
    "'><a href='http://evil.example/'>x</a>", "</title><script>1</script>", "</style><script>1</script>", "{{ 7 * 7 }}",
    "{% include '/etc/passwd' %}", "<iframe src=//evil.example>", "--><script>1</script>", "&lt;script&gt;",
    "]]><script>1</script>", "<meta http-equiv=refresh content=0>", "<base href=//evil.example/>", "\x1b[31mred",
    "[/bold]", "$\\bad{", "=cmd()", "\u202egnp.exe", "\ud800", '" style="position:fixed" x="', "' onfocus=alert(1) '",
    "</pre></details></svg><script>1</script>", "\x00\x07\x9b2J", "{0.__class__} %s {}", "@import url(//evil.example)",
    "<scr\nipt>", "`${alert(1)}`", "x" * 300 + '"><script>1',
]  # fmt: skip

OWN_LINKS = {"confusion.csv", "history.jsonl", "problems.jsonl"}


class Census(HTMLParser):
    """Counts what could act in a page, and collects what it says."""

    def __init__(self, page):
        super().__init__()
        self.scripts = self.handlers = 0
        self.addresses = []
        self.tags = []
        self.policies = []
        self.text = ""
        self.feed(page)
        self.close()
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.text += " "
        self.scripts += tag == "script"
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policies.append(attributes["content"])
        for name, value in attrs:
            self.handlers += name.startswith("on")
            if name in ("src", "href", "action", "data", "srcset", "poster", "formaction", "xlink:href"):
                self.addresses.append(value)

    def handle_data(self, data):
        self.text += data


def drawn(number, size=(224, 224)):
    picture = Image.new("RGB", size, (200, 210, 220))
    pen = ImageDraw.Draw(picture)
    w, h = size
    pen.rectangle((0, h * 0.7, w, h), fill=(90, 90, 95))
    pen.rounded_rectangle((w * 0.15, h * 0.45, w * 0.85, h * 0.72), w // 20, fill=(37 * number % 256, 90, 140))
    for x in (0.3, 0.7):
        pen.ellipse((w * (x - 0.08), h * 0.64, w * (x + 0.08), h * 0.8), fill=(30, 30, 30))
    return png(picture)


def png(picture):
    raw = io.BytesIO()
    picture.save(raw, "PNG")
    return raw.getvalue()


def noise(side):
    return png(Image.merge("RGB", [Image.effect_noise((side, side), 90)] * 3))


@pytest.mark.slow
@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_that_data_brought_is_markup(tmp_path, payload):
    word = "x" * len(payload)  # long names are shortened, so a harmless one of the same length is the measure
    for event in (finished(tmp_path, word), finished(tmp_path, payload)):
        (tmp_path / "recipe.yaml").write_text(f"name: {event.recipe['name']}", "utf-8", "backslashreplace")
        census = Census(rendered(event))
        assert census.scripts == census.handlers == 0
        assert set(census.addresses) <= OWN_LINKS
        if event.recipe["name"] == word:
            harmless = census.tags
    assert census.tags == harmless


@pytest.mark.slow
@settings(max_examples=60)
@given(st.text(min_size=1, max_size=60))
def test_no_text_makes_an_element_or_turns_the_reading_round(text):
    page = rendered(finished(NOWHERE, text))
    counted = [Census(one).tags for one in (page, rendered(finished(NOWHERE, "word")))]
    first, second = [[tag for tag in tags if tag != "span"] for tags in counted]  # a span shortens a long name
    assert first == second
    page.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)


def test_the_page_may_load_and_run_nothing(tmp_path):
    page = rendered(finished(tmp_path, preview=drawn(1)))
    [policy] = Census(page).policies
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert "url(" not in page
    assert "@import" not in page


def test_the_page_says_what_counts(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: plain\nseed: 7\n")
    text = Census(rendered(finished(tmp_path))).text
    said = [
        "Macro F1 0.790 on 30 test examples; always guessing “car plain” gives 0.160.",
        "It gets 24 of 30 right: an accuracy between 63% and 90%",
        "best: 2", "validation 0.790", "always guessing 0.330", "of 2, by validation macro F1", "bike plain weakest",
        "id plain", "93%", "4%", "note plain", "1 example skipped", "broken plain", "140", "200",
        "below two", "tl run plain", f"tl predict {tmp_path} FILES", "seed: 7", "torch", "3.0 s", "at most 1.0 GB",
        "Also in by hour.csv",
    ]  # fmt: skip
    assert [words for words in said if words not in text] == []


def test_the_confusion_matrix_shows_every_count_and_says_it_in_words(tmp_path):
    rows = (("car", 17, 3, 0), ("bus", 0, 21, 4), ("bike", 0, 0, 0))
    event = finished(tmp_path, tables={"confusion": Table(("truth", "car", "bus", "bike"), rows)})
    page = rendered(event)
    picture = page[page.index('class="matrix"') : page.index("</svg>", page.index('class="matrix"'))]
    assert re.findall(r">(\d+)</text></g>", picture) == ["17", "3", "21", "4"]
    assert re.findall(r'class="(hit|miss) shade(\d)"', picture)[:3] == [("hit", "7"), ("miss", "2"), ("miss", "0")]
    assert "car taken for bus: 3 of 20 (15%)" in picture
    assert "car recognised: 17 of 20 (85%)" in picture
    text = Census(page).text
    assert text.index("bus bike 4 of 25") < text.index("car bus 3 of 20"), "the commonest mistake stands first"


def test_many_classes_become_a_list_of_the_worst_confusions(tmp_path):
    names = [f"class{n}" for n in range(100)]
    rows = [[name, *[9 if m == n else 0 for m in range(100)]] for n, name in enumerate(names)]
    rows[31][1 + 64] = 7
    tables = {"confusion": Table(("truth", *names), tuple(map(tuple, rows)))}
    page = rendered(finished(tmp_path, classes=names, tables=tables))
    census = Census(page)
    assert 'class="matrix"' not in page
    assert "confusion.csv" in census.addresses
    assert "class31 class64 7 of 16" in census.text
    assert "85 more classes" in census.text
    assert len(page) < 5_000_000


@pytest.mark.parametrize("count", [2, 25])
def test_up_to_25_classes_are_drawn(tmp_path, count):
    page = rendered(finished(tmp_path, classes=[f"class{n}" for n in range(count)]))
    assert len(re.findall(r'class="(hit|miss) shade', page)) == count**2


def test_pictures_of_mistakes_are_inside_the_page(tmp_path):
    mistakes = tuple(Mistake(f"car {n}", "a", "b", {"confidence": 0.9}, drawn(n)) for n in range(12))
    pictures = Census(rendered(finished(tmp_path, mistakes=mistakes))).addresses
    pictures = [address for address in pictures if address not in OWN_LINKS]
    assert len(set(pictures)) == 12
    assert all(address.startswith("data:image/png;base64,") for address in pictures)


@pytest.mark.slow
def test_big_pictures_are_made_smaller_so_that_all_are_shown_in_under_5_mb(tmp_path):
    mistakes = tuple(Mistake(str(n), "a", "b", {}, noise(1200)) for n in range(12))
    assert sum(len(mistake.preview) for mistake in mistakes) > 40_000_000
    path = write_report(finished(tmp_path, mistakes=mistakes))
    assert path.stat().st_size < 5_000_000
    assert path.read_text("utf-8").count('<img src="data:image/jpeg;base64,') == 12


@pytest.mark.parametrize(
    "preview", [b"", b"<svg onload=alert(1)>", noise(1200)[:2_700_000], b"\x89PNG\r\n\x1a\n" + bytes(3_000_000)]
)
def test_what_is_no_picture_is_named_instead(tmp_path, preview):
    page = rendered(finished(tmp_path, mistakes=(Mistake("id 5", "a", "b", {}, preview),)))
    assert "<img" not in page
    assert "Its picture cannot be shown." in page


def test_a_long_text_is_cut_and_says_so(tmp_path):
    text = Census(rendered(finished(tmp_path, preview="word " * 1000))).text
    assert "4,200 characters more" in text
    assert text.count("word") < 200


def test_a_long_name_is_shortened_and_kept_whole_behind_it(tmp_path):
    name = "a-very-long-name-" * 10
    page = rendered(finished(tmp_path, classes=(name, "b")))
    assert f'title="{name} plain"' in page
    shown = re.sub(r"<title>.*?</title>", "", page)
    assert f"{name} plain</" not in shown
    assert f"{name[:40]}…{name[-33:]} plain</span>" in shown


def test_many_problems_are_grouped_and_the_rest_is_named(tmp_path):
    problems = tuple(Problem(f"photo {n}", "no picture" if n % 3 else "empty file", skipped=n > 9) for n in range(120))
    text = Census(rendered(finished(tmp_path, problems=problems))).text
    assert re.search(
        r"110 examples skipped, 10 odd ones kept; each is listed with its reason in\s+problems.jsonl", text
    )
    assert "The first 50 of 120" in text
    assert "photo 49" in text
    assert "photo 50" not in text


def test_a_task_without_classes_has_a_report_too(tmp_path):
    scores = {"n": 30, "loss": 0.5, "mae": 0.1, "bias": -0.0251}
    selection = {"metric": "mae", "higher_is_better": False}
    metrics = {"test": scores, "validation": scores, "best_epoch": 1, "selection": selection}
    record = {"epoch": 1, "train": {"loss": 1.0}, "validation": scores, "lr": 0.1, "seconds": 1.0, "best": True}
    manifest = finished(tmp_path).manifest | {"classes": {}}
    mistakes = (Mistake("id 4", 3.25, 5.5, {"prediction": 5.5}, "2 rooms"),)
    event = finished(tmp_path, metrics=metrics, history=(record,), tables={}, manifest=manifest, mistakes=mistakes)
    text = Census(rendered(event)).text
    for said in (
        "Mean absolute error 0.100 on 30 test examples (lower is better)",
        "-0.025",
        "3.250",
        "5.500",
        "2 rooms",
    ):
        assert said in text, said
    assert "Class by class" not in text
    assert "What it takes for what" not in text


def test_a_run_without_epochs_and_a_loss_beyond_all_numbers_have_reports(tmp_path):
    assert "No epoch was recorded" in rendered(finished(tmp_path, history=()))
    history = [
        {"epoch": n, "train": {"loss": loss}, "validation": {"loss": loss, "macro_f1": 0.5}, "lr": 0.1, "seconds": 1.0,
         "best": False}
        for n, loss in ((1, float("inf")), (2, 1e-30), (3, 1e30))
    ]  # fmt: skip
    assert "<title>Loss</title>" in rendered(finished(tmp_path, history=history))


def test_the_file_is_written_whole_beside_nothing_else_and_only_where_it_is_wanted(tmp_path, capsys):
    tl_report.tl_run_finished(finished(tmp_path, report="none"))
    assert list(tmp_path.iterdir()) == []
    tl_report.tl_run_finished(finished(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text("utf-8").rstrip().endswith("</html>")
    assert capsys.readouterr().out == ""
