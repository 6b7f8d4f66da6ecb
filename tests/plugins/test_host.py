"""One broken plugin harms only those who name it; on fake installed distributions."""

import json
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

import tlcore
from tests.support.site import GOOD, tl
from tlcore.plugins.host import PluginHost
from tlcore.plugins.registry import Registry


def names(host: PluginHost) -> list[str]:
    return [offer.full_name for offer in Registry(host).offers("task")]


RAISING = {
    "ImportError": ("import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
    "SyntaxError": ("def broken(:", "SyntaxError"),
    "SystemExit": ("import sys; sys.exit(0)", "SystemExit: 0"),
    "exit in silence": ("raise SystemExit", "SystemExit"),
    "own BaseException": ("class Odd(BaseException): pass\nraise Odd('one\\ntwo')", "Odd: one two"),
    "a refusal of tlcore": ("import tlcore; raise tlcore.PluginError('mine')", "PluginError: mine"),
    "endless recursion": ("def f(): f()\nf()", "RecursionError"),
    "a reason of megabytes": ("raise ValueError('x ' * 2_000_000)", "ValueError: x x"),
    "not UTF-8": ("# -*- coding: no-such-codec -*-", "no-such-codec"),
}


@pytest.mark.parametrize(("text", "reason"), RAISING.values(), ids=RAISING)
def test_an_import_that_raises_costs_only_that_plugin(site, text, reason):
    site.install("bad-package", {"bad": "bad_module"}, bad_module=text)
    host = site.host()
    assert names(host) == ["good/good"]
    [failure] = host.failures
    assert str(failure).startswith("plugin bad (bad-package 1.2) failed at import: ")
    assert reason in failure.reason
    assert "\n" not in failure.reason
    assert "Traceback" in failure.traceback
    assert host.failures_of("bad") == [failure]
    assert host.failures_of("good") == []


def test_a_module_that_is_not_there_is_a_failure(site):
    site.install("bad-package", {"bad": "no_such_module"})
    assert "no_such_module" in site.host().failures[0].reason


@pytest.mark.parametrize("entry", ["good_module:tl_tasks", "good_module:no_such_name"])
def test_an_entry_point_names_a_module(site, entry):
    site.install("bad-package", {"bad": entry})
    host = site.host()
    assert names(host) == ["good/good"]
    assert [failure.plugin.name for failure in host.failures] == ["bad"]


def test_a_keyboard_interrupt_at_import_is_the_users(site):
    site.install("bad-package", {"bad": "bad_module"}, bad_module="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        site.host()


def test_a_stop_signal_in_a_hook_is_the_users(site):
    text = GOOD.format(name="bad") + "\n@tlcore.hookimpl\ndef tl_run_finished(event):\n    raise event\n"
    site.install("bad-package", {"bad": "bad_module"}, bad_module=text)
    from tlcore.errors import Interrupted

    with pytest.raises(Interrupted):
        site.host().notify("tl_run_finished", Interrupted("stopped"), print)


REFUSED = {
    "misspelled hook": ("@tlcore.hookimpl\ndef tl_backbone():\n    return []", "did you mean tl_backbones?"),
    "no hook at all": ("@tlcore.hookimpl\ndef predict():\n    return []", "predict is not a hook of tlcore"),
    "two misspelled hooks": (
        "@tlcore.hookimpl\ndef tl_backbone():\n    return []\n@tlcore.hookimpl\ndef tl_adapter():\n    return []",
        "tl_adapter is not a hook of tlcore; did you mean tl_adapters?; tl_backbone is not a hook",
    ),
    "undecorated hook": ("def tl_backbones():\n    return []", "tl_backbones is not marked with @tlcore.hookimpl"),
    "wrong argument": ("@tlcore.hookimpl\ndef tl_backbones(options):\n    return []", "'options'"),
    "wrapper that is no generator": ("@tlcore.hookimpl(wrapper=True)\ndef tl_backbones():\n    return []", "wrapper"),
    "newer API": ("TLCORE_API = 2", "plugin API 2; this tlcore has API 1"),
    "older API": ("TLCORE_API = 0", "plugin API 0; this tlcore has API 1"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_plugin_that_is_written_wrongly_is_refused_as_a_whole(site, text, reason):
    site.install("bad-package", {"bad": "bad_module"}, bad_module=GOOD.format(name="bad") + text)
    host = site.host()
    assert [plugin.name for plugin in host.plugins] == ["good"]
    assert reason in host.failures[0].reason
    assert names(host) == ["good/good"]
    told = []
    host.notify("tl_run_started", tlcore.RunStarted(folder=Path(), recipe={}, counts={}, notes=told), print)
    assert told == ["good was told"]


def test_a_module_without_hooks_is_refused(site):
    site.install("bad-package", {"bad": "bad_module"}, bad_module="import tlcore")
    assert "it implements no hook" in site.host().failures[0].reason


def test_a_hook_may_be_implemented_under_another_name(site):
    text = GOOD.format(name="renamed").replace(
        "@tlcore.hookimpl\ndef tl_tasks", "@tlcore.hookimpl(specname='tl_tasks')\ndef offered"
    )
    site.install("renamed-package", {"renamed": "renamed_module"}, renamed_module=text)
    assert names(site.host()) == ["good/good", "renamed/renamed"]


def test_names_that_only_begin_like_hooks_are_left_alone(site):
    text = GOOD.format(name="other") + "\ntl_task = 3\ndef tl_version():\n    return 1\n"
    site.install("other-package", {"other": "other_module"}, other_module=text)
    assert site.host().failures == []


def test_a_plugin_name_has_no_slash(site):
    site.install("bad-package", {"a/b": "bad_module"}, bad_module=GOOD.format(name="bad"))
    assert "slash" in site.host().failures[0].reason


RAISING_HOOKS = {
    "raises": "raise ValueError('not today')",
    "exits": "raise SystemExit(3)",
    "yields half": "yield spec\n    raise ValueError('not today')",
    "one record, not many": "return spec",
}


@pytest.mark.parametrize("body", RAISING_HOOKS.values(), ids=RAISING_HOOKS)
def test_a_hook_that_fails_offers_nothing(site, body):
    text = (
        f"import good_module, tlcore\n[spec] = good_module.tl_tasks()\n@tlcore.hookimpl\ndef tl_tasks():\n    {body}\n"
    )
    site.install("bad-package", {"bad": "bad_module"}, bad_module=text)
    host = site.host()
    assert names(host) == ["good/good"]
    [failure] = host.failures
    assert (failure.plugin.name, failure.doing) == ("bad", "tl_tasks")


def test_the_same_name_from_two_strangers_refuses_both_and_names_both(site):
    site.install("first-package", {"twin": "first_module"}, first_module=GOOD.format(name="first"))
    site.install("second-package", {"twin": "second_module"}, "3.0", second_module=GOOD.format(name="second"))
    host = site.host()
    assert names(host) == ["good/good"]
    first, second = "twin (first-package 1.2)", "twin (second-package 3.0)"
    assert [str(failure) for failure in host.failures] == [
        f"plugin {first} failed at loading: the name 'twin' is also claimed by {second}",
        f"plugin {second} failed at loading: the name 'twin' is also claimed by {first}",
    ]
    assert "first_module" not in sys.modules
    assert "second_module" not in sys.modules


def test_a_built_in_keeps_its_name_against_a_stranger(site):
    site.install("tlcore", {"vision": "ours"}, ours=GOOD.format(name="ours"))
    site.install("a-stranger", {"vision": "theirs"}, theirs=GOOD.format(name="theirs"))
    host = site.host()
    assert names(host) == ["good/good", "vision/ours"]
    assert [failure.plugin.distribution for failure in host.failures] == ["a-stranger"]
    assert "vision (tlcore 1.2)" in host.failures[0].reason


def test_a_clash_is_settled_by_leaving_one_out(site):
    site.install("tlcore", {"vision": "ours"}, ours=GOOD.format(name="ours"))
    site.install("a-stranger", {"vision": "theirs"}, theirs=GOOD.format(name="theirs"))
    host = site.host(environ={"TL_PLUGINS": "", "TL_STRICT_PLUGINS": "1"})
    assert names(host) == ["vision/ours"]
    assert host.failures == []


def test_a_distribution_that_is_found_twice_is_one(site):
    points = [
        point for _ in range(2) for found in distributions(path=[str(site.folder)]) for point in found.entry_points
    ]
    host = PluginHost(points, environ={})
    assert names(host) == ["good/good"]
    assert host.failures == []


def test_one_module_under_two_names_is_one_plugin(site):
    site.install("other-package", {"other": "good_module"})
    host = site.host()
    assert names(host) == ["good/good"]
    assert [failure.plugin.name for failure in host.failures] == ["other"]


def test_what_a_plugin_prints_does_not_reach_standard_output(site, capfd):
    text = GOOD.format(name="loud").replace("    yield", "    print('in a hook')\n    yield")
    text = "import os\nos.write(1, b'from C\\n')\nprint('at import')\n" + text
    text = text.replace("    event", "    print('told')\n    event")
    site.install("loud-package", {"loud": "loud_module"}, loud_module=text)
    host = site.host()
    assert "loud/loud" in names(host)
    host.notify("tl_run_started", tlcore.RunStarted(folder=Path(), recipe={}, counts={}, notes=[]), print)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.split("\n") == ["from C", "at import", "in a hook", "told", ""]


def test_output_between_two_plugins_is_not_touched(site, capsys):
    host = site.host()
    for plugin in host.plugins:
        host.call(plugin, "tl_tasks")
        sys.stdout.write("mine\n")
    assert capsys.readouterr().out == "mine\n"


def test_tl_plugins_names_the_third_party_plugins_that_may_load(site):
    site.install("other-package", {"other": "other_module"}, other_module=GOOD.format(name="other"))
    site.install("tlcore", {"vision": "ours"}, ours=GOOD.format(name="ours"))
    assert names(site.host(environ={"TL_PLUGINS": "other"})) == ["other/other", "vision/ours"]
    assert names(site.host(environ={"TL_PLUGINS": " good , other"})) == ["good/good", "other/other", "vision/ours"]
    only_ours = site.host(environ={"TL_PLUGINS": ""})
    assert names(only_ours) == ["vision/ours"]
    assert [plugin.name for plugin in only_ours.disabled] == ["good", "other"]


def test_what_is_switched_off_is_never_imported(site):
    site.install("bad-package", {"bad": "bad_module"}, bad_module="raise SystemExit")
    for settings in ({"disabled": ["bad"]}, {"environ": {"TL_PLUGINS": "good"}}):
        host = site.host(**settings)
        assert host.failures == []
        assert [plugin.name for plugin in host.disabled] == ["bad"]
        assert "bad_module" not in sys.modules


def test_a_built_in_can_be_switched_off_by_name(site):
    site.install("tlcore", {"vision": "ours"}, ours=GOOD.format(name="ours"))
    assert names(site.host(disabled=["vision"])) == ["good/good"]


@pytest.mark.parametrize(("value", "strict"), [("1", True), ("yes", True), ("", False), ("0", False), ("False", False)])
def test_strict_turns_any_failure_into_an_error(site, value, strict):
    site.install("bad-package", {"bad": "bad_module"}, bad_module="import no_such_module_anywhere")
    if strict:
        with pytest.raises(tlcore.PluginError, match=r"bad \(bad-package 1.2\).*no_such_module_anywhere") as caught:
            site.host(environ={"TL_STRICT_PLUGINS": value})
        assert "--no-plugin bad" in caught.value.hint
        assert caught.value.exit_code == 8
        assert isinstance(caught.value.__cause__, ImportError)
    else:
        assert len(site.host(environ={"TL_STRICT_PLUGINS": value}).failures) == 1


def test_strict_holds_for_hooks_too(site):
    text = "import tlcore\n@tlcore.hookimpl\ndef tl_tasks():\n    return [3]\n"
    site.install("bad-package", {"bad": "bad_module"}, bad_module=text)
    with pytest.raises(tlcore.PluginError, match="not a TaskSpec"):
        names(site.host(environ={"TL_STRICT_PLUGINS": "1"}))


def test_a_failing_event_hook_is_muted_and_the_others_are_told(site):
    text = GOOD.format(name="bad").replace("event.notes.append", "event.no_such_thing.append")
    text += "\n@tlcore.hookimpl\ndef tl_run_finished(event):\n    event.append('finished')\n"
    site.install("bad-package", {"bad": "bad_module"}, bad_module=text)
    site.install("zuletzt", {"last": "last_module"}, last_module=GOOD.format(name="last"))
    host, told, warnings = site.host(), [], []
    for _ in range(2):
        event = tlcore.RunStarted(folder=Path(), recipe={}, counts={}, notes=told)
        host.notify("tl_run_started", event, warnings.append)
    assert told == ["good was told", "last was told"] * 2
    assert len(warnings) == 1
    assert warnings[0].startswith("plugin bad (bad-package 1.2) failed at tl_run_started: AttributeError")
    assert warnings[0].endswith("the run continues without it")
    finished = []
    host.notify("tl_run_finished", finished, warnings.append)
    assert finished == ["finished"]


def test_a_host_knows_nothing_of_another(site):
    site.host(disabled=["good"])
    assert names(site.host()) == ["good/good"]


BAD_PACKAGES = {
    "importing": "import no_such_module_anywhere",
    "parsing": "def broken(:",
    "exiting": "print('goodbye'); raise SystemExit(0)",
    "newer": GOOD.format(name="newer") + "TLCORE_API = 2",
    "raising": "import tlcore\n@tlcore.hookimpl\ndef tl_tasks():\n    raise ValueError('not today')\n",
    "misspelt": "import tlcore\n@tlcore.hookimpl\ndef tl_task():\n    return []\n",
    "mistyped": "import tlcore\n@tlcore.hookimpl\ndef tl_tasks():\n    print('hello')\n    return [3]\n",
}


@pytest.fixture
def bad_site(site):
    """Return the site with seven broken plugins beside the good one."""
    for name, text in BAD_PACKAGES.items():
        site.install(f"{name}-package", {name: f"{name}_module"}, **{f"{name}_module": text})
    return site


def test_the_command_line_survives_every_broken_package_at_once(bad_site):
    listed = tl(bad_site, "list", "tasks", "--json")
    assert listed.returncode == 0, listed.stderr
    assert "good/good" in [offer["full_name"] for offer in json.loads(listed.stdout)]
    for name in BAD_PACKAGES:
        assert f"{name} ({name}-package 1.2)" in listed.stderr


def test_tl_plugins_tells_what_is_broken_and_why(bad_site):
    result = tl(bad_site, "plugins", "--json")
    assert result.returncode == 0, result.stderr
    about = json.loads(result.stdout)
    assert {one["distribution"] for one in about["failures"]} == {f"{name}-package" for name in BAD_PACKAGES}
    assert "good" in [one["name"] for one in about["plugins"]]
    shown = tl(bad_site, "plugins", "--errors").stdout
    assert "Traceback" in shown
    assert "no_such_module_anywhere" in shown


def test_the_command_line_ends_with_8_where_a_broken_package_is_needed(bad_site):
    result = tl(bad_site, "show", "task", "importing/anything")
    assert result.returncode == 8
    assert result.stdout == ""
    assert "importing (importing-package 1.2)" in result.stderr
    assert "no_such_module_anywhere" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_command_line_leaves_out_and_is_strict_when_told(bad_site):
    without = tl(bad_site, *[word for name in BAD_PACKAGES for word in ("--no-plugin", name)], "plugins", "--json")
    assert json.loads(without.stdout)["failures"] == []
    assert tl(bad_site, "list", TL_STRICT_PLUGINS="1").returncode == 8
    only_ours = json.loads(tl(bad_site, "plugins", "--json", TL_PLUGINS="").stdout)
    assert {one["distribution"] for one in only_ours["plugins"]} == {"tlcore"}
