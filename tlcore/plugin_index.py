"""What plugins offer, told without importing them: each is looked at once, in a process of its own, with a time limit.

A plugin's import may exit, hang, print or change other libraries. What a look gave is kept in the cache folder for as
long as the plugin's files and the installed distributions stay as they are, so that resolving a name imports only the
plugin that has it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.machinery
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tlcore import hookspecs

__all__ = ["TIME_LIMIT", "Description", "Fault", "Listed", "Plugin", "PluginIndex"]

TIME_LIMIT = 20.0
"""Seconds that the import of a light module may take before it is given up."""
FORMAT = 1
LAUNCH = "import sys; sys.path[:] = sys.argv[3:]; from tlcore.plugin_look import main; main()"
METADATA = (".dist-info", ".egg-info")


@dataclass(frozen=True, order=True)
class Plugin:
    """A plugin as its distribution declares it."""

    name: str
    module: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} ({f'{self.distribution} {self.version}'.strip()})"


@dataclass(frozen=True)
class Listed:
    """What `tl list` says of one thing that a plugin offers; ``modality`` is None where its kind has none."""

    name: str
    summary: str
    modality: str | None


@dataclass(frozen=True)
class Fault:
    """What went wrong, in the words of ``Failure``; ``offer`` is the name of what is refused, if it is one thing."""

    doing: str
    reason: str
    traceback: str = ""
    offer: str = ""


@dataclass(frozen=True)
class Description:
    """What a look at a plugin found: the hooks that it implements, what it offers by kind, and what does not work."""

    hooks: tuple[str, ...]
    offers: Mapping[str, tuple[Listed, ...]]
    faults: tuple[Fault, ...]


class PluginIndex:
    """Descriptions of plugins, kept in ``folder``, by default ``plugins`` in the cache folder, if it can be written to.

    ``limit`` is the time that a look may take, in seconds.
    """

    def __init__(self, folder: Path | None = None, limit: float = TIME_LIMIT) -> None:
        self.folder = folder or _usual_folder()
        self.limit = limit

    def describe(self, plugin: Plugin, *, again: bool = False) -> Description:
        """Return what a plugin offers; look at it if it is not known as it is now, or ``again`` if it failed."""
        record = self._record_of(plugin)
        kept = _read(record) if record is not None else None
        if kept is not None and _is_current(kept, plugin) and not (again and kept["description"]["faults"]):
            with contextlib.suppress(LookupError, TypeError, AttributeError):
                return _description(kept["description"])
        before, state = _environment(), _state(_sources(plugin.module))
        found, files = self._look(plugin)
        if record is not None:
            stamp = {"format": FORMAT, "environment": before, "files": state | _state(files)}
            self._keep(record, {**stamp, "plugin": asdict(plugin), "description": asdict(found)})
        return found

    def _record_of(self, plugin: Plugin) -> Path | None:
        if self.folder is None:
            return None
        key = json.dumps([sys.prefix, sys.version, *asdict(plugin).values()])
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    def _keep(self, record: Path, content: dict[str, Any]) -> None:
        from tlcore.publishing import publish_file

        with contextlib.suppress(OSError):
            record.parent.mkdir(parents=True, exist_ok=True)
            publish_file(record, json.dumps(content))

    def _look(self, plugin: Plugin) -> tuple[Description, list[Path]]:
        """Import the plugin in a process of its own; return what it says and the files that it read."""
        command = [sys.executable, "-P", "-B", "-c", LAUNCH, plugin.name, plugin.module, *sys.path]
        try:
            process = subprocess.Popen(  # noqa: S603 - the interpreter itself, with our own code
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # the latter: a NUL in its name
            return _failed(f"no process could be started to look at it: {error}"), []
        try:
            answer, _ = process.communicate(timeout=self.limit)
        except subprocess.TimeoutExpired:
            return _failed(f"its import did not end within {self.limit:g} s"), []
        finally:
            _end(process)
        try:
            told = json.loads(answer)
            return _description(told["description"]), [Path(file) for file in told["files"]]
        except (ValueError, LookupError, TypeError, AttributeError):
            return _failed(_how_it_ended(process.returncode)), []


def _usual_folder() -> Path | None:
    from tlcore.weights import cache_folder

    try:
        return cache_folder() / "plugins"
    except RuntimeError:  # nobody's home
        return None


def _failed(reason: str) -> Description:
    return Description((), {}, (Fault("import", reason),))


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"its import ends the process, with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"its import ends the process, by {name}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing behind: neither the process nor what it started."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _description(told: Mapping[str, Any]) -> Description:
    offers = {str(kind): tuple(Listed(**one) for one in listed) for kind, listed in told["offers"].items()}
    faults = tuple(Fault(**{key: str(value) for key, value in one.items()}) for one in told["faults"])
    return Description(tuple(map(str, told["hooks"])), offers, faults)


def _read(record: Path) -> dict[str, Any] | None:
    """Return a record, or None where there is none that can be read."""
    try:
        kept = json.loads(record.read_text("utf-8"))
        return kept if isinstance(kept, dict) and isinstance(kept["description"]["faults"], list) else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _is_current(kept: Mapping[str, Any], plugin: Plugin) -> bool:
    files = kept.get("files")
    return (
        kept.get("format") == FORMAT
        and kept.get("plugin") == asdict(plugin)
        and kept.get("environment") == _environment()
        and isinstance(files, dict)
        and {str(path) for path in _sources(plugin.module)} <= files.keys()
        and _state(map(Path, files)) == files
    )


def _environment() -> str:
    """Return a digest of what is installed where: a plugin may fail for want of another package, or find one."""
    state: list[Any] = [sys.version, hookspecs.API_VERSION]
    for place in sys.path:
        names: Sequence[str] = ()
        with contextlib.suppress(OSError):
            names = sorted(name for name in os.listdir(place or ".") if name.endswith(METADATA))
        state.append([place, names])
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()


def _state(files: Iterable[Path]) -> dict[str, list[int]]:
    """Return what changes when a file does; its time of change is the system's own and cannot be set back."""
    states = {}
    for path in files:
        try:
            found = path.stat()
            states[str(path)] = [found.st_size, found.st_mtime_ns, found.st_ctime_ns]
        except OSError:
            states[str(path)] = []
    return states


def _sources(entry: str) -> list[Path]:
    """Return the Python files of a plugin's package, or its one module's, which are found without an import."""
    parts = entry.partition(":")[0].strip().split(".")
    try:
        spec = importlib.util.find_spec(parts[0])
        for n in range(2, len(parts) + 1):
            if spec is None or spec.origin is not None:
                break  # the rest lies below this package's folder
            spec = importlib.machinery.PathFinder.find_spec(".".join(parts[:n]), spec.submodule_search_locations)
    except (ImportError, ValueError, AttributeError):
        return []
    if spec is None or spec.origin is None:
        return []
    origin = Path(spec.origin)
    return sorted({origin, *origin.parent.rglob("*.py")}) if spec.submodule_search_locations else [origin]
