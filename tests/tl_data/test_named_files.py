"""What a table may name: files below its folder, and nothing that a path, a link or an address leads to elsewhere."""

import csv
import os

import pytest

from tl_data import TableOptions
from tl_data.table import TableSource
from tlcore import Problem

INSIDE = (
    "ok.jpg",
    "./ok.jpg",
    "deep/../ok.jpg",
    "deep/in.jpg",
    "deep//in.jpg",
    " ok.jpg ",
    "inner_link.jpg",
    "b\\s.jpg",
)
OUTSIDE = {
    "../secret.jpg": "leads out of the table's folder",
    "deep/../../secret.jpg": "leads out of the table's folder",
    "..": "leads out of the table's folder",
    "/etc/passwd": "leads out of the table's folder",
    "//etc/passwd": "leads out of the table's folder",
    "/proc/self/environ": "leads out of the table's folder",
    "/dev/zero": "leads out of the table's folder",
    "link.jpg": "a link that leads out of the table's folder",
    "linked/other.jpg": "a link that leads out of the table's folder",
    "~/x.jpg": "there is no file",
    "~root/.profile": "there is no file",
    "$HOME/x.jpg": "there is no file",
    "%2e%2e/secret.jpg": "there is no file",
    "..%2fsecret.jpg": "there is no file",
    "..\\secret.jpg": "there is no file",
    "C:\\secret.jpg": "there is no file",
    "\\\\server\\secret.jpg": "there is no file",
    "deep\\in.jpg": "write / in place of \\",
    "OK.JPG": "there is no file",
    "ok.jpg\0": "there is no file",
    "x" * 5000: "there is no file",
    "file:///etc/passwd": "an address",
    "http://example.com/1.jpg": "an address",
    "s3://bucket/1.jpg": "an address",
    "data:image/png;base64,iVBORw0KGgo=": "an address",
    "pipe.jpg": "not a regular file",
    "deep": "not a regular file",
    ".": "not a regular file",
    "loop.jpg": "there is no file",
}


@pytest.fixture
def named(tmp_path):
    """Return a function that reads a table which names one file, and one that is good."""
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    for name in ("secret.jpg", "other/other.jpg", "data/ok.jpg", "data/deep/in.jpg", "data/b\\s.jpg"):
        (tmp_path / name).write_text(name)
    for name, target in {
        "link.jpg": "../secret.jpg",
        "linked": "../other",
        "inner_link.jpg": "deep/in.jpg",
        "loop.jpg": "loop.jpg",
    }.items():
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "pipe.jpg")

    def read(written, **options):
        with (folder / "t.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("path", "label"), (written, "a"), ("ok.jpg", "b")])
        found = list(TableSource(TableOptions(path=folder / "t.csv", input_is="path", **options)).examples())
        (item,) = (item for item in found if getattr(item, "label", "a") == "a" and item.id != "t.csv:3")
        return item

    return read


@pytest.mark.parametrize("written", INSIDE)
def test_a_file_in_the_tables_folder_is_used(named, written, tmp_path):
    assert os.path.realpath(named(written).input).startswith(os.path.realpath(tmp_path / "data") + os.sep)


@pytest.mark.parametrize("written", OUTSIDE, ids=lambda written: ascii(written)[:30])
def test_nothing_outside_of_the_tables_folder_is_used(named, written):
    problem = named(written)
    assert isinstance(problem, Problem)
    assert problem.skipped
    assert OUTSIDE[written] in problem.reason
    assert problem.id == "t.csv:2"
    assert len(problem.reason) < 400


def test_a_wider_root_allows_what_its_links_lead_to(named, tmp_path):
    assert named("data/link.jpg", root=tmp_path).input.read_text() == "secret.jpg"
    assert isinstance(named("link.jpg", root=tmp_path / "data"), Problem)


def test_the_tables_folder_may_itself_be_a_link(named, tmp_path):
    named("ok.jpg")
    (tmp_path / "alias").symlink_to("data")
    found = TableSource(TableOptions(path=tmp_path / "alias" / "t.csv", input_is="path")).examples()
    assert [item.label for item in found] == ["a", "b"]
