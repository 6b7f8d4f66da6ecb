"""Commands that plugins add to ``tl``: listed and run like its own, and kept apart where they fail or clash."""

import json

import pytest

from tests.support.site import Site, tl

COUNTING = """
import tlcore
import typer

def count(ctx: typer.Context, kind: str) -> None:
    from tlcore.cli import registry_of
    typer.echo(len(registry_of(ctx).offers(kind)))

def lint(file: str) -> None:
    raise tlcore.DataError(f"{file} has trailing spaces", hint="remove them")

def crash() -> None:
    raise RuntimeError("oops")

@tlcore.hookimpl
def tl_commands(app):
    app.command(help="Count what there is of a KIND.")(count)
    app.command()(crash)
    recipe = typer.Typer()
    recipe.command(help="Check the style of FILE.")(lint)
    app.add_typer(recipe, name="recipe")
"""
REPLACING = """
import tlcore
import typer

@tlcore.hookimpl
def tl_commands(app):
    @app.command()
    def run() -> None:
        print("replaced")

    @app.command()
    def recipe() -> None:
        print("replaced")

    @app.command()
    def mine() -> None:
        print("added")

    others = typer.Typer()
    app.add_typer(others, name="list")
    further = typer.Typer()
    further.command("schema")(run)
    app.add_typer(further, name="recipe")
"""
FAILING = {
    "at import": ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "in the hook": (
        "import tlcore\n@tlcore.hookimpl\ndef tl_commands(app):\n    raise SystemExit('no luck')",
        "SystemExit: no luck",
    ),
    "for a parameter that Typer does not know": (
        "import tlcore\n@tlcore.hookimpl\ndef tl_commands(app):\n    @app.command()\n    def odd(x: int | str): ...",
        "support Union types",
    ),
}


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def listed(site, *group):
    done = tl(site, *group, "--help")
    assert done.returncode == 0, done.stderr
    _, _, commands = done.stdout.partition("Commands:\n")
    return [line.split()[0] for line in commands.splitlines() if line[:3].strip() and not line.startswith("   ")]


def test_a_command_is_listed_and_sees_the_plugins_of_the_call(site):
    before = listed(site)
    site.install("counting", {"counting": "counting"}, counting=COUNTING)
    assert set(listed(site)) == {*before, "count", "crash"}
    done = tl(site, "count", "backbone")
    assert done.returncode == 0, done.stderr
    fewer = tl(site, "--no-plugin", "vision", "count", "backbone")
    assert int(fewer.stdout) < int(done.stdout)


def test_a_group_of_tlcore_gets_a_further_command(site):
    before = listed(site, "recipe")
    site.install("counting", {"counting": "counting"}, counting=COUNTING)
    assert set(listed(site, "recipe")) == {*before, "lint"}
    done = tl(site, "recipe", "lint", "a.yaml")
    assert (done.returncode, done.stderr) == (3, "error: a.yaml has trailing spaces\nhint: remove them\n")
    assert tl(site, "recipe", "schema").returncode == 0


def test_tl_plugins_names_the_commands(site):
    site.install("counting", {"counting": "counting"}, counting=COUNTING)
    assert "commands: count, crash, recipe lint" in tl(site, "plugins").stdout
    plugins = json.loads(tl(site, "plugins", "--json").stdout)["plugins"]
    [ours] = [one for one in plugins if one["name"] == "counting"]
    assert ours["offers"]["commands"] == ["count", "crash", "recipe lint"]


def test_a_command_that_crashes_ends_with_the_name_of_its_plugin(site):
    site.install("counting", {"counting": "counting"}, counting=COUNTING)
    done = tl(site, "crash")
    assert done.returncode == 8
    assert "plugin counting (counting 1.2) failed in crash: RuntimeError: oops" in done.stderr


@pytest.mark.parametrize("case", FAILING)
def test_a_plugin_that_fails_is_reported_and_the_other_commands_work(site, case):
    site.install("counting", {"counting": "counting"}, counting=COUNTING)
    before = listed(site)
    source, reason = FAILING[case]
    site.install("broken", {"broken": "broken"}, broken=source)
    assert listed(site) == before
    note = "note: plugin broken (broken 1.2) does not work; `tl plugins --errors` says why\n"
    assert tl(site, "--help").stderr == note
    done = tl(site, "count", "backbone")
    assert (done.returncode, done.stderr) == (0, note)
    shown = tl(site, "plugins")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert reason in shown.stdout
    refused = tl(site, "odd")
    assert refused.returncode == 2
    assert refused.stderr == f"error: No such command 'odd'.\nhint: not asked, since they failed: broken\n{note}"
    assert tl(site, "--help", TL_STRICT_PLUGINS="1").returncode == 8


def test_a_command_that_exists_is_not_replaced(site):
    site.install("replacing", {"replacing": "replacing"}, replacing=REPLACING)
    shown = tl(site, "plugins").stdout
    for name in ("run", "list", "recipe", "recipe schema"):
        reason = f"plugin replacing (replacing 1.2) failed at tl_commands: the command `tl {name}` exists already"
        assert (reason in shown) == (name != "recipe"), shown
    assert "commands: mine" in shown
    assert tl(site, "mine").stdout == "added\n"
    assert "replaced" not in tl(site, "run").stdout
    assert json.loads(tl(site, "recipe", "schema").stdout)


@pytest.mark.parametrize("how", [("--no-plugin", "counting"), ()], ids=["--no-plugin", "TL_PLUGINS"])
@pytest.mark.parametrize("words", [("--help",), ("nosuch",), ("recipe", "--help")], ids=" ".join)
def test_what_is_switched_off_is_not_imported_for_its_commands(site, how, words):
    site.install("counting", {"counting": "counting"}, counting="import os; os._exit(77)")
    done = tl(site, *how, *words, **({} if how else {"TL_PLUGINS": ""}))
    assert done.returncode == (2 if words == ("nosuch",) else 0)
    if words == ("nosuch",):
        assert "hint: not asked, since they are switched off: counting" in done.stderr


@pytest.mark.parametrize("words", [("--help",), ("count", "backbone")], ids=" ".join)
def test_a_plugin_that_is_not_there_cannot_be_switched_off(site, words):
    site.install("counting", {"counting": "counting"}, counting=COUNTING)
    done = tl(site, "--no-plugin", "countin", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --no-plugin: there is no plugin 'countin'\nhint: did you mean 'counting'?\n"
