"""The JSON Schema of recipes, the reference made from the same keys, and the recipes that are shipped."""

import subprocess
import sys

import pytest
import yaml

import tlcore
from tests.support import ROOT
from tests.support.recipes import GOOD, make_registry, plugin, read, spec
from tlcore.cli import main
from tlcore.plugins.host import PluginHost
from tlcore.plugins.registry import Registry
from tlcore.recipe import plain, read_recipe, recipe_reference, recipe_schema

RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
ABOUT = {"$schema", "title", "description", "default"}
TYPES = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
    "null": type(None),
}  # fmt: skip


def fits(value, schema):
    """Say whether a value is valid under a schema that uses the words below, and no others."""
    checks = {
        "type": lambda word: isinstance(value, TYPES[word]) and (word == "boolean" or not isinstance(value, bool)),
        "enum": lambda values: value in values,
        "const": lambda one: value == one,
        "anyOf": lambda schemas: any(fits(value, one) for one in schemas),
        "oneOf": lambda schemas: sum(fits(value, one) for one in schemas) == 1,
        "minimum": lambda bound: value >= bound,
        "maximum": lambda bound: value <= bound,
        "exclusiveMinimum": lambda bound: value > bound,
        "exclusiveMaximum": lambda bound: value < bound,
        "items": lambda one: all(fits(item, one) for item in value),
        "required": lambda names: all(name in value for name in names),
        "properties": lambda keys: all(fits(value[name], one) for name, one in keys.items() if name in value),
        "additionalProperties": lambda rest: all(
            rest is not False and fits(value[name], rest) for name in value if name not in schema.get("properties", {})
        ),
    }
    assert set(schema) <= set(checks) | ABOUT, set(schema)
    return all(checks[word](schema[word]) for word in checks if word in schema)


def sections(schema):
    """Yield every schema inside a schema, with itself."""
    yield schema
    for part in (*schema.get("properties", {}).values(), *schema.get("oneOf", []), *schema.get("anyOf", [])):
        yield from sections(part)


@pytest.fixture(scope="module")
def registry():
    return make_registry()


def test_each_key_of_each_section_is_described_and_no_other_is_allowed(registry):
    schema = recipe_schema(registry)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == ["task", "data", "backbone", "adapter"]
    found = [part for part in sections(schema) if "properties" in part]
    assert len(found) > 15
    for part in found:
        assert part["additionalProperties"] is False
        for name, key in part["properties"].items():
            assert key["description"].strip(), name
            required = name in part["required"] or name in ("name", "source")
            assert required or "default" in key, name


def test_an_editor_is_offered_short_and_full_names_and_bare_ones_where_they_are_enough(registry):
    backbones = recipe_schema(registry)["properties"]["backbone"]["oneOf"]
    assert backbones[0] == {"enum": ["ear", "sound/ear", "nose", "smell/nose"]}
    assert [branch["properties"]["name"]["enum"] for branch in backbones[1:]] == [
        ["ear", "sound/ear"], ["nose", "smell/nose"],
    ]  # fmt: skip
    sources = recipe_schema(registry)["properties"]["data"]["oneOf"]
    assert sources[0] == {"enum": ["anything", "sound/anything"]}
    waves = next(branch for branch in sources[1:] if branch["title"] == "waves")
    assert waves["required"] == ["source", "path"]
    rate = backbones[1]["properties"]["rate"]
    assert rate == {"description": "A number.", "type": "number", "minimum": 0, "maximum": 1, "default": 0.5}


def test_an_ambiguous_name_is_offered_in_full_only():
    rival = plugin("rival", tl_backbones=[spec(tlcore.BackboneSpec, "ear", "sound")])
    names = recipe_schema(make_registry(rival))["properties"]["backbone"]["oneOf"][0]["enum"]
    assert names == ["nose", "smell/nose", "rival/ear", "sound/ear"]


def test_the_schema_accepts_what_the_reader_accepts(registry):
    schema = recipe_schema(registry)
    assert fits(yaml.safe_load(GOOD), schema)
    assert fits(plain(read(GOOD, registry)), schema)
    more = "{train: {optimizer: {lr: 0.01}, scheduler: step}, data: {source: sound/waves, path: x, max_bad: 3}}"
    assert fits(yaml.safe_load(GOOD) | yaml.safe_load(more), schema)


@pytest.mark.parametrize(
    "line",
    [
        "sed: 1", "seed: -1", "seed: true", "task: 3", "backbone: {name: eer}", "backbone: {name: ear, rte: 1}",
        "backbone: {name: ear, rate: 2}", "backbone: {name: ear, bands: [a]}",
        "backbone: {name: ear, crop: {second: 1}}",
        "train: {optimizer: {name: adam, momentum: 0.5}}", "train: {optimizer: admw}", "data: waves",
        "data: {source: waves}", "evaluate: {report: pdf}",
    ],
)  # fmt: skip
def test_the_schema_refuses_what_the_reader_refuses(registry, line):
    assert not fits(yaml.safe_load(GOOD) | yaml.safe_load(line), recipe_schema(registry))


def test_the_reference_has_a_row_for_each_key(registry):
    text = recipe_reference(registry)
    assert "\n### backbone: {name: ear}\n" in text
    assert "\n| `rate` | number >= 0 and <= 1 | `0.5` | A number. |\n" in text
    assert "\n| `path` | path | required | Folder of recordings. |\n" in text
    assert "\n| `step_size` | whole number >= 1 | `7` |" in text


@pytest.fixture(scope="module")
def builtin():
    return Registry(PluginHost(environ={"TL_PLUGINS": ""}))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_valid_for_reader_and_schema(builtin, path):
    assert read_recipe(path, builtin).name == path.stem
    assert fits(yaml.safe_load(path.read_text()), recipe_schema(builtin))


def test_the_shipped_recipes_say_how_to_use_own_data():
    assert {"sentiment", "sentiment-finetune", "vehicles", "vehicles-finetune"} <= {path.stem for path in RECIPES}
    for path in RECIPES:
        assert "source: folder" in path.read_text() or "source: table" in path.read_text()


@pytest.mark.parametrize(
    ("name", "override"),
    [
        ("vehicles", "data={source: folder, path: photos}"),
        ("sentiment", "data={source: table, path: reviews.csv, input: review, label: stars}"),
        ("sentiment", "data={source: table, path: reviews.csv, input: review, label: stars, group: customer}"),
    ],
)
def test_the_way_to_own_data_that_a_shipped_recipe_names_works(builtin, name, override):
    recipe = read_recipe(ROOT / "recipes" / f"{name}.yaml", builtin, [override])
    assert recipe.data.source.options.path.is_absolute()


def test_the_reference_in_docs_is_up_to_date(monkeypatch, capsys):
    monkeypatch.setenv("TL_PLUGINS", "")
    monkeypatch.setattr(sys, "argv", ["tl", "recipe", "docs"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    written = (ROOT / "docs" / "recipe.md").read_text("utf-8")
    assert capsys.readouterr().out == written, "run: TL_PLUGINS= tl recipe docs > docs/recipe.md"


def test_reading_a_shipped_recipe_imports_no_torch():
    code = "import sys; from tlcore.cli import main\ntry: main()\nfinally: assert 'torch' not in sys.modules"
    command = [sys.executable, "-c", code, "recipe", "check", str(ROOT / "recipes" / "vehicles.yaml")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr


def test_keys_inside_a_section_are_explained_too(builtin):
    assert "`augment.mixup`" in recipe_reference(builtin)
    assert "`augment.word_dropout`" in recipe_reference(builtin)
