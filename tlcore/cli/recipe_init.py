"""`tl recipe init`: look at the data, and write a recipe for it that runs."""

from __future__ import annotations

import json
import mimetypes
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlcore.contracts import SPLITS, Example, Problem
from tlcore.errors import DataError, UsageError, nearest

if TYPE_CHECKING:
    from tlcore.registry import Registry

__all__ = ["init"]

USUAL_BACKBONES = {"image": "vgg16", "text": "minilm"}
"""What is written where nobody asks for another: of those whose weights come with a package."""
OTHER_BACKBONES = {
    "image": "resnet50 is smaller and faster, its weights come from the network",
    "text": "it reads English; german-bert reads German, its weights come from the hub",
}
RATES = {"image": "1.0e-3", "text": "3.0e-3"}
MANY_NUMBERS = 20
"""With more different values than this, numbers are quantities rather than names."""
MOSTLY = 0.9
"""So large a share of files of one kind says what the data is; the others are listed when they cannot be read."""
IMBALANCED = 3.0
PLAIN = re.compile(r"(?!(?:true|false|null|yes|no|on|off)$)[A-Za-z_./][\w./-]*", re.IGNORECASE)
"""What YAML takes for a text without quotation marks."""


@dataclass(frozen=True)
class Facts:
    """What was found in the data."""

    section: Mapping[str, Any]
    examples: Sequence[Example]
    problems: Sequence[Problem]

    @property
    def kind(self) -> str:
        """What the labels are: of several ones, numbers, or classes."""
        labels = [example.label for example in self.examples]
        if any(isinstance(label, tuple) for label in labels):
            return "multilabel"
        distinct = {str(label) for label in labels}
        return "regression" if len(distinct) > MANY_NUMBERS and all(map(_is_number, distinct)) else "classification"

    @property
    def modality(self) -> str | None:
        """What the inputs are: texts, or by the kind of the files; None where nothing says so."""
        if all(isinstance(example.input, str) for example in self.examples):
            return "text"
        kinds = Counter((mimetypes.guess_type(str(e.input))[0] or "").partition("/")[0] for e in self.examples)
        kind, count = kinds.most_common(1)[0]
        return kind if kind and count >= MOSTLY * len(self.examples) else None

    @property
    def counts(self) -> Counter[str]:
        """How many examples each label has."""
        return Counter(
            str(name)
            for example in self.examples
            for name in (example.label if isinstance(example.label, tuple) else (example.label,))
        )


def init(
    ctx: typer.Context,
    data: Annotated[Path, typer.Option("--data", metavar="PATH", help="A folder of class folders, or a table.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write the recipe.")] = Path(
        "recipe.yaml"
    ),
    task: Annotated[
        str | None, typer.Option("--task", metavar="NAME", help="What is predicted; told by the data unless given.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", metavar="NAME", help="The pre-trained network (`tl list backbones`).")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="How the data is read, such as data.label=stars."),
    ] = None,
) -> None:
    """Look at the data at PATH and write a commented recipe that runs on it."""
    from tlcore.cli.invocation import registry_of
    from tlcore.cli.layout import harmless
    from tlcore.publishing import publish_file
    from tlcore.recipe import parse_recipe

    if out.exists():
        raise UsageError(f"{out} exists already; nothing is overwritten", hint="name another file with --out")
    registry = registry_of(ctx)
    facts = _looked_at(data, _asked(set_ or ()), registry)
    task, modality = _task(task, facts, registry)
    text = _written(out.name, facts, task, modality, _backbone(backbone, modality, registry))
    parse_recipe(text, registry, file=str(out), name=out.stem)
    publish_file(out, text)
    for line in _findings(facts):
        typer.echo(harmless(line), err=True)
    typer.echo(harmless(f"task {task}; next: tl run {out}"), err=True)
    typer.echo(str(out))


def _asked(overrides: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for override in overrides:
        key, sign, value = override.partition("=")
        if not sign or not key.startswith("data."):
            raise UsageError(
                f"--set: {override!r}: only keys of data can be set here", hint="change others in the file"
            )
        found[key.removeprefix("data.")] = value
    return found


def _looked_at(path: Path, asked: Mapping[str, Any], registry: Registry) -> Facts:
    """Read the data with the source that it is laid out for; a table's inputs are texts, or else paths."""
    if not path.exists():
        beside = [entry.name for entry in path.absolute().parent.iterdir()] if path.absolute().parent.is_dir() else []
        meant = nearest(path.name, beside)
        raise DataError(f"there is no {path}", hint=f"did you mean {meant!r}?" if meant else "check --data")
    source = _source_for(path)
    section = {"source": source, "path": str(path), **asked}
    try:
        return _read(section, registry)
    except DataError as error:
        if source != "table" or "input_is" in asked:
            raise
        try:
            return _read({**section, "input_is": "path"}, registry)
        except DataError:
            raise DataError(
                error.what, where=error.where, hint=(error.hint or "").replace("`data.", "`--set data.") or None
            ) from error


def _source_for(path: Path) -> str:
    if path.is_file():
        return "table"
    if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")) or list(path.glob("*.parquet")):
        return "dataset"
    return "table" if list(path.glob("train.*")) else "folder"


def _read(section: Mapping[str, Any], registry: Registry) -> Facts:
    from tlcore.recipe import read_data_section

    chosen = read_data_section(section, registry)
    found = list(chosen.source.spec.build(chosen.source.options).examples())
    examples = [one for one in found if isinstance(one, Example) and one.label is not None]
    if not examples:
        raise DataError("the data holds no labelled example", hint="name the column: `--set data.label=COLUMN`")
    return Facts(section, examples, [one for one in found if isinstance(one, Problem)])


def _task(asked: str | None, facts: Facts, registry: Registry) -> tuple[str, str]:
    """Return the task's name and its modality.

    Raises:
        UsageError: there is no such task, or nothing says which one it is.
    """
    if asked is not None:
        return asked, str(registry.find("task", asked).spec.modality)
    offers = {offer.spec.name: offer.spec for offer in registry.offers("task")}
    name = f"{facts.modality}-{facts.kind}"
    if name not in offers:
        raise UsageError(
            f"nothing says which task this is: the labels look like {facts.kind}, the inputs like "
            f"{facts.modality or 'several kinds of files'}",
            hint=f"name it: --task {' | '.join(sorted(offers))}",
        )
    return name, str(offers[name].modality)


def _backbone(asked: str | None, modality: str, registry: Registry) -> str:
    fitting = [offer.spec.name for offer in registry.offers("backbone") if offer.spec.modality == modality]
    if asked is None:
        usual = USUAL_BACKBONES.get(modality)
        if usual is not None and usual in fitting:
            return usual
        if fitting:
            return str(fitting[0])
        raise UsageError(f"no backbone for {modality} is installed", hint="`tl list backbones` shows what there is")
    if registry.find("backbone", asked).spec.modality != modality:
        raise UsageError(
            f"backbone {asked} is not for {modality}", hint=f"for {modality}: {', '.join(sorted(fitting))}"
        )
    return asked


def _findings(facts: Facts) -> list[str]:
    """Return what was found, in sentences."""
    counts, splits = facts.counts, Counter(example.split for example in facts.examples)
    lines = [f"{len(facts.examples):,} examples, {len(counts):,} different labels"]
    if facts.kind != "regression":
        by_count = sorted(counts, key=lambda name: (counts[name], name))
        rarest, commonest = by_count[0], by_count[-1]
        lines.append(f"commonest {commonest!r} ({counts[commonest]:,}), rarest {rarest!r} ({counts[rarest]:,})")
    named = [split for split in SPLITS if split in splits]
    lines.append(f"splits: {', '.join(named)}" if named else "no splits: 15 % each are held out by a hash")
    skipped = sum(problem.skipped for problem in facts.problems)
    lines += [f"{skipped:,} cannot be used, such as {_first(facts.problems)}"] if skipped else []
    lines += [f"{problem.id}: {problem.reason}" for problem in facts.problems if not problem.skipped][:5]
    return lines


def _first(problems: Sequence[Problem]) -> str:
    return next(f"{problem.id}: {problem.reason}" for problem in problems if problem.skipped)


def _written(file: str, facts: Facts, task: str, modality: str, backbone: str) -> str:
    """Return the recipe with a comment on each choice."""
    counts = facts.counts
    uneven = facts.kind == "classification" and max(counts.values()) > IMBALANCED * min(counts.values())
    options = {**({"imbalance": "auto"} if uneven else {})}
    other = OTHER_BACKBONES.get(modality, "`tl list backbones` shows the others")
    rows: list[tuple[str, str]] = [
        (f"task: {json.dumps({'name': task, **options}) if options else task}",
         "rare classes are made up for, since some are more than 3 times as common as others" if options
         else "`tl list tasks` shows the others"),
        ("", ""),
        ("data:", ""),
        *((f"  {key}: {_value(value)}", _about_data(key, facts))
          for key, value in facts.section.items()),
        ("", ""),
        (f"backbone: {backbone}", other),
        ("", ""),
        ("adapter: feature-extraction",
         "only a new head is trained; next try {name: fine-tuning, layers: 1, unfreeze: head-first}"),
        ("", ""),
        ("train:", ""),
        ("  epochs: 25", "cheap here: the network sees each example only once"),
        ("  batch_size: 32", ""),
        (f"  optimizer: {{name: adam, lr: {RATES.get(modality, '1.0e-3')}}}", "`train.lr: find` measures a rate"),
        ("  scheduler: {name: cosine}", "the learning rate falls smoothly to the end"),
        ("  precision: auto", "fp32 on a processor, bf16 on a graphics card that has it"),
        ("", ""),
        ("evaluate:", ""),
        ("  report: html", "one file to look at"),
        ("", ""),
        ("seed: 7", "another number gives another split and another start"),
    ]  # fmt: skip
    width = max(len(line) for line, comment in rows if comment and len(line) < 60)
    lines = [f"{line:<{width}}  # {comment}".rstrip() if comment else line for line, comment in rows]
    head = ["# " + finding for finding in _findings(facts)]
    return "\n".join([f"# Made by `tl recipe init`. Run it with `tl run {file}`; docs/recipe.md lists every key.", "#",
                      *head, "", *lines, ""])  # fmt: skip


def _value(value: Any) -> str:
    return value if isinstance(value, str) and PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)


def _about_data(key: str, facts: Facts) -> str:
    return {
        "source": "`tl show data` NAME lists the keys of a source",
        "path": f"{len(facts.examples):,} examples",
        "input_is": "the inputs are paths of files, relative to the table's folder",
    }.get(key, "")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
