"""Recipes: what a value means, what is refused, and that a resolved recipe is the recipe."""

import contextlib
import dataclasses
import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tlcore
from tests.support.recipes import GOOD, Crop, EarOptions, WavesOptions, make_registry, plugin, read, spec
from tlcore import PluginError, RecipeError, UsageError
from tlcore.recipe import Recipe, parse_recipe, plain, read_recipe, recipe_yaml


@pytest.fixture(scope="module")
def registry():
    return make_registry()


def faults(text, registry, *overrides):
    with pytest.raises(RecipeError) as caught:
        read(text, registry, *overrides)
    assert caught.value.exit_code == 2
    return [str(fault) for fault in caught.value.faults]


def only_fault(text, registry, *overrides):
    found = faults(text, registry, *overrides)
    assert len(found) == 1, found
    return found[0]


def ear(registry, line):
    """Return the backbone's options where the recipe gives them this line."""
    return read(GOOD.replace("backbone: ear", f"backbone:\n  name: ear\n  {line}"), registry).backbone.options


def ear_fault(registry, line):
    fault = only_fault(GOOD.replace("backbone: ear", f"backbone:\n  name: ear\n  {line}"), registry)
    assert fault.startswith("x.yaml:5:"), fault
    return fault


def test_a_short_recipe_has_every_default_and_full_names(registry):
    recipe = read(GOOD, registry)
    assert (recipe.task.name, recipe.backbone.name) == ("sound/sound-classification", "sound/ear")
    assert recipe.data.source.options.path == Path.cwd() / "recordings"
    assert (recipe.train.epochs, recipe.train.optimizer.name, recipe.train.scheduler.name) == (25, "adam", "constant")
    assert recipe.train.optimizer.options.lr == 1e-3
    assert (recipe.seed, recipe.name, recipe.evaluate.report) == (0, "x", "html")
    assert recipe.backbone.options == EarOptions()


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("rate: 1e-5", 1e-5),
        ("rate: 1E-5", 1e-5),
        ("rate: .5", 0.5),
        ("rate: 1", 1.0),
        ("rate: +0.25", 0.25),
        ("layers: 2", 2),
        ("layers: 0x10", 16),
        ("layers: '2'", "2"),
        ("layers: block4", "block4"),
        ("layers: encoder.11", "encoder.11"),
        ("output: no", "no"),
        ("output: 012", "012"),
        ("output: 1_000", "1_000"),
        ("output: 1:30", "1:30"),
        ("output: 2020-01-01", "2020-01-01"),
        ("output: 1e-5", "1e-5"),
        ("output: 'null'", "null"),
        ("output: None", "None"),
        ("output: true", "true"),
        ("output: NA", "NA"),
        ("output: null", None),
        ("output:", None),
        ("output: ~", None),
        ("output: ''", ""),
        ("output: 'a\tb'", "a\tb"),
        ("output: a  # a comment", "a"),
        ("window: no", "no"),
        ("size: 16", 16),
        ("mono: false", False),
        ("share: 3", 3),
        ("share: 0.25", 0.25),
        ("share: 3.0", 3.0),
        ("share:", None),
        ("bands: [3, 4]", (3, 4)),
        ("bands: []", ()),
        ("names: {no: yes, 1: 2.50, y: 'null'}", {"no": "yes", "1": "2.50", "y": "null"}),
        ("gains: {a: 1, b: null}", {"a": 1.0, "b": None}),
        ("crop: {seconds: 2}", Crop(seconds=2.0)),
        ("crop:", Crop()),
        ("weights: random", "random"),
        ("weights: /tmp", Path("/tmp")),
        ("weights: ./nowhere", Path.cwd() / "nowhere"),
        ("weights: owner/model", "owner/model"),
        ("cache: ~/x", Path.home() / "x"),
        ("cache: x", Path.cwd() / "x"),
    ],
)  # fmt: skip
def test_a_value_means_what_yaml_1_2_and_its_key_say(registry, line, value):
    found = getattr(ear(registry, line), line.partition(":")[0])
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("rate: 012", "in digits"),
        ("rate: 1_0", "in digits"),
        ("rate: 1:30", "in digits"),
        ("rate: 0,5", "in digits"),
        ("rate: .nan", "finite"),
        ("rate: nan", "finite"),
        ("rate: -.inf", "finite"),
        ("rate: 1e999", "expected number"),
        ("rate: 1.5", "<= 1"),
        ("rate: -1", ">= 0"),
        ("rate: true", "expected number"),
        ("rate: '0.5'", "without quotes"),
        ("rate:", "nothing"),
        ("rate: [1]", "got a list"),
        ("rate: {a: 1}", "got a section"),
        ("layers: 012", "in digits"),
        ("layers: 1_000", "in digits"),
        ("layers: 1:30", "in digits"),
        ("layers: 1.0", "whole number"),
        ("layers: 0", ">= 1"),
        ("layers: null", "nothing"),
        ("layers: 99999999999999999999999", "whole number"),
        ("share: true", "whole number >= 0, number >= 0 or null"),
        ("size: 9", "8 or 16"),
        ("size: 8.0", "8 or 16"),
        ("size: '8'", "8 or 16"),
        ("window: han", "did you mean 'hann'?"),
        ("window: false", "hann or no"),
        ("mono: yes", "write true or false"),
        ("mono: True", "write true or false"),
        ("mono: 1", "write true or false"),
        ("mono: 'true'", "without quotes"),
        ("bands: 3", "list of whole number"),
        ("bands: [3, x]", "backbone.bands[1]"),
        ("bands: [0]", ">= 1"),
        ("names: {a: [1]}", "backbone.names.a"),
        ("names: word", "section of text"),
        ("crop: {seconds: 0}", "backbone.crop.seconds"),
        ("crop: {second: 1}", "did you mean 'seconds'?"),
        ("crop: word", "expected section"),
        ("cache: ~no-such-user-here/x", "expected path"),
        ("cache: ''", "expected path"),
        (r'output: "\ud800"', "Unicode"),
        ("output: !!str 1", "tag"),
        ("output: !!python/object/apply:os.system [true]", "tag"),
        ("output: !x y", "tag"),
        ("<<: {rate: 1}", "merge key"),
        ("? [a, b]\n  : 1", "single word"),
        ("rate: 1\n  rate: 0.5", "duplicate key 'rate' (lines 7 and 8)"),
        ("wieghts: x", "did you mean 'weights'?"),
        ("zzzzz: x", "known: name, weights, output"),
        ("momentum: 1", "belongs to train.optimizer"),
        ("output: silent", "backbone: nothing is heard"),
        ("output: loud", "backbone: loud needs two channels; write mono: false"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_a_fault_that_says_where_and_what_to_write(registry, line, words):
    found = faults(GOOD.replace("backbone: ear", f"\n\nbackbone:\n  name: ear\n  {line}"), registry)
    assert len(found) == 1, found
    assert words in found[0], found[0]
    assert found[0].startswith(("x.yaml:6:", "x.yaml:7:", "x.yaml:8:")), found[0]


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("", "x.yaml:", "empty"),
        ("# only a comment\n", "x.yaml:", "empty"),
        ("- a\n- b\n", "x.yaml:1:1", "a section of keys, got a list"),
        ("hello", "x.yaml:1:1", "got 'hello'"),
        ("a: [1, 2\nb: 3", "x.yaml:2:", "YAML"),
        ("a: 'b\n", "x.yaml:", "YAML"),
        ("a: b: c\n", "x.yaml:1:5", "YAML"),
        ("train:\n\tepochs: 3\n", "x.yaml:2:", "a tab"),
        ("train:\n  a: 1\n\tepochs: 3\n", "x.yaml:3:", "a tab"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2:", "second document"),
        ("a: *b\n", "x.yaml:1:", "alias"),
        ("a: \x07\n", "x.yaml:1:4", "U+0007"),
        ("a: &x [*x]\n", "x.yaml:1:", "too deep"),
        ("%YAML 3.0\n---\na: 1\n", "x.yaml:1:", "YAML"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_recipe_is_told_in_one_fault(registry, text, where, words):
    fault = only_fault(text, registry)
    assert fault.startswith(where)
    assert words in fault


HOSTILE = {
    "size": "a: 1\n" + "#" * 300_000,
    "depth": "[" * 100_000,
    "depth in blocks": "".join(" " * n + "a:\n" for n in range(200)),
    "aliases": "a: &a 1\nb: [" + "*a, " * 1001 + "]",
    "laughs": "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 12)),
    "depth by aliases": "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 200)),
    "values": "a: [" + "1, " * 20_000 + "]",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_text_that_would_exhaust_the_machine_is_refused(registry, name):
    assert "too" in only_fault(HOSTILE[name], registry).split()[1:] + ["too"] * (
        "too " in only_fault(HOSTILE[name], registry)
    )


def test_a_byte_order_mark_and_windows_line_ends_are_read(registry):
    assert read("\ufeff" + GOOD.replace("\n", "\r\n"), registry) == read(GOOD, registry)


def test_aliases_stand_for_their_value(registry):
    recipe = read(GOOD.replace("backbone: ear", "backbone: {name: ear, rate: &r 0.25, crop: {seconds: *r}}"), registry)
    assert recipe.backbone.options.crop.seconds == 0.25


def test_all_faults_are_told_at_once_from_top_to_bottom(registry):
    text = """\
tsk: sound-classification
data: {source: wave, max_bad: 2.5, holdout: {test: 0.6, validation: 0.5}}
backbone: {name: ear, rate: 2, wieghts: x}
adapter: {}
train:
  epochs: 0
  optimzer: adam
  scheduler: {name: step, gamma: 2}
  weight_decay: 1
evaluate: html
seed: -1
name: a/b
"""
    found = faults(text, registry, "train.epcs=1")
    for words in (
        "x.yaml:1:1: unknown key 'tsk'; did you mean 'task'?",
        "x.yaml:1:1: task is missing; known: smell-classification, sound-classification",
        "x.yaml:2:16: data: there is no data source 'wave'; did you mean 'waves'?",
        "x.yaml:2:45: data.holdout: validation and test leave nothing to train on",
        "x.yaml:3:29: backbone.rate: expected number >= 0 and <= 1, got '2'",
        "x.yaml:3:32: unknown key 'wieghts' in backbone sound/ear; did you mean 'weights'?",
        "x.yaml:4:10: adapter.name is missing; known: line",
        "x.yaml:6:11: train.epochs: expected whole number >= 1, got '0'",
        "x.yaml:7:3: unknown key 'optimzer' in train; did you mean 'optimizer'?",
        "x.yaml:8:34: train.scheduler.gamma: expected number > 0 and <= 1, got '2'",
        "x.yaml:9:3: unknown key 'weight_decay' in train; it belongs to train.optimizer",
        "x.yaml:10:11: evaluate: expected a section of keys, got 'html'",
        "x.yaml:11:7: seed: expected whole number >= 0, got '-1'",
        "x.yaml:12:7: the name 'a/b' cannot be a folder's name",
        "--set train.epcs=1: unknown key 'epcs' in train; did you mean 'epochs'?",
    ):
        assert any(fault.startswith(words) for fault in found), (words, found)
    assert len(found) == 15
    lines = [int(fault.split(":")[1]) for fault in found if fault.startswith("x.yaml")]
    assert lines == sorted(lines)


def test_a_required_option_that_is_absent_is_told_with_its_meaning(registry):
    fault = only_fault(GOOD.replace("{source: waves, path: recordings}", "waves"), registry)
    assert fault == "x.yaml:2:7: data.path is missing; path: path. Folder of recordings."


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("data: {source: anything, max_bad: 1.5}", "max_bad: a share is below 1, got 1.5; a count is a whole number"),
        ("data: {source: anything, max_bad: -1}", "expected whole number >= 0, number >= 0 or null"),
        ("data: {source: anything, holdout: {test: 1}}", "> 0 and < 1"),
        ("data: {source: anything, name: x}", "unknown key 'name' in data sound/anything"),
        ("data: {source: [anything]}", "data.source: expected a name, got a list"),
        ("data:", "data.source is missing; known: anything, waves"),
    ],
)
def test_a_fault_beside_a_source(registry, line, words):
    assert words in only_fault(GOOD.replace("data: {source: waves, path: recordings}", line), registry)


def test_an_unreadable_count_is_a_count_or_a_share(registry):
    for text, value in (("5", 5), ("0.05", 0.05), ("null", None)):
        recipe = read(GOOD, registry, f"data.max_bad={text}")
        assert recipe.data.max_bad == value
        assert type(recipe.data.max_bad) is type(value)


def test_no_is_a_precision_and_not_false(registry):
    assert read(GOOD + "train: {precision: no}", registry).train.precision == "fp32"
    assert "did you mean 'none'?" in only_fault(GOOD + "evaluate: {report: non}", registry)


def test_optimizers_know_their_own_keys(registry):
    recipe = read(GOOD + "train: {optimizer: {name: sgd, nesterov: true}}", registry)
    assert recipe.train.optimizer.options.momentum == 0.9
    wrong = "train: {optimizer: {name: sgd, nesterov: true, momentum: 0}}"
    assert "nesterov needs a momentum" in only_fault(GOOD + wrong, registry)
    assert "belongs to train.optimizer: {name: sgd}" in only_fault(
        GOOD + "train: {optimizer: {nesterov: true}}", registry
    )
    assert "did you mean 'adamw'" in only_fault(GOOD + "train: {optimizer: admw}", registry)


@pytest.mark.parametrize(
    ("task", "backbone", "data", "words"),
    [
        ("sound-classification", "nose", "anything",
         "backbone smell/nose is for smell, task sound/sound-classification for sound; for sound: ear"),
        ("smell-classification", "nose", "{source: waves, path: x}",
         "data source sound/waves is for sound, task smell/smell-classification for smell; for smell: anything"),
    ],
)  # fmt: skip
def test_task_backbone_and_data_must_be_about_the_same_kind_of_input(registry, task, backbone, data, words):
    fault = only_fault(f"task: {task}\ndata: {data}\nbackbone: {backbone}\nadapter: line\n", registry)
    assert words in fault


def test_a_source_of_anything_fits_every_modality(registry):
    assert read("task: smell-classification\ndata: anything\nbackbone: nose\nadapter: line\n", registry)


def test_a_name_that_two_plugins_offer_must_be_written_in_full():
    rival = plugin("rival", tl_backbones=[spec(tlcore.BackboneSpec, "ear", "sound")])
    registry = make_registry(rival)
    fault = only_fault(GOOD, registry)
    assert fault.startswith("x.yaml:3:11: backbone: ")
    assert "sound/ear" in fault
    assert "rival/ear" in fault
    assert read(GOOD.replace("ear", "rival/ear"), registry).backbone.name == "rival/ear"


def test_a_plugin_that_does_not_work_ends_with_its_own_exit_code_and_the_other_faults():
    broken = EntryPoint("broken", "no_such_module_here", "tlcore")
    with pytest.raises(PluginError) as caught:
        read(GOOD.replace("ear", "broken/thing") + "sed: 1", make_registry(broken))
    assert caught.value.exit_code == 8
    assert "x.yaml:3:11" in caught.value.where
    assert "ModuleNotFoundError" in caught.value.where
    assert "did you mean 'seed'?" in caught.value.where


@pytest.mark.parametrize("key", ["source", "holdout", "max_bad"])
def test_a_plugin_may_not_take_a_key_of_tlcore(key):
    options = dataclasses.make_dataclass("Options", [(key, int, tlcore.option(1))], frozen=True, kw_only=True)
    clash = plugin("clash", tl_data_sources=[spec(tlcore.DataSourceSpec, "taker", "sound", options)])
    with pytest.raises(PluginError, match=key):
        read(GOOD.replace("{source: waves, path: recordings}", "taker"), make_registry(clash))


def test_options_that_cannot_be_read_or_made_are_the_plugins_fault(registry):
    options = dataclasses.make_dataclass("Options", [("key", complex, tlcore.option(1j))], frozen=True, kw_only=True)
    odd = plugin("odd", tl_backbones=[spec(tlcore.BackboneSpec, "odd", "sound", options)])
    with pytest.raises(PluginError, match="cannot be keys") as caught:
        read(GOOD.replace("ear", "odd"), make_registry(odd))
    assert "complex" in caught.value.where
    with pytest.raises(PluginError, match="cannot be made") as caught:
        read(GOOD.replace("ear", "{name: ear, output: broken}"), registry)
    assert "a plugin's own mistake" in caught.value.where


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("train.epochs=3", "train.epochs", 3),
        ("backbone.rate=1e-3", "backbone.options.rate", 1e-3),
        ("train.optimizer=sgd", "train.optimizer.name", "sgd"),
        ("train.optimizer.lr=5e-5", "train.optimizer.options.lr", 5e-5),
        ("train.scheduler={name: step, gamma: 0.5}", "train.scheduler.options.gamma", 0.5),
        ("data={source: waves, path: /other}", "data.source.options.path", Path("/other")),
        ("data.source=sound/waves", "data.source.name", "sound/waves"),
        ("data.holdout.test=0.3", "data.holdout.test", 0.3),
        ("backbone.output=no", "backbone.options.output", "no"),
        ("backbone.output=", "backbone.options.output", None),
        ("backbone.names.a=b=c", "backbone.options.names", {"a": "b=c"}),
        (" seed = 4", "seed", 4),
        ("name=other", "name", "other"),
    ],
)
def test_set_changes_one_key(registry, override, path, value):
    found = read(GOOD, registry, override)
    for word in path.split("."):
        found = getattr(found, word)
    assert found == value


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.epochs=three", "--set train.epochs=three: train.epochs: expected whole number"),
        ("train.epochs", "this is no key=value"),
        ("=3", "this is no key=value"),
        ("train..epochs=3", "this is no key=value"),
        ("trian.epochs=3", "did you mean 'train'?"),
        ("train.epochs=[", "not readable as YAML"),
        ("train.epochs=!!int 3", "tag"),
        ("seed.x=3", "seed is '0' and has no keys"),
        ("backbone.zzz=3", "--set backbone.zzz=3: unknown key 'zzz' in backbone sound/ear"),
        ("data.source=anything", "unknown key 'path' in data sound/anything"),
        ("backbone=none", "there is no backbone 'none'"),
        ("train.optimizer={lr: 1, lr: 2}", "duplicate key 'lr'"),
    ],
)
def test_a_wrong_set_is_told_by_its_own_text(registry, override, words):
    assert words in only_fault(GOOD + "seed: 0\n", registry, override)


def test_overrides_hold_in_their_order(registry):
    assert read(GOOD, registry, "train={epochs: 2}", "train.epochs=4", "train.batch_size=8").train.epochs == 4


def test_a_file_gives_the_name_unless_the_recipe_does(registry, tmp_path):
    path = tmp_path / "barks.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert read_recipe(path, registry).name == "barks"
    assert read_recipe(path, registry, ["name=howls"]).name == "howls"
    hidden = tmp_path / ".hidden.yaml"
    hidden.write_text(GOOD)
    with pytest.raises(RecipeError, match=r"1 fault") as caught:
        read_recipe(hidden, registry)
    assert "cannot be a folder's name" in str(caught.value)


def test_names_that_are_no_unicode_are_refused_before_anything_is_made(registry, tmp_path, monkeypatch):
    """A folder unpacked with another encoding; its path could not be written into the run's recipe."""
    folder = tmp_path / "fotos \udcfc"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes no such name")
    monkeypatch.chdir(folder)
    Path("a.yaml").write_text(GOOD)
    with pytest.raises(RecipeError, match=r"data.path: .*recordings is not valid Unicode; rename that folder"):
        read_recipe(Path("a.yaml"), registry)
    Path("\udcfc.yaml").write_text(GOOD)
    with pytest.raises(RecipeError, match="cannot be a folder's name"):
        read_recipe(Path("\udcfc.yaml"), registry)


def test_a_file_that_is_not_there_or_no_text(registry, tmp_path):
    (tmp_path / "barks.yaml").write_text(GOOD)
    with pytest.raises(UsageError, match=r"bark.yaml") as caught:
        read_recipe(tmp_path / "bark.yaml", registry)
    assert caught.value.hint == f"did you mean {tmp_path / 'barks.yaml'}?"
    with pytest.raises(UsageError, match="cannot be read"):
        read_recipe(tmp_path, registry)
    with pytest.raises(UsageError) as caught:
        read_recipe(tmp_path / "no" / "x.yaml", registry)
    assert "there is no folder" in caught.value.hint
    (tmp_path / "latin.yaml").write_bytes("task: x\n# gr\xfc\xdfe\n".encode("latin-1"))
    with pytest.raises(RecipeError) as caught:
        read_recipe(tmp_path / "latin.yaml", registry)
    assert "latin.yaml:2: this is not UTF-8 text" in str(caught.value)
    (tmp_path / "large.yaml").write_bytes("\u20ac".encode() * 100_000)
    with pytest.raises(RecipeError) as caught:
        read_recipe(tmp_path / "large.yaml", registry)
    assert "256 KiB" in str(caught.value)


finite = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
words = st.sampled_from(
    ["no", "012", "1e-5", "0o7", "1_0", "1:30", ".inf", "~", "null", "true", "<<", "- a", "0x1F", "="]
)
any_text = texts | words
absolute = st.sampled_from(["/", "/data/a b", "/data/~x", "/a/../b", "/no", "/é\u2028"]).map(Path)
ears = st.builds(
    EarOptions,
    weights=absolute | st.sampled_from(["random", "owner/name", "no"]),
    output=st.none() | any_text.filter(lambda text: text not in ("loud", "silent", "broken")),
    layers=st.integers(1, 2**62) | any_text,
    rate=st.floats(0, 1),
    share=st.none() | st.integers(0, 2**62) | st.floats(0, 1e300),
    mono=st.booleans(),
    size=st.sampled_from([8, 16]),
    window=st.sampled_from(["hann", "no"]),
    bands=st.lists(st.integers(1, 9), max_size=3).map(tuple),
    names=st.dictionaries(any_text, any_text, max_size=3),
    gains=st.none() | st.dictionaries(any_text, st.none() | finite, max_size=3),
    crop=st.builds(Crop, seconds=st.floats(0, 1e6, exclude_min=True), from_end=st.booleans()),
    cache=st.none() | absolute,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(options=ears, label=any_text, seed=st.integers(0, 2**62))
def test_a_resolved_recipe_reads_back_as_itself(registry, options, label, seed):
    base = read(GOOD, registry)
    source = dataclasses.replace(base.data.source, options=WavesOptions(path=Path("/x"), label=label))
    recipe = dataclasses.replace(
        base,
        backbone=dataclasses.replace(base.backbone, options=options),
        data=dataclasses.replace(base.data, source=source),
        seed=seed,
    )
    assert read(recipe_yaml(recipe), registry, name="y") == recipe
    assert read(json.dumps(plain(recipe)), registry, name="y") == recipe


def test_a_resolved_recipe_is_complete(registry):
    written = plain(read(GOOD, registry))
    sections = [
        "name",
        "task",
        "data",
        "backbone",
        "adapter",
        "head",
        "train",
        "features",
        "evaluate",
        "track",
        "seed",
    ]
    assert list(written) == sections
    assert written["task"] == {"name": "sound/sound-classification"}
    assert written["data"] == {
        "source": "sound/waves",
        "path": str(Path.cwd() / "recordings"),
        "label": "label",
        "limit": None,
        "holdout": {"validation": 0.15, "test": 0.15},
        "max_bad": None,
        "leaks": "note",
    }
    assert written["train"]["optimizer"] == {
        "name": "adam",
        "lr": 1e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "weight_decay": 0.0,
    }
    assert written["backbone"]["crop"] == {"seconds": 1.0, "from_end": False}


LINES = [
    "task: sound-classification", "data:", "  source: waves", "  path: recordings", "  holdout: {test: 0.2}",
    "backbone: {name: ear, bands: [1, 2], crop: {seconds: 2}}", "adapter: line", "train:", "  epochs: 3",
    "  optimizer: {name: sgd, lr: 1e-2}", "  scheduler: step", "evaluate: {report: none}", "seed: 3",
]  # fmt: skip
junk = st.sampled_from(
    ["", "~", "-1", "1e9", "[1]", "{a: b}", "[", "&a", "*a", "!!x y", "'", ":", "\t", "- - -", ".nan", "ear"]
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_recipe_is_read_or_refused_but_never_ends_in_a_traceback(registry, data):
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 4))):
        n = data.draw(st.integers(0, len(lines) - 1))
        key = lines[n].partition(":")[0]
        lines[n : n + 1] = data.draw(
            st.sampled_from([[], [lines[n]] * 2, ["  " + lines[n]], [lines[n].strip()]])
            | junk.map(lambda value, key=key: [f"{key}: {value}"])
            | any_text.map(lambda text, n=n: [lines[n] + text])
        )
        if not lines:
            break
    with contextlib.suppress(RecipeError, PluginError):
        assert read("\n".join(lines), registry).train.epochs >= 1


GIVEN = {
    "head": {"solver": "lbfgs"},
    "train": {"epochs": 3},
    "features": {"store": "never"},
    "evaluate": {"mistakes": 3},
}


def test_every_section_that_is_declared_is_read(registry):
    """One that is not would be dropped in silence."""
    sections = {f.name for f in dataclasses.fields(Recipe) if dataclasses.is_dataclass(f.default)}
    assert sections == set(GIVEN)
    read = parse_recipe(GOOD + json.dumps(GIVEN)[1:-1].replace("}, ", "}\n"), registry, file="r.yaml", name="r")
    for section, values in GIVEN.items():
        for key, value in values.items():
            assert getattr(getattr(read, section), key) == value, f"{section}.{key}"
