"""Files that lie where somebody works, called like modules, are no modules: not for `tl`, and not for its processes."""

import json
import os
import subprocess
import sys

import pytest

from tests.support import ROOT
from tl_text.checkpoint import write_tiny

pytestmark = pytest.mark.slow

NAMES = ("torch", "json", "transformers", "sitecustomize", "usercustomize", "conftest", "tlcore", "yaml", "random")
START = "import sys; sys.path.pop(0); from tlcore.cli import main; main()"
"""As the installed `tl` starts: the working folder is not among the places of modules."""


@pytest.mark.parametrize("more", [[], ["--processes", "2"]], ids=["alone", "together"])
def test_no_file_beside_a_recipe_runs(tmp_path, more):
    write_tiny(tmp_path / "bert")
    rows = [f"{word} film {n},{word}" for n in range(30) for word in ("good", "bad")]
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *rows]))
    recipe = {
        "task": "text-classification", "data": {"source": "table", "path": "t.csv"},
        "backbone": {"name": "bert", "weights": "bert"}, "adapter": "feature-extraction",
        "train": {"epochs": 1, "device": "cpu", "precision": "fp32"},
        "evaluate": {"resamples": 0, "probe": False, "report": "none"},
    }  # fmt: skip
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(f"import os; os.makedirs({str(tmp_path / 'ran' / name)!r})")
    (tmp_path / ".env").write_text("TL_PLUGINS=evil\n")
    (tmp_path / "pyproject.toml").write_text("[project.entry-points.tlcore]\nevil = 'evil'\n")
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    done = subprocess.run(
        [sys.executable, "-c", START, "run", "r.yaml", "--out", "out", *more],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert not (tmp_path / "ran").exists(), [one.name for one in (tmp_path / "ran").iterdir()]
    assert done.returncode == 0, done.stderr
