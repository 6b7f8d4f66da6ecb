"""Every number of every section and every option, present and to come: what is no sensible number is refused."""

import dataclasses
from collections.abc import Iterator

import pytest

from tlcore.errors import RecipeFault
from tlcore.plugins.host import PluginHost
from tlcore.plugins.registry import KINDS, Registry
from tlcore.recipe.choices import OWN_CHOICES, available
from tlcore.recipe.document import Section, parse_document
from tlcore.recipe.keys import Key, keys_of, members_of, with_nested
from tlcore.recipe.sections import PLAIN_SECTIONS, DataSection, HoldoutSection, Recipe
from tlcore.recipe.values import WRONG, read_keys

REGISTRY = Registry(PluginHost(environ={"TL_PLUGINS": ""}))
NOT_NUMBERS = [".nan", "nan", "NaN", ".inf", "-.inf", "inf", "1e999", "-1e999", "true", "yes", "012", "1_000", "1:30"]
MAY_BE_NEGATIVE = {"data demo/drawn-vehicles: seed"}
"""Any whole number is sensible here."""


def numbers_in(owner: str, keys: tuple[Key, ...]) -> Iterator[tuple[str, Key]]:
    for key in with_nested(keys):
        if key.kind is None and any(is_number(member) for member in members_of(key.type)):
            yield f"{owner}: {key.name}", key


def is_number(member: object) -> bool:
    """Whether numbers stand for it: int and float, or a list or section of them."""
    inner = [one for one in getattr(member, "__args__", ()) if one is not Ellipsis]
    return member in (int, float) or (getattr(member, "__origin__", None) in (tuple, dict) and is_number(inner[-1]))


def every_number() -> dict[str, Key]:
    found: dict[str, Key] = {}
    for section, cls in {"": Recipe, "data": DataSection, "data.holdout": HoldoutSection, **PLAIN_SECTIONS}.items():
        found |= numbers_in(section, keys_of(cls))
    for kind in (*OWN_CHOICES, *KINDS):
        for chosen in available(kind, REGISTRY).values():
            found |= numbers_in(f"{kind} {chosen.name}", chosen.keys)
    return found


NUMBERS = every_number()


def reading(key: Key, written: str) -> tuple[object, list[RecipeFault]]:
    """Return what a text means for a key, in the form that it takes."""
    name = key.name.rpartition(".")[2]
    origins = {getattr(member, "__origin__", None) for member in members_of(key.type)}
    value = f"[{written}]" if tuple in origins else f"{{a: {written}}}" if dict in origins else written
    faults: list[RecipeFault] = []
    root = parse_document(f"{name}: {value}", lambda line, column: f"x.yaml:{line}:{column}", faults)
    assert isinstance(root, Section)
    return read_keys(root, [dataclasses.replace(key, name=name)], "", faults)[name], faults


def test_there_are_numbers_to_look_at():
    assert len(NUMBERS) > 60
    for name in (
        "train: epochs",
        ": seed",
        "optimizer adam: beta1",
        "data.holdout: test",
        "backbone vision/vgg16: size",
    ):
        assert name in NUMBERS, sorted(NUMBERS)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_a_finite_one_in_its_range(name):
    key = NUMBERS[name]
    texts = str in members_of(key.type)
    for written in NOT_NUMBERS:
        value, faults = reading(key, written)
        refused = value is WRONG and len(faults) == 1 and name.rpartition(": ")[2].rpartition(".")[2] in faults[0].what
        assert refused or (texts and value == written), f"{written} is read as {value!r}"
    below = str(min(-1, *(bound - 1 for bound in key.limits.values())) if key.limits else -1)
    value, _ = reading(key, below)
    assert value is WRONG or texts or name in MAY_BE_NEGATIVE, f"{below} is read as {value!r}: it needs a limit"


@pytest.mark.parametrize("name", [name for name, key in NUMBERS.items() if key.limits])
def test_each_limit_holds_at_its_edge(name):
    key = NUMBERS[name]
    whole = float not in members_of(key.type) and "float" not in str(key.type)
    for limit, bound in key.limits.items():
        step = 1 if whole else 1e-3
        outside = bound - step if limit in ("ge", "gt") else bound + step
        outside = bound if limit in ("gt", "lt") else outside
        assert reading(key, str(int(outside) if whole else f"{outside:.6f}"))[0] is WRONG, (limit, bound)
