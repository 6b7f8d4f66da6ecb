"""From a name to the one spec that it means, or to who is to blame."""

import dataclasses
from pathlib import Path
from types import ModuleType

import pytest

import tlcore
from tlcore.plugins.host import BUILTIN_DISTRIBUTION, PluginHost
from tlcore.plugins.registry import KINDS, Registry


class Declared:
    """An entry point of a distribution that is not there."""

    def __init__(self, name: str, module: object, distribution: str, version: str = "1.2") -> None:
        self.name, self.value, self.module = name, f"{name}_module", module
        self.dist = type("Distribution", (), {"name": distribution, "version": version})

    def load(self) -> object:
        if isinstance(self.module, Exception):
            raise self.module
        return self.module


def task(name: str, **changes) -> tlcore.TaskSpec:
    settings = {
        "name": name,
        "summary": "Something to predict.",
        "modality": "vector",
        "build": lambda options: None,
        "smoke": lambda folder: tlcore.NoOptions(),
        **changes,
    }
    return tlcore.TaskSpec(**settings)


def plugin(*offers: object, hook: str = "tl_tasks") -> ModuleType:
    """Return a module whose one hook offers these; an exception among them is raised."""
    module = ModuleType("made_up")

    def offer():
        for record in offers:
            if isinstance(record, Exception):
                raise record
            yield record

    setattr(module, hook, tlcore.hookimpl(offer))
    return module


def registry(disabled=(), **modules: object) -> Registry:
    """Return what plugins offer: ``vision`` is built in, any other comes from a package of its own."""
    declared = [
        Declared(name, module, BUILTIN_DISTRIBUTION if name == "vision" else f"{name}-package")
        for name, module in modules.items()
    ]
    return Registry(PluginHost(declared, disabled=disabled, environ={}))


def test_a_name_is_found_in_short_and_in_full():
    found = registry(vision=plugin(task("image-classification")))
    assert found.find("task", "image-classification") is found.find("task", "vision/image-classification")
    offer = found.find("task", "image-classification")
    assert (offer.full_name, offer.plugin.distribution) == ("vision/image-classification", "tlcore")


def test_a_short_name_that_two_plugins_have_is_an_error_only_when_used():
    found = registry(vision=plugin(task("rank"), task("sort")), other=plugin(task("rank")))
    assert found.host.failures == []
    assert found.find("task", "sort").full_name == "vision/sort"
    assert found.find("task", "other/rank").plugin.distribution == "other-package"
    assert found.find("task", "vision/rank").plugin.distribution == "tlcore"
    with pytest.raises(tlcore.UsageError, match="'rank' is offered by several plugins") as caught:
        found.find("task", "rank")
    assert caught.value.hint == "write other/rank (from other-package) or vision/rank (from tlcore)"


def test_the_same_name_twice_in_one_plugin_is_refused_when_asked_for():
    found = registry(vision=plugin(task("rank"), task("rang"), task("rank")))
    assert [offer.full_name for offer in found.offers("task")] == ["vision/rang"]
    for name in ("rank", "vision/rank"):
        with pytest.raises(tlcore.PluginError, match=r"vision \(tlcore 1.2\).*vision/rank 2 times") as caught:
            found.find("task", name)
        assert caught.value.exit_code == 8


BAD_RECORDS = {
    "number": (3, "3, which is not a TaskSpec"),
    "spec of another kind": (
        tlcore.AdapterSpec(name="a", summary="s", build=print, smoke=print),
        "which is not a TaskSpec",
    ),
    "name with a slash": (task("a/b"), "'a/b' is not a name"),
    "name with a space": (task("a b"), "'a b' is not a name"),
    "empty name": (task(""), "'' is not a name"),
    "name that is not a string": (task(3), "3 is not a name"),
    "no summary": (task("a", summary=" "), "a has no summary"),
    "options that are not a dataclass": (task("a", options=dict), "the options of a are not a dataclass"),
    "options that are an instance": (task("a", options=tlcore.NoOptions()), "the options of a are not a dataclass"),
    "build that is not a function": (task("a", build="module:function"), "build of a is not a function"),
    "smoke that is not a function": (task("a", smoke=tlcore.NoOptions()), "smoke of a is not a function"),
    "modality that is not a string": (task("a", modality=None), "the modality of a is not a string"),
}


@pytest.mark.parametrize(("record", "reason"), BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_a_wrong_record_is_refused_and_the_others_stay(record, reason):
    found = registry(bad=plugin(task("fine"), record), vision=plugin(task("rank")))
    assert [offer.full_name for offer in found.offers("task")] == ["bad/fine", "vision/rank"]
    [failure] = found.host.failures
    assert reason in failure.reason
    assert failure.plugin.name == "bad"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"samples": []}, "samples of net is not a function"),
        ({"media": None}, "the media of net is not a string"),
        ({"recommended": True}, "the recommended of net is not a string"),
        ({"learning_rate": "1e-3"}, "the learning_rate of net is not a number"),
    ],
    ids=str,
)
def test_a_field_of_a_backbone_has_its_type(changes, reason):
    given = {"name": "net", "summary": "A net.", "modality": "vector", "build": print, "smoke": print, "samples": print}
    found = registry(bad=plugin(tlcore.BackboneSpec(**{**given, **changes}), hook="tl_backbones"))
    assert found.offers("backbone") == []
    assert reason in found.host.failures[0].reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"recognizes": ".csv"}, "recognizes of rows is not a function"),
        ({"layout_options": "label"}, "the layout_options of rows are not a tuple"),
    ],
    ids=str,
)
def test_a_field_of_a_data_source_has_its_type(changes, reason):
    found = registry(bad=plugin(source("rows", **changes), hook="tl_data_sources"))
    assert found.offers("data") == []
    assert reason in found.host.failures[0].reason


def test_a_failure_is_noted_once_however_often_it_is_asked_for():
    found = registry(bad=plugin(3))
    for _ in range(3):
        found.offers("task")
    assert len(found.host.failures) == 1


def test_a_typo_is_the_users_whatever_is_broken_beside_it():
    found = registry(vision=plugin(task("image-classification")), bad=ImportError("no module x"))
    for name in ("image-clasification", "vision/image-clasification", "vison/image-classification"):
        with pytest.raises(tlcore.UsageError) as caught:
            found.find("task", name)
        assert "did you mean" in caught.value.hint
        assert "image-classification'" in caught.value.hint
        assert caught.value.exit_code == 2
    with pytest.raises(tlcore.UsageError) as caught:
        found.find("task", "image-clasification")
    assert caught.value.hint.endswith("not asked, since they failed: bad")


def test_a_name_that_only_a_broken_plugin_could_offer_blames_it():
    found = registry(vision=plugin(task("image-classification")), bad=ImportError("no module x"))
    for name in ("rank", "bad/rank"):
        with pytest.raises(tlcore.PluginError) as caught:
            found.find("task", name)
        assert caught.value.where == "plugin bad (bad-package 1.2) failed at import: ImportError: no module x"
        assert caught.value.exit_code == 8
        assert "tl plugins --errors" in caught.value.hint


def test_a_hook_that_raised_is_blamed_for_its_own_kind_only():
    found = registry(bad=plugin(ValueError("not today")))
    with pytest.raises(tlcore.PluginError, match="not today"):
        found.find("task", "rank")
    with pytest.raises(tlcore.UsageError, match="there is no backbone 'rank'"):
        found.find("backbone", "rank")


def test_a_stranger_that_claims_a_built_in_name_does_not_hide_a_typo():
    declared = [
        Declared("vision", plugin(task("image-classification")), BUILTIN_DISTRIBUTION),
        Declared("vision", plugin(task("image-classification")), "a-stranger"),
    ]
    found = Registry(PluginHost(declared, environ={}))
    assert found.find("task", "vision/image-classification").plugin.distribution == BUILTIN_DISTRIBUTION
    with pytest.raises(tlcore.UsageError, match="did you mean 'vision/image-classification'"):
        found.find("task", "vision/image-clasification")
    with pytest.raises(tlcore.PluginError, match="a-stranger"):
        found.find("task", "vision/rank")


def test_two_strangers_with_one_name_are_both_named():
    declared = [Declared("twin", plugin(task("rank")), name) for name in ("first-package", "second-package")]
    found = Registry(PluginHost(declared, environ={}))
    with pytest.raises(tlcore.PluginError) as caught:
        found.find("task", "twin/rank")
    assert "first-package" in caught.value.where
    assert "second-package" in caught.value.where


def test_a_name_of_a_plugin_that_is_switched_off_or_absent_says_so():
    found = registry(disabled=["other"], vision=plugin(task("rank")), other=plugin(task("sort")))
    with pytest.raises(tlcore.PluginError, match="needs the plugin 'other', which is switched off"):
        found.find("task", "other/sort")
    with pytest.raises(tlcore.PluginError, match="needs the plugin 'sound', which is not installed"):
        found.find("task", "sound/tagging")
    with pytest.raises(tlcore.UsageError, match="not asked, since they are switched off: other"):
        found.find("task", "sort")


def test_an_unknown_name_lists_what_there_is():
    found = registry(vision=plugin(task("rank")))
    with pytest.raises(tlcore.UsageError, match="known: rank"):
        found.find("task", "xyz")
    with pytest.raises(tlcore.UsageError, match="vision has: vision/rank"):
        found.find("task", "vision/xyz")
    with pytest.raises(tlcore.UsageError, match="known: none"):
        found.find("adapter", "xyz")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_spec_that_says_so(kind):
    assert KINDS[kind].kind == kind
    assert dataclasses.is_dataclass(KINDS[kind])


def source(name, **more):
    return tlcore.DataSourceSpec(name=name, summary="Rows.", modality="*", build=print, smoke=print, **more)


def test_a_path_is_for_the_source_that_recognizes_it_and_not_first_for_a_built_in_one(tmp_path):
    files = source("files", recognizes=Path.is_file)
    scores = source("scores", recognizes=lambda path: path.suffix == ".score")
    declared = [
        Declared("all", plugin(files, hook="tl_data_sources"), BUILTIN_DISTRIBUTION),
        Declared("music", plugin(source("silent"), scores, hook="tl_data_sources"), "a-stranger"),
    ]
    found = Registry(PluginHost(declared, environ={}))
    for name in ("a.score", "a.csv"):
        (tmp_path / name).touch()
    assert found.source_for(tmp_path / "a.score").full_name == "music/scores"
    assert found.source_for(tmp_path / "a.csv").full_name == "all/files"
    assert found.source_for(tmp_path) is None
