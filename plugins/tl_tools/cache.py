"""`tl cache`: what the feature store holds, why a run would compute, whether all is sound, and what may go."""

from __future__ import annotations

import datetime
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tlcore.features.maintenance import Entry
    from tlcore.runs.feature_planner import FeaturePlan

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="The feature store: what lies below the line, kept for every run.")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
DAY = 86_400
SHOWN_DIGITS = 12


@app.command("ls")
def list_(json_: Json = False) -> None:
    """List what is stored: network, line, precision, how many states, how large, and when it was last used."""
    from tlcore.cli.layout import columns
    from tlcore.features.maintenance import cache_root, entries, limit_bytes
    from tlcore.files.disk import readable_bytes

    root = cache_root()
    found = entries(root)
    total = sum(entry.bytes for entry in found)
    if json_:
        records = [_record(entry) for entry in found]
        typer.echo(json.dumps({"place": str(root), "bytes": total, "limit": limit_bytes(), "entries": records}))
        return
    if found:
        rows = [
            (
                entry.folder.name[:SHOWN_DIGITS],
                str(entry.about.get("backbone", "unknown")),
                _line(entry.about),
                str(entry.about.get("precision", "")),
                f"{entry.states:,}",
                readable_bytes(entry.bytes),
                datetime.datetime.fromtimestamp(entry.used).strftime("%Y-%m-%d %H:%M"),
            )
            for entry in found
        ]
        typer.echo(columns(rows, ("name", "backbone", "states of", "precision", "count", "size", "last used")))
    typer.echo(f"{readable_bytes(total)} of at most {readable_bytes(limit_bytes())} in {root}")


@app.command()
def why(
    ctx: typer.Context,
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set one key, such as train.epochs=3.")
    ] = None,
    json_: Json = False,
) -> None:
    """Say what a run of RECIPE would compute below the line, what it would reuse, and because of what."""
    from tlcore.cli import registry_of
    from tlcore.contracts import SPLITS
    from tlcore.notes import noted, stdout_to_stderr
    from tlcore.recipe import read_recipe
    from tlcore.runs.components import build_components, build_dataset, early_line_of
    from tlcore.runs.feature_planner import FeaturePlanner
    from tlcore.training.device import accelerator_for, half_format

    with stdout_to_stderr(), noted([]):
        resolved = read_recipe(recipe, registry_of(ctx), set_ or ())
        dataset = build_dataset(resolved)
        parts = build_components(resolved, dataset)
        planner = FeaturePlanner(resolved, dataset, parts.backbone)
        examples = [example for split in SPLITS for example in dataset.split(split)]
        precisions: list[str] = [resolved.train.precision]
        if precisions == ["auto"]:
            half = half_format(accelerator_for(resolved.train.device, "fp32").device)
            precisions = [half, "fp32"] if half else ["fp32"]
        early = early_line_of(resolved, planner.stages, parts.plan)
        lines = [parts.plan.freeze_line, *([early.line] if early is not None else [])]
        found = [planner.plan(line, precision, examples) for precision in precisions for line in lines]
    if json_:
        typer.echo(json.dumps([_record_of_plan(plan) for plan in found]))
        return
    for one in found:
        _tell(one)
    if len(precisions) > 1:
        typer.echo(f"precision: auto decides between {' and '.join(precisions)} by the features of a sample")


@app.command()
def verify() -> None:
    """Read every stored byte; what is damaged is taken away, and computed again when it is needed."""
    from tlcore.errors import WeightsError
    from tlcore.features.maintenance import cache_root
    from tlcore.features.maintenance import verify as verify_files

    looked, damaged = verify_files(cache_root())
    if damaged:
        raise WeightsError(
            f"{len(damaged)} of {looked} files were damaged and taken away",
            where="\n".join(damaged),
            hint="the next run computes what was in them; look at the disk",
        )
    typer.echo(f"{looked} files are sound")


@app.command()
def prune(
    to: Annotated[
        str | None, typer.Option("--to", metavar="SIZE", help="Keep so much, such as 10GB; what was used last stays.")
    ] = None,
    older_than: Annotated[
        float | None, typer.Option("--older-than", metavar="DAYS", help="Remove what was not used for so many days.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove everything.")] = False,
) -> None:
    """Remove stored states: beyond the limit, or as the options say. Runs that read them go on."""
    from tlcore.errors import UsageError
    from tlcore.features.maintenance import bytes_of, cache_root, evict, limit_bytes
    from tlcore.files.disk import readable_bytes

    if everything and (to is not None or older_than is not None):
        raise UsageError("--all leaves nothing for --to or --older-than", hint="give one of them")
    limit = 0 if everything else bytes_of(to, "--to") if to is not None else limit_bytes()
    since = time.time() - older_than * DAY if older_than is not None else None
    gone, freed = evict(cache_root(), limit, older_than=since)
    typer.echo(f"{gone} files removed, {readable_bytes(freed)} freed")


def _record(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.folder.name,
        "about": dict(entry.about),
        "states": entry.states,
        "bytes": entry.bytes,
        "used": entry.used,
    }


def _record_of_plan(plan: FeaturePlan) -> dict[str, Any]:
    return {
        "precision": plan.precision,
        "line": _line(plan.namespace.about),
        "compute": plan.missing,
        "reuse": plan.reused,
        "namespace": plan.namespace.digest,
        "differs": {key: {"stored": theirs, "wanted": ours} for key, (theirs, ours) in plan.differs.items()},
    }


def _tell(one: FeaturePlan) -> None:
    typer.echo(
        f"{_line(one.namespace.about)} in {one.precision}: {one.missing} states to compute, {one.reused} are stored"
    )
    if not one.missing:
        return
    if one.reused:
        typer.echo("  because these examples are new, or their content changed")
    elif one.differs:
        typer.echo("  because nothing is stored of this network as the recipe has it; the nearest differs in")
        for key, (theirs, ours) in one.differs.items():
            typer.echo(f"    {key}: stored {_short(theirs)}, wanted {_short(ours)}")
    else:
        typer.echo("  because nothing is stored of this network")


def _line(about: Any) -> str:
    stages = about.get("stages") if isinstance(about.get("stages"), list) else []
    if about.get("pooled"):
        return "pooled features"
    return str(stages[-1]) if stages else "inputs"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
