"""What an index knows of plugins: a bad one is met in another process, once, and harms only those who name it."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import tlcore
from tlcore.plugin_index import PluginIndex
from tlcore.registry import Registry

SOURCE = Path(__file__).parent / "outside" / "src"

OFFERING = """
import tlcore

@tlcore.hookimpl
def tl_tasks():
    yield tlcore.TaskSpec(
        name="thing", summary="Something to predict.", modality="vector", build=lambda options: None,
        smoke=lambda folder: tlcore.NoOptions(),
    )
"""
TOLD = """
@tlcore.hookimpl
def tl_run_started(event):
    event.notes.append("told")
"""
BAD = {
    "importing": ("import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
    "parsing": ("def broken(:", "SyntaxError"),
    "exiting": ("import sys; sys.exit(0)", "SystemExit: 0"),
    "dying": ("import os; os._exit(0)", "ends the process, with exit code 0"),
    "killed": ("import os; os.kill(os.getpid(), 9)", "ends the process, by SIGKILL"),
    "hanging": ("import time; time.sleep(600)", "did not end within 2 s"),
    "signing": (OFFERING.replace("tl_tasks()", "tl_tasks(options)"), "'options'"),
    "misspelling": (OFFERING.replace("tl_tasks", "tl_task"), "did you mean tl_tasks?"),
    "raising": (OFFERING.replace("yield tlcore", "raise ValueError('not today')\n    yield tlcore"), "not today"),
    "mistyping": ("import tlcore\n@tlcore.hookimpl\ndef tl_tasks():\n    return [3]\n", "3, which is no TaskSpec"),
    "newer": (OFFERING + "TLCORE_API = 2", "plugin API 2; this tlcore has API 1"),
    "vision": (OFFERING, "the name 'vision' is also claimed by vision (tlcore"),
}
"""Plugins that do not work, and the reason that a user reads."""
ODD = {
    "printing": "print('hello')" + OFFERING,
    "writing": "import os; os.write(1, b'hello')" + OFFERING,
    "patching": "import torch; torch.Tensor.backward = None; torch.nn.Linear = None" + OFFERING,
}
"""Plugins that work, but must not be imported for those who do not name them."""

RECIPE = """
task: vector-classification
data: {source: blobs, per_class: 20}
backbone: {name: perceptron, width: 8}
adapter: feature-extraction
train: {epochs: 1}
"""


def install(site, name: str, text: str) -> None:
    site.install(f"{name}-package", {name: f"{name}_module"}, **{f"{name}_module": text})


def offered(site, index, **settings) -> list[str]:
    host = site.host(index=index, **settings)
    return [offer.full_name for offer in Registry(host).offers("task")]


@pytest.fixture
def index(tmp_path_factory) -> PluginIndex:
    return PluginIndex(tmp_path_factory.mktemp("index"))


def counted(index, monkeypatch) -> list[str]:
    """Return a list that grows by a name with each look at a plugin."""
    looks = []
    look = index._look
    monkeypatch.setattr(index, "_look", lambda plugin: looks.append(plugin.name) or look(plugin))
    return looks


def test_listing_imports_nothing_and_a_name_only_its_own_plugin(site, index):
    install(site, "other", OFFERING)
    host = site.host(index=index)
    registry = Registry(host)
    offers = registry.offers("task")
    assert [(one.full_name, one.summary, one.modality) for one in offers] == [
        ("good/good", "Something to predict.", "vector"),
        ("other/thing", "Something to predict.", "vector"),
    ]
    assert not {"good_module", "other_module"} & set(sys.modules)
    assert registry.find("task", "thing").spec.modality == "vector"
    assert "other_module" in sys.modules
    assert "good_module" not in sys.modules


@pytest.mark.parametrize("name", [*sorted(BAD.keys() - {"vision"}), *ODD])
def test_what_a_plugin_does_at_import_is_kept_from_this_process(site, index, capfd, name):
    text, reason = BAD.get(name) or (ODD[name], None)
    install(site, name, text)
    index.limit = 2 if name == "hanging" else index.limit
    assert offered(site, index) == ["good/good", f"{name}/thing"] if reason is None else ["good/good"]
    host = site.host(index=index)
    Registry(host).offers("task")
    if reason is not None:
        [failure] = host.failures
        assert str(failure).startswith(f"plugin {name} ({name}-package 1.2) failed at ")
        assert reason in failure.reason
    assert f"{name}_module" not in sys.modules
    assert capfd.readouterr() == ("", "")


def test_a_known_plugin_is_not_looked_at_again(site, index, monkeypatch):
    install(site, "exiting", BAD["exiting"][0])
    looks = counted(index, monkeypatch)
    first = offered(site, index)
    assert looks == ["exiting", "good"]
    again = PluginIndex(index.folder)
    monkeypatch.setattr(again, "_look", lambda plugin: pytest.fail("it was looked at again"))
    assert offered(site, again) == first
    assert "SystemExit" in site.host(index=again).failures[0].reason


def changed_version(site):
    (site.folder / "good_package-1.2.dist-info").rename(site.folder / "good_package-1.3.dist-info")
    metadata = site.folder / "good_package-1.3.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.2", "1.3"))


def changed_in_place(site):
    """As by a copy that keeps size and time: what the system notes of a change it notes nevertheless."""
    module = site.folder / "good_module.py"
    before = module.stat()
    module.write_text(module.read_text().replace('"good"', '"gaad"'))
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "the module": changed_in_place,
    "the version": changed_version,
    "another package is installed": lambda site: site.install("another", {}),
    "the record is damaged": lambda site: [record.write_text("{") for record in site.records],
    "the record is another's": lambda site: [
        record.write_text('{"description": {"faults": []}}') for record in site.records
    ],
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_may_change_the_answer_makes_it_look_again(site, index, monkeypatch, change):
    offered(site, index)
    looks = counted(index, monkeypatch)
    site.records = list(index.folder.iterdir())
    change(site)
    assert offered(site, index) == ["good/gaad" if change is changed_in_place else "good/good"]
    assert looks == ["good"]


def test_a_change_in_any_file_of_a_package_is_noticed(site, index):
    package = site.folder / "wide" / "inner"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "__init__.py").write_text("from wide.words import NAME\n" + OFFERING.replace('"thing"', "NAME"))
    (package.parent / "words.py").write_text("import aside\nNAME = aside.NAME")
    (site.folder / "aside.py").write_text("NAME = 'one'")
    site.install("wide-package", {"wide": "wide.inner"})
    assert "wide/one" in offered(site, index)
    (site.folder / "aside.py").write_text("NAME = 'three'")
    assert "wide/three" in offered(site, index)
    (package.parent / "words.py").write_text("NAME = ")
    assert offered(site, index) == ["good/good"]
    (package.parent / "words.py").write_text("NAME = 'four'")
    assert "wide/four" in offered(site, index)


def test_one_that_failed_is_looked_at_again_when_asked(site, index, monkeypatch):
    install(site, "dying", f"import os\nif not os.path.exists({str(site.folder / 'ready')!r}): os._exit(1)" + OFFERING)
    assert offered(site, index) == ["good/good"]
    (site.folder / "ready").touch()
    assert offered(site, index) == ["good/good"]
    looks = counted(index, monkeypatch)
    assert offered(site, index, again=True) == ["dying/thing", "good/good"]
    assert looks == ["dying"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_folder_that_may_not_be_written_to_costs_a_look_each_time(site, tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert offered(site, PluginIndex(tmp_path / "plugins")) == ["good/good"]


def test_a_cache_folder_that_cannot_be_made_costs_a_look_each_time(site, tmp_path):
    (tmp_path / "file").touch()
    for _ in range(2):
        assert offered(site, PluginIndex(tmp_path / "file" / "plugins")) == ["good/good"]
    assert (tmp_path / "file").read_bytes() == b""


def test_a_plugin_that_hears_of_runs_is_imported_when_there_is_something_to_hear(site, index):
    install(site, "hearing", OFFERING + TOLD)
    install(site, "offering", OFFERING)
    host, notes = site.host(index=index, disabled=["good"]), []
    assert "hearing_module" not in sys.modules
    host.notify("tl_run_finished", None, pytest.fail)
    assert "hearing_module" not in sys.modules
    host.notify("tl_run_started", tlcore.RunStarted(folder=Path(), recipe={}, counts={}, notes=notes), pytest.fail)
    assert notes == ["told"]
    assert "offering_module" not in sys.modules


FICKLE = "import sys\nif not sys.dont_write_bytecode: raise ImportError('not here')\n"
"""It works in the process that looks at it and nowhere else."""


def test_one_that_works_only_when_looked_at_is_blamed_and_left_out(site, index, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    install(site, "fickle", FICKLE + OFFERING + TOLD)
    host, notes, warnings = site.host(index=index), [], []
    with pytest.raises(tlcore.PluginError, match=r"fickle \(fickle-package 1.2\).*not here") as caught:
        _ = Registry(host).find("task", "fickle/thing").spec
    assert "--no-plugin fickle" in caught.value.hint
    event = tlcore.RunStarted(folder=Path(), recipe={}, counts={}, notes=notes)
    host.notify("tl_run_started", event, warnings.append)
    assert notes == ["good was told"]
    again = site.host(index=index)
    for _ in range(2):
        again.notify("tl_run_started", event, warnings.append)
    assert len(warnings) == 1
    assert "not here" in warnings[0]


def test_strictness_and_choice_hold_for_what_the_index_tells(site, index):
    install(site, "exiting", BAD["exiting"][0])
    with pytest.raises(tlcore.PluginError, match="exiting-package"):
        site.host(index=index, environ={"TL_STRICT_PLUGINS": "1"})
    assert site.host(index=index, environ={"TL_PLUGINS": "good", "TL_STRICT_PLUGINS": "1"}).failures == []


def test_one_module_under_two_names_is_one_plugin(site, index):
    site.install("twin-package", {"twin": "good_module"})
    assert offered(site, index) == ["good/good"]
    assert "is the plugin good (good-package 1.2) already" in site.host(index=index).failures[0].reason


@pytest.mark.parametrize("limit", ["soon", "0", "-1", "nan", "inf"])
def test_a_time_limit_is_a_number_of_seconds(limit, monkeypatch):
    from tlcore.plugins import PluginHost

    monkeypatch.setattr("tlcore.plugins.entry_points", lambda group: _one_stranger())
    with pytest.raises(tlcore.UsageError, match="TL_PLUGIN_TIMEOUT"):
        PluginHost(environ={"TL_PLUGIN_TIMEOUT": limit})


def _one_stranger():
    from importlib.metadata import EntryPoint

    return [EntryPoint("stranger", "no_such_module", "tlcore")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder that holds every bad plugin, one that works, a recipe for that, and a warm index."""
    folder = tmp_path_factory.mktemp("place")
    from conftest import Site

    (folder / "site").mkdir()
    site = Site(folder / "site")
    (site.folder / "outside_vectors").symlink_to(SOURCE / "outside_vectors")
    site.install("outside-vectors", {"vectors": "outside_vectors"}, "1.0.0")
    for name, (text, _) in BAD.items():
        install(site, name, text)
    for name, text in ODD.items():
        canary = f"open({str(folder / 'canary')!r}, 'a').write('{name} ')\n"
        install(site, name, canary + text)
    (folder / "vectors.yaml").write_text(RECIPE)
    assert tl(folder, "plugins", TL_PLUGIN_TIMEOUT="5").returncode == 0
    assert sorted((folder / "canary").read_text().split()) == sorted(ODD)
    return folder


def tl(place: Path, *words: str, **environ: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", "from tlcore.cli import main; main()", *words],
        cwd=place,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(place / "site"), os.environ.get("PYTHONPATH", "")]),
            "TL_CACHE": str(place / "cache"),
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    "words",
    [["--help"], ["recipe", "check", "vectors.yaml"], ["list", "backbones"], ["show", "task", "vector-regression"]],
    ids=" ".join,
)  # fmt: skip
def test_bad_plugins_change_nothing_for_those_who_do_not_name_them(place, words):
    with_them, without = tl(place, *words), tl(place, *words, TL_PLUGINS="vectors")
    assert (with_them.returncode, with_them.stdout) == (0, without.stdout)
    assert len((place / "canary").read_text().split()) == len(ODD)


def test_bad_plugins_change_nothing_in_a_run(place):
    with_them, without = tl(place, "run", "vectors.yaml", "--json"), tl(
        place, "run", "vectors.yaml", "--json", TL_PLUGINS="vectors"
    )  # fmt: skip
    assert with_them.returncode == 0, with_them.stderr
    assert json.loads(with_them.stdout)["metrics"] == json.loads(without.stdout)["metrics"]
    assert len((place / "canary").read_text().split()) == len(ODD)


def test_tl_plugins_lists_the_working_and_tells_of_each_bad_one(place):
    shown = tl(place, "plugins", "--json")
    assert shown.returncode == 0
    about = json.loads(shown.stdout)
    without = json.loads(tl(place, "plugins", "--json", TL_PLUGINS="vectors").stdout)
    odd = [one for one in about["plugins"] if one["name"] in (*ODD, "raising", "mistyping")]
    assert [one for one in about["plugins"] if one not in odd] == without["plugins"]
    assert {one["name"] for one in about["failures"]} == set(BAD)
    assert len((place / "canary").read_text().split()) == len(ODD)


@pytest.mark.parametrize("name", BAD)
def test_a_recipe_that_names_a_bad_plugin_ends_with_8_and_the_whole_story(place, name):
    distribution = f"{name}-package 1.2"
    done = tl(place, "recipe", "check", "vectors.yaml", "--set", f"task={name}/thing")
    assert (done.returncode, done.stdout) == (8, "")
    assert distribution in done.stderr
    assert BAD[name][1].replace("2 s", "5 s") in done.stderr
    assert f"--no-plugin {name}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plugin_that_prints_works_without_a_word_on_standard_output(place):
    done = tl(place, "show", "task", "printing/thing", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["full_name"] == "printing/thing"
