"""Installed distributions in a folder, and the command ``tl`` where they are installed."""

import os
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

from tlcore.plugins.host import PluginHost

GOOD = """
import tlcore

@tlcore.hookimpl
def tl_tasks():
    yield tlcore.TaskSpec(
        name="{name}", summary="Something to predict.", modality="vector", build=lambda options: None,
        smoke=lambda folder: tlcore.NoOptions(),
    )

@tlcore.hookimpl
def tl_run_started(event):
    event.notes.append("{name} was told")
"""


class Site:
    """A folder on sys.path, with distributions as an installer leaves them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, distribution: str, plugins: dict[str, str], version: str = "1.2", **modules: str) -> None:
        """Write a distribution: its plugins (name: module) and the source text of its modules."""
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = [f"{name} = {module}" for name, module in plugins.items()]
        (info / "entry_points.txt").write_text("\n".join(["[tlcore]", *lines, ""]))
        for name, text in modules.items():
            (self.folder / f"{name}.py").write_text(text)

    def host(self, **settings):
        """Return a host of what is installed here and nowhere else."""
        return PluginHost(
            [
                point
                for distribution in distributions(path=[str(self.folder)])
                for point in distribution.entry_points
                if point.group == "tlcore"
            ],
            **{"environ": {}, **settings},
        )


def tl(site, *arguments: str, **environ: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(site.folder), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", "from tlcore.cli import main; main()", *arguments],
        env={**os.environ, "PYTHONPATH": path, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
