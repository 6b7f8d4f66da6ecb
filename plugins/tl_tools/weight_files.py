"""What `tl weights` knows of files: those that a recipe's weights are read from, and those that lie in the caches."""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.cli.layout import harmless
from tlcore.errors import RecipeWarning, UsageError, WeightsError
from tlcore.files.untrusted import read_object

if TYPE_CHECKING:
    from tlcore.plugins.registry import Registry
    from tlcore.recipe import Recipe
    from tlcore.weights.sources import FileUse

__all__ = ["also_kept", "built", "is_recipe", "listing", "meant"]

DIGESTS = "digests.json"


def is_recipe(what: str) -> bool:
    """Say whether this is the file of a recipe rather than the name of a backbone."""
    from tlcore.weights.lock import RECIPE_SUFFIXES

    return Path(what).suffix.lower() in RECIPE_SUFFIXES


def meant(what: str, overrides: Sequence[str], registry: Registry) -> Recipe:
    """Return the recipe in a file, or one around a backbone alone."""
    from tlcore.recipe import read_recipe

    if is_recipe(what):
        return read_recipe(Path(what), registry, overrides)
    return _of_backbone(what, overrides, registry)


def built(recipe: Recipe) -> list[FileUse]:
    """Build the backbone as a run does, and return the files that this read."""
    from tlcore.randomness import seeded
    from tlcore.weights.sources import recorded_files

    # What plugins print is not the answer; what they warn of is told when the recipe is run.
    with (
        contextlib.redirect_stdout(sys.stderr),
        warnings.catch_warnings(),
        recorded_files() as used,
        seeded(recipe.seed, "backbone"),
    ):
        warnings.simplefilter("ignore", RecipeWarning)
        recipe.backbone.spec.build(recipe.backbone.options, None)
    return used


def also_kept(used: Iterable[Path]) -> list[FileUse]:
    """Return the files that were fetched or added and that no default weights of a backbone are."""
    from tlcore.files.disk import cache_folder
    from tlcore.weights.sources import FileUse

    folder = cache_folder() / "weights"
    kept = [FileUse(path, "fetched or added") for path in sorted(folder.glob("*")) if path.is_file()]
    of_the_hub = [FileUse(path, f"hub {name}") for path, name in _of_the_hub()]
    known = set(used)
    return [one for one in (*kept, *of_the_hub) if one.path not in known and not one.path.name.startswith(".")]


def _of_the_hub() -> list[tuple[Path, str]]:
    """Return the files in the hub's cache that belong to models, each with its repository and commit."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        found = [one for one in scan_cache_dir().repos if one.repo_type == "model"]
    except CacheNotFound:
        return []
    return sorted(
        (file.file_path, f"{one.repo_id}@{revision.commit_hash}")
        for one in found
        for revision in one.revisions
        for file in revision.files
    )


def listing(files: Iterable[FileUse]) -> str:
    """Return the files with size, beginning of the SHA-256 and origin, each with its path below."""
    digests = _digests([one.path for one in files])
    return "\n".join(
        harmless(
            f"  {one.path}\n    {one.path.stat().st_size:,} bytes, SHA-256 {digests[one.path][:16]}…, {one.origin}"
        )
        for one in files
    )


def _digests(paths: Sequence[Path]) -> dict[Path, str]:
    """Return digests for display: of a file whose size and time of change are as before, the one that it had then."""
    from tlcore.files.atomic import publish_file
    from tlcore.files.digests import file_digest
    from tlcore.files.disk import cache_folder

    store = cache_folder() / DIGESTS
    before: dict[str, Any] = {}
    with contextlib.suppress(WeightsError):
        before = read_object(store)
    after: dict[str, Any] = {}
    for path in paths:
        state = path.stat()
        known = before.get(str(path))
        same = isinstance(known, list) and known[:2] == [state.st_size, state.st_mtime_ns] and len(known) == 3
        after[str(path)] = known if same else [state.st_size, state.st_mtime_ns, file_digest(path)]
    if after and (before | after) != before:
        with contextlib.suppress(OSError):
            store.parent.mkdir(parents=True, exist_ok=True)
            publish_file(store, json.dumps(before | after))
    return {path: str(after[str(path)][2]) for path in paths}


def _of_backbone(name: str, overrides: Sequence[str], registry: Registry) -> Recipe:
    """Return a recipe around a backbone alone; its other parts are whatever fits."""
    from tlcore.recipe import parse_recipe

    modality = registry.find("backbone", name).modality
    task = next((o.full_name for o in registry.offers("task") if o.modality == modality), None)
    if task is None:
        raise UsageError(f"no task for {modality} is installed", hint="give a recipe instead of a backbone's name")
    text = (
        f"task: {task}\ndata: {{source: data/table, path: unused.csv}}\nbackbone: {name}\n"
        "adapter: adapters/feature-extraction\n"
    )
    return parse_recipe(text, registry, file=name, name="weights", overrides=overrides)
