"""A made-up modality, its plugins and a recipe for them."""

import dataclasses
import sys
import types
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Literal

import tlcore
from tlcore import UsageError
from tlcore.plugins.host import PluginHost
from tlcore.plugins.registry import Registry
from tlcore.recipe import parse_recipe

GOOD = """\
task: sound-classification
data: {source: waves, path: recordings}
backbone: ear
adapter: line
"""


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A nested section."""

    seconds: float = tlcore.option(1.0, "How long.", gt=0)
    from_end: bool = tlcore.option(False, "Where it begins.")


@dataclass(frozen=True, kw_only=True)
class WavesOptions:
    """Keys of a data source."""

    path: Path = tlcore.option(help="Folder of recordings.")
    label: str = tlcore.option("label", "Column of the labels.")
    limit: int | None = tlcore.option(None, "At most so many.", ge=1)


@dataclass(frozen=True, kw_only=True)
class EarOptions:
    """Keys of a backbone, one for each kind of annotation."""

    weights: Path | str = tlcore.option("random", "A folder, or a name.")
    output: str | None = tlcore.option(None, "The last stage.")
    layers: int | str = tlcore.option(1, "How many, or which.", ge=1)
    rate: float = tlcore.option(0.5, "A number.", ge=0, le=1)
    share: int | float | None = tlcore.option(None, "A count or a share.", ge=0)
    mono: bool = tlcore.option(True, "One channel.")
    size: Literal[8, 16] = tlcore.option(8, "One of two sizes.")
    window: Literal["hann", "no"] = tlcore.option("hann", "One of two words.")
    bands: tuple[int, ...] = tlcore.option((1, 2), "Numbers.", ge=1)
    names: dict[str, str] = dataclasses.field(default_factory=dict, metadata={"help": "Words."})
    gains: dict[str, float | None] | None = tlcore.option(None, "Numbers by word.")
    crop: Crop = dataclasses.field(default=Crop(), metadata={"help": "What is heard."})
    cache: Path | None = tlcore.option(None, "A folder.")

    def __post_init__(self):
        if self.output == "loud" and self.mono:
            raise UsageError("loud needs two channels", hint="write mono: false")
        if self.output == "silent":
            raise ValueError("nothing is heard")
        if self.output == "broken":
            raise RuntimeError("a plugin's own mistake")


def spec(kind, name, modality=None, options=tlcore.NoOptions):
    more = {} if modality is None else {"modality": modality}
    if kind is tlcore.BackboneSpec:
        more["samples"] = lambda folder: []
    return kind(
        name=name, summary=f"{name}.", build=lambda *_: None, smoke=lambda _: options(), options=options, **more
    )


def offering(specs):
    return lambda: specs


def plugin(name, **hooks):
    """Return an entry point for a module that is made here and offers what ``hooks`` says."""
    module = types.ModuleType(f"made_up_{name}")
    for hook, specs in hooks.items():
        setattr(module, hook, tlcore.hookimpl(offering(specs)))
    sys.modules[module.__name__] = module
    return EntryPoint(name, module.__name__, "tlcore")


def make_registry(*more):
    sound = plugin(
        "sound",
        tl_tasks=[spec(tlcore.TaskSpec, "sound-classification", "sound")],
        tl_backbones=[spec(tlcore.BackboneSpec, "ear", "sound", EarOptions)],
        tl_data_sources=[
            spec(tlcore.DataSourceSpec, "waves", "sound", WavesOptions),
            spec(tlcore.DataSourceSpec, "anything", tlcore.ANY_MODALITY),
        ],
        tl_adapters=[spec(tlcore.AdapterSpec, "line")],
    )
    smell = plugin(
        "smell",
        tl_tasks=[spec(tlcore.TaskSpec, "smell-classification", "smell")],
        tl_backbones=[spec(tlcore.BackboneSpec, "nose", "smell")],
    )
    return Registry(PluginHost([sound, smell, *more], environ={}))


def read(text, registry, *overrides, name="x"):
    return parse_recipe(text, registry, file="x.yaml", name=name, overrides=overrides)
