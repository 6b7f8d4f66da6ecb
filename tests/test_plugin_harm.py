"""More plugins that misbehave: whatever one does at its import, or is declared like, harms only those who name it."""

import json
import os
import sys

import pytest
from conftest import Site
from test_plugin_index import OFFERING, RECIPE, SOURCE, install, tl

from tlcore.plugin_index import PluginIndex
from tlcore.registry import Registry

AT_IMPORT = {
    "emptying": "import sys; sys.modules.clear()",
    "settling": "import os; os.environ.update(TL_CACHE='/nowhere', HF_HUB_OFFLINE='0', PYTHONPATH='/nowhere')",
    "moving": "import os; os.chdir('/')",
    "threading_on": "import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=False).start()",
    "listening": "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "warning": "import warnings; warnings.warn('look at me'); warnings.simplefilter('error')",
    "shouting": "import os; os.write(1, b'x' * 5_000_000); os.write(2, b'x' * 5_000_000)",
    "rebuilding": "import builtins; builtins.open = None; builtins.print = None",
    "hooking": "import sys; sys.meta_path.insert(0, None)",
    "closing": "import os; os.closerange(0, 64)",
    "leaving_late": "import atexit, os; atexit.register(os._exit, 0)",
    "deepening": "import sys; sys.setrecursionlimit(60)",
}
RAISING = {
    "interrupting": ("raise KeyboardInterrupt", "its import ends the process"),
    "basing": ("class Other(BaseException): pass\nraise Other('odd')", "Other: odd"),
    "recursing": ("def f(): f()\nf()", "RecursionError"),
    "forking": ("import os\nos.fork()", "its import ends the process"),
    "endless": (OFFERING.replace("yield tlcore", "while True: yield tlcore"), "did not end"),
    "longwinded": ("raise ValueError('x' * 5_000_000)", "ValueError"),
    "steering": ("raise ValueError('\\x1b[2J\\u202e')", "ValueError"),
    "nameless": (OFFERING.replace('name="thing"', "name=5"), "5 is no name"),
    "unsummed": (OFFERING.replace('"Something to predict."', "None"), "has no summary"),
    "renaming": (OFFERING.replace('"thing"', "'x\\x1b[2J'"), "is no name"),
}
ENDING = ("emptying", "hooking", "closing")
"""Of the first ones, those that cannot even answer."""


def hosted(site):
    host = site.host(index=PluginIndex(site.folder / "index", limit=10))
    return host, [offer.full_name for offer in Registry(host).offers("task")]


@pytest.mark.parametrize("name", [*AT_IMPORT, *RAISING])
def test_one_plugin_harms_no_other(site, capfd, name, monkeypatch):
    text = AT_IMPORT[name] + OFFERING if name in AT_IMPORT else RAISING[name][0]
    install(site, name, text)
    before = dict(os.environ), os.getcwd(), len(sys.modules) > 100
    host, offers = hosted(site)
    assert "good/good" in offers
    for failure in host.failures:
        assert f"{name}-package 1.2" in str(failure)
        assert len(str(failure)) < 1000
    assert (dict(os.environ), os.getcwd(), len(sys.modules) > 100) == before
    assert capfd.readouterr() == ("", "")
    reason = RAISING.get(name, ("", ""))[1] if name not in ENDING else "i"
    assert bool(reason) == bool(host.failures)
    assert all(reason in failure.reason for failure in host.failures)
    assert (f"{name}/thing" in offers) == (not reason)


BROKEN = {
    "without metadata": lambda info: (info / "METADATA").unlink(),
    "of no name": lambda info: (info / "METADATA").write_text("Metadata-Version: 2.1\n"),
    "of no version": lambda info: (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\n"),
    "of an odd version": lambda info: (info / "METADATA").write_text("Name: odd\nVersion: \x1b[2Jx\n"),
    "in no encoding": lambda info: (info / "METADATA").write_bytes(b"Name: \xff\xfe\n"),
    "whose entry points are bytes": lambda info: (info / "entry_points.txt").write_bytes(b"[tlcore]\n\xff\xfe = x\n"),
    "whose entry points are words": lambda info: (info / "entry_points.txt").write_text("[tlcore]\nnonsense\n"),
    "whose entry point is empty": lambda info: (info / "entry_points.txt").write_text("[tlcore]\nodd =\n"),
    "whose entry point is a call": lambda info: (info / "entry_points.txt").write_text("[tlcore]\nodd = a:b('x')\n"),
    "whose entry point has a nul": lambda info: (info / "entry_points.txt").write_text("[tlcore]\no\0dd = a\0b\n"),
    "whose entry point is relative": lambda info: (info / "entry_points.txt").write_text("[tlcore]\nodd = ..x\n"),
    "whose object is missing": lambda info: (info / "entry_points.txt").write_text("[tlcore]\nodd = odd_module:no\n"),
    "whose entry points are outside a group": lambda info: (info / "entry_points.txt").write_text("odd = x\n"),
}  # fmt: skip


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_a_distribution_that_is_broken_harms_nobody(tmp_path, change):
    (tmp_path / "site").mkdir()
    site = Site(tmp_path / "site")
    (site.folder / "outside_vectors").symlink_to(SOURCE / "outside_vectors")
    site.install("outside-vectors", {"vectors": "outside_vectors"}, "1.0.0")
    install(site, "odd", OFFERING)
    change(site.folder / "odd_package-1.2.dist-info")
    (tmp_path / "vectors.yaml").write_text(RECIPE)
    done = tl(tmp_path, "recipe", "check", "vectors.yaml")
    assert done.returncode == 0, done.stderr
    done = tl(tmp_path, "plugins", "--json")
    assert done.returncode == 0, done.stderr
    assert "vectors" in [one["name"] for one in json.loads(done.stdout)["plugins"]]
    about = json.loads(done.stdout)["failures"]
    assert {one["name"].replace("\0", "") for one in about} <= {"odd"}
