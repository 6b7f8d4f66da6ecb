"""The command line: what it prints, where, with which exit code, and what it does not import."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
import typer

import tlcore
from tlcore.cli import main
from tlcore.cli.layout import columns, harmless

SOUND = """
from dataclasses import dataclass
from pathlib import Path
import tlcore

@dataclass(frozen=True, kw_only=True)
class EarOptions:
    weights: Path | str = tlcore.option("random", "A folder of weights, or the name of some.")
    layers: int = tlcore.option(2, "How many.", ge=1)

@dataclass(frozen=True, kw_only=True)
class WavesOptions:
    path: Path = tlcore.option(help="Folder of recordings.")

class Waves:
    def examples(self):
        yield tlcore.Example(id="a", input=b"", label="low")

def spec(kind, name, options=tlcore.NoOptions, build=print, **more):
    return kind(name=name, summary=f"The {name} \\x1b[31m.", build=build, smoke=print, options=options, **more)

@tlcore.hookimpl
def tl_tasks():
    yield spec(tlcore.TaskSpec, "sound-classification", modality="sound")

@tlcore.hookimpl
def tl_backbones():
    yield spec(tlcore.BackboneSpec, "ear", EarOptions, modality="sound", samples=print)

@tlcore.hookimpl
def tl_data_sources():
    yield spec(tlcore.DataSourceSpec, "waves", WavesOptions, modality="sound", build=lambda options: Waves())

@tlcore.hookimpl
def tl_adapters():
    yield spec(tlcore.AdapterSpec, "line")
"""

RECIPE = """\
task: sound-classification
data: {source: waves, path: recordings}
backbone: ear
adapter: line
"""


def install(folder, name, code, version="1.2"):
    """Put a distribution with one plugin into a folder, as an installer would leave it."""
    (folder / f"{name}_plugin.py").write_text(textwrap.dedent(code))
    info = folder / f"{name}_dist-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-dist\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[tlcore]\n{name} = {name}_plugin\n")


@pytest.fixture
def place(tmp_path):
    """Return a folder with a plugin for sounds beside it and a recipe in it."""
    site = tmp_path / "site"
    site.mkdir()
    install(site, "sound", SOUND)
    work = tmp_path / "work"
    work.mkdir()
    (work / "barks.yaml").write_text(RECIPE)
    return work


def tl(place, *arguments, code="from tlcore.cli import main; main()", **environment):
    """Run ``tl`` in a process of its own, with the built-in plugins and those of the place."""
    paths = [str(place.parent / "site"), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )


SPY = """
import sys
from tlcore.cli import main
try:
    main()
finally:
    heavy = "torch torchvision transformers accelerate datasets pyarrow numpy PIL sklearn rich".split()
    loaded = [name for name in heavy if name in sys.modules] + [name for name in sys.modules if name.startswith("tl_")]
    print("IMPORTED", *loaded, file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["list"],
        ["plugins"],
        ["show", "backbone", "ear"],
        ["recipe", "check", "barks.yaml"],
        ["recipe", "check", "barks.yaml", "--set", "train.epochs=x"],
        ["recipe", "schema"],
        ["recipe", "docs"],
    ],
    ids=" ".join,
)
def test_listing_and_checking_import_nothing_heavy(place, arguments):
    result = tl(place, *arguments, code=SPY)
    imported = result.stderr.splitlines()[-1].split()
    assert imported[0] == "IMPORTED"
    assert [name for name in imported[1:] if not name.startswith("tl_")] == []


@pytest.mark.parametrize("arguments", [["--version"], ["run", "--help"], ["recipe", "check", "--help"]], ids=" ".join)
def test_help_of_tlcores_own_commands_imports_no_plugin_at_all(place, arguments):
    (place.parent / "site" / "sound_plugin.py").write_text("import os; os._exit(77)")
    result = tl(place, *arguments, code=SPY)
    assert result.returncode == 0
    assert result.stderr.split() == ["IMPORTED"]


def test_help_names_every_command(place):
    shown = tl(place, "--help").stdout
    for command in ("run", "predict", "recipe", "plugins", "list", "show", "runs", "compare", "reproduce", "weights"):
        assert f"\n  {command} " in shown
    assert tl(place, "--version").stdout == f"tlcore {tlcore.__version__}\n"


def test_a_valid_recipe_is_summed_up(place):
    result = tl(place, "recipe", "check", "barks.yaml", "--set", "train.epochs=3", "--set", "backbone.layers=4")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "barks.yaml is valid"
    assert "  backbone   sound/ear (layers=4)" in lines
    assert any(line.startswith("  train      3 epochs") for line in lines)


def test_all_faults_of_a_recipe_go_to_standard_error_with_exit_code_2(place):
    text = RECIPE.replace("ear", "eer") + r'train: {epoch: 3, batch_size: "\e[31m"}' + "\n"
    (place / "barks.yaml").write_text(text)
    result = tl(place, "recipe", "check", "barks.yaml")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "error: the recipe has 3 faults",
        "  barks.yaml:3:11: backbone: there is no backbone 'eer'; did you mean 'ear'?",
        "  barks.yaml:5:9: unknown key 'epoch' in train; did you mean 'epochs'?",
        "  barks.yaml:5:31: train.batch_size: expected whole number >= 1, got the text '\\x1b[31m'",
        "hint: `tl recipe docs` explains every key, `tl show backbone vgg16` those of one thing",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["recipe", "check", "bark.yaml"], "hint: did you mean barks.yaml?"),
        (["recipe", "check"], "Missing argument"),
        (["recipe", "chek", "barks.yaml"], "No such command"),
        (["--no-plugin", "sond", "list"], "hint: did you mean 'sound'?"),
        (["show", "backbone", "eer"], "hint: did you mean 'ear'?"),
        (["show", "backbon", "ear"], "hint: did you mean 'backbone'?"),
        (["list", "adaptors"], "hint: did you mean 'adapters'?"),
        (["list", "--jsn"], "No such option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_ends_with_exit_code_2_and_the_right_word(place, arguments, words):
    result = tl(place, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_list_shows_each_kind_with_short_names(place):
    result = tl(place, "list", TL_PLUGINS="sound")
    assert result.stderr == ""
    blocks = {block.splitlines()[0]: block for block in result.stdout.split("\n\n")}
    assert list(blocks) == ["tasks", "backbones", "adapters", "data"]
    assert "\n  ear " in blocks["backbones"]
    assert "\n  line " in blocks["adapters"]
    assert "\x1b" not in result.stdout
    assert "The ear" not in tl(place, "list", "adapters").stdout


def test_list_writes_a_name_in_full_where_it_is_ambiguous(place):
    install(place.parent / "site", "rival", SOUND)
    shown = tl(place, "list", "backbones").stdout
    assert "rival/ear" in shown
    assert "sound/ear" in shown


def test_list_and_show_and_plugins_as_json(place):
    listed = json.loads(tl(place, "list", "backbones", "--json").stdout)
    mine = next(one for one in listed if one["name"] == "ear")
    assert (mine["full_name"], mine["modality"], mine["distribution"], mine["version"]) == (
        "sound/ear", "sound", "sound-dist", "1.2",
    )  # fmt: skip
    shown = json.loads(tl(place, "show", "backbone", "ear", "--json").stdout)
    assert shown["options"]["properties"]["layers"] == {
        "description": "How many.", "type": "integer", "minimum": 1, "default": 2,
    }  # fmt: skip
    plugins = json.loads(tl(place, "--no-plugin", "text", "plugins", "--json").stdout)
    sound = next(one for one in plugins["plugins"] if one["name"] == "sound")
    assert sound["offers"] == {
        "tasks": ["sound-classification"], "backbones": ["ear"], "adapters": ["line"], "data": ["waves"],
        "commands": [],
    }  # fmt: skip
    assert [one["name"] for one in plugins["disabled"]] == ["text"]


def test_show_says_who_offers_it_and_lays_its_options_out(place):
    lines = tl(place, "show", "backbone", "ear").stdout.splitlines()
    assert lines[0] == "The ear \\x1b[31m."
    assert "  name   sound/ear" in lines
    assert "  from   sound-dist 1.2" in lines
    assert "  input  sound" in lines
    assert "Options, beside the name in a recipe (backbone: {name: ear, ...}):" in lines
    row = next(line for line in lines if line.startswith("  layers"))
    assert row.split() == ["layers", "whole", "number", ">=", "1", "2", "How", "many."]
    assert max(map(len, lines)) <= 100
    data = tl(place, "show", "data", "waves").stdout
    assert "  path  path  required  Folder of recordings." in data.splitlines()
    assert "max_bad" in data


def test_a_plugin_that_fails_is_mentioned_and_harms_no_other(place):
    install(place.parent / "site", "broken", "raise SystemExit(0)")
    listed = tl(place, "list")
    assert listed.returncode == 0
    assert "\n  ear " in listed.stdout
    notes = [line for line in listed.stderr.splitlines() if "broken" in line]
    assert len(notes) == 1
    assert "broken (broken-dist 1.2)" in notes[0]
    checked = tl(place, "recipe", "check", "barks.yaml")
    assert checked.returncode == 0
    assert "broken-dist" in checked.stderr
    assert tl(place, "--no-plugin", "broken", "recipe", "check", "barks.yaml").stderr == ""


def test_plugins_lists_failures_in_one_line_and_in_full(place):
    install(place.parent / "site", "broken", "import no_such_thing_here")
    short = tl(place, "plugins")
    assert short.returncode == 0
    failures = [line for line in short.stdout.splitlines() if "no_such_thing_here" in line]
    assert len(failures) == 1
    assert "broken (broken-dist 1.2) failed at import: ModuleNotFoundError" in failures[0]
    assert "Traceback" not in short.stdout
    full = tl(place, "plugins", "--errors").stdout
    assert "Traceback" in full
    assert "broken_plugin.py" in full
    rows = [line.split() for line in tl(place, "--no-plugin", "broken", "plugins").stdout.splitlines()]
    assert ["broken", "broken-dist", "1.2", "switched", "off"] in rows


def test_a_recipe_that_needs_a_broken_plugin_ends_with_exit_code_8(place):
    install(place.parent / "site", "broken", "import no_such_thing_here")
    result = tl(place, "recipe", "check", "barks.yaml", "--set", "backbone=broken/net")
    assert result.returncode == 8
    assert "--set backbone=broken/net" in result.stderr
    assert "broken-dist 1.2" in result.stderr
    assert "Traceback" not in result.stderr


def test_options_that_no_recipe_can_hold_leave_schema_and_reference_whole(place):
    code = SOUND.replace("layers: int", "layers: complex").replace("ge=1", "")
    install(place.parent / "site", "odd", code.replace('"ear"', '"odd-ear"'))
    result = tl(place, "recipe", "schema")
    assert result.returncode == 0
    assert "odd-ear" not in result.stdout
    assert '"ear"' in result.stdout
    assert "odd (odd-dist 1.2)" in result.stderr
    assert tl(place, "show", "backbone", "odd-ear").returncode == 8


def test_debug_shows_the_traceback_too(place):
    result = tl(place, "--debug", "recipe", "check", "none.yaml")
    assert result.returncode == 2
    assert "Traceback" in result.stderr
    assert "error: there is no recipe none.yaml" in result.stderr


def test_a_reader_that_stops_reading_is_no_error(place):
    code = (
        "import os, sys; from tlcore.cli import main; r, w = os.pipe(); os.dup2(w, 1); os.close(r); os.close(w); main()"
    )
    result = tl(place, "recipe", "schema", code=code)
    assert result.stderr == ""


def test_a_terminal_without_unicode_gets_escapes(place):
    (place / "\u4e16.yaml").write_text(RECIPE)
    result = tl(place, "recipe", "check", "\u4e16.yaml", PYTHONIOENCODING="latin-1")
    assert (result.returncode, result.stdout.splitlines()[0]) == (0, "\\u4e16.yaml is valid")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 5, "out of memory"),
        (OSError(28, "No space left on device", "/runs/x"), 5, "/runs/x"),
        (PermissionError(13, "Permission denied", "/runs/x"), 2, "/runs/x: Permission denied"),
        (tlcore.DataError("no \x1b[31mfile", where="a\u202eb", hint="[bold]look[/bold]"), 3,
         "error: no \\x1b[31mfile\n  a\\u202eb\nhint: [bold]look[/bold]\n"),
        (tlcore.NumericError("nan"), 6, "error: nan\n"),
        (RuntimeError("oops"), 1, "please report it"),
        (OSError(5, "Input/output error"), 5, "the disk fails"),
        (OSError(22, "Invalid argument"), 1, "please report it"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_whatever_a_command_raises_has_its_exit_code(error, code, words, capsys, monkeypatch):
    def read_recipe(*_):
        raise error

    monkeypatch.setattr("tlcore.recipe.read_recipe", read_recipe)
    monkeypatch.setattr(sys, "argv", ["tl", "recipe", "check", "x.yaml"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == code
    assert words in told.err
    assert told.out == ""
    assert ("Traceback" in told.err) == (code == 1)


def test_columns_fit_and_wrap():
    rows = [("a", "word " * 40), ("long-name", "short"), ("x\ny\x1b", "z")]
    lines = columns(rows, ("key", "meaning")).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == "key        meaning"
    assert lines[2].startswith(" " * 11 + "word")
    assert lines[-1] == "x y\\x1b    z"


def test_columns_that_leave_no_room_put_the_last_one_below():
    lines = columns([("k" * 80, "word " * 30)], ("key", "meaning")).splitlines()
    assert lines[:2] == ["key", "k" * 80]
    assert all(line.startswith("    word") and len(line) <= 100 for line in lines[2:])


def test_harmless_keeps_letters_of_all_languages():
    assert harmless("Grüße\u00a0世界 🚗\n") == "Grüße\u00a0世界 🚗\n"
    assert harmless("\x1b]0;x\x07\r\t\u202e") == "\\x1b]0;x\\x07\\r\\t\\u202e"


def test_registry_of_works_without_global_options():
    from tlcore.cli import registry_of

    app = typer.Typer()

    @app.command()
    def count(ctx: typer.Context) -> None:
        typer.echo(len(registry_of(ctx).offers("adapter")))

    from typer.testing import CliRunner

    result = CliRunner().invoke(app)
    assert result.exit_code == 0
    assert int(result.stdout) >= 2
