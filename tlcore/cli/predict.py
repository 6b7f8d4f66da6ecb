"""`tl predict`: a finished run's model on new files."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlcore.cli.layout import harmless, json_line
from tlcore.contracts import Problem
from tlcore.errors import DataError, UsageError
from tlcore.notes import stdout_to_stderr

if TYPE_CHECKING:
    from tlcore.plugins.registry import Offer, Registry

__all__ = ["Format", "predict"]


class Format(StrEnum):
    """How predictions are printed."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"


def predict(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    files: Annotated[
        list[str], typer.Argument(help="Pictures, folders, texts or tables; - reads lines from standard input.")
    ],
    format_: Annotated[Format, typer.Option("--format", help="How to print the predictions.")] = Format.table,
    column: Annotated[
        str | None, typer.Option("--input", metavar="COLUMN", help="The column of a table that holds the texts.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option("--encoding", metavar="NAME", help="Encoding of tables and texts, UTF-8 unless given.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Predict with the model of RUN. Every input gets a row; one that cannot be read says why."""
    from tlcore.cli import registry_of
    from tlcore.model.load import about, load, model_folder

    registry = registry_of(ctx)
    kind = about(model_folder(run))["inputs"]
    with stdout_to_stderr():
        named = list(_inputs(files, kind, _Reading(registry, column, encoding)))
        if not named:
            raise DataError("there is nothing to predict", where=f"looked in: {', '.join(files)}")
        model = load(run, registry=registry, device=device)
        answers = iter(model.predict([value for _, value in named if not isinstance(value, Problem)]))
    rows = [
        {"id": id_, **({"problem": value.reason} if isinstance(value, Problem) else next(answers))}
        for id_, value in named
    ]
    {Format.table: _print_table, Format.jsonl: _print_jsonl, Format.csv: _print_csv}[format_](rows)
    bad = sum("problem" in row for row in rows)
    if bad:
        typer.echo(f"{bad} of {len(rows)} inputs could not be read", err=True)
    if bad == len(rows):
        raise typer.Exit(DataError.exit_code)


@dataclass(frozen=True)
class _Reading:
    """How tables and texts are read."""

    registry: Registry
    column: str | None
    encoding: str | None


def _inputs(files: Iterable[str], kind: str, reading: _Reading) -> Iterator[tuple[str, Any]]:
    for name in files:
        if name == "-":
            for number, line in enumerate(sys.stdin, 1):
                if line.strip():
                    yield f"line {number}", _from_line(line.rstrip("\r\n"), kind, f"standard input, line {number}")
            continue
        path = Path(name)
        if not path.exists():
            hint = "give a text itself on standard input: echo 'a text' | tl predict RUN -" if kind == "text" else None
            raise DataError(f"no such file: {name}", where=f"looked at {path.absolute()}", hint=hint)
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            yield from _from_file(file, kind, reading)


def _from_file(path: Path, kind: str, reading: _Reading) -> Iterator[tuple[str, Any]]:
    if kind == "file":
        yield str(path), path
    elif kind == "text" and path.suffix.lower() != ".txt" and (source := reading.registry.source_for(path)):
        yield from _from_table(path, source, reading)
    else:
        try:
            lines = path.read_text(reading.encoding or "utf-8").splitlines()
        except LookupError as error:
            raise UsageError(
                f"there is no encoding {reading.encoding!r}", where="--encoding", hint="usual: utf-8, latin-1, cp1252"
            ) from error
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path} is not {error.encoding.upper()} text",
                where=f"{path}: byte 0x{error.object[error.start]:02x} at place {error.start + 1}",
                hint="save it as UTF-8, or name the encoding that it was written in, such as `--encoding latin-1`",
            ) from error
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield f"{path}:{number}", _from_line(line, kind, f"{path}:{number}")


def _from_table(path: Path, source: Offer, reading: _Reading) -> Iterator[tuple[str, Any]]:
    spec = source.spec
    keys = {field.name for field in dataclasses.fields(spec.options)}
    asked = {"input": reading.column, "encoding": reading.encoding}
    for name, value in asked.items():
        if value is not None and name not in keys:
            raise UsageError(f"--{name} is not for {path}", where=f"data source {source.full_name} has no {name!r}")
    given = {name: value for name, value in {**asked, "labelled": False}.items() if name in keys}
    options = spec.options(path=path.absolute(), **given)
    for item in spec.build(options).examples():
        if isinstance(item, Problem):
            if item.skipped:
                yield item.id, item
        else:
            yield item.id, item.input


def _from_line(line: str, kind: str, where: str) -> Any:
    if kind == "file":
        return Path(line)
    if kind == "text":
        return line
    try:
        value = json.loads(line)
    except ValueError as error:
        raise UsageError(
            f"not JSON: {error}", where=where, hint="this model takes one JSON value on each line"
        ) from error
    return value["input"] if isinstance(value, dict) and "input" in value else value


def _print_jsonl(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        typer.echo(json_line(row))


def _print_csv(rows: list[dict[str, Any]]) -> None:
    from tlcore.contracts import Table
    from tlcore.files.run_folder import csv_text

    names = tuple(dict.fromkeys(name for row in rows for name in row))
    table = Table(names, tuple(tuple(row.get(name, "") for name in names) for row in rows))
    text = csv_text(table)  # for programs, unless somebody looks at it
    typer.echo(harmless(text) if sys.stdout.isatty() else text, nl=False)


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = list(dict.fromkeys(name for row in rows for name in row if not name.startswith("probability of ")))
    table = Table(*map(_cell, names), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(_cell(row.get(name, ""))) for name in names))
    console = Console(markup=False, highlight=False)
    console.print(table)


def _cell(value: Any) -> str:
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return harmless(text).replace("\n", "\\n")
