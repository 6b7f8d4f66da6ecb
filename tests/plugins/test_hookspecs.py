"""The author's guide tells what is there, all of it and nothing else, and its code runs."""

import dataclasses
import doctest
import inspect
import re
import subprocess
import sys
import tomllib

import pytest

import tlcore
from tests.support import ROOT
from tlcore import contracts, errors, hookspecs, specs, support, testing
from tlcore.plugins.host import HOOK_NAMES

GUIDE = (ROOT / "plugins" / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n# (\S+)\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def section(heading: str) -> str:
    """Return what stands under a heading, up to the next one."""
    [text] = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    return text


def listed(heading: str) -> list[str]:
    """Return the code at the beginning of each item under a heading."""
    return re.findall(r"^- `([^`]+)`", section(heading), re.MULTILINE)


def without_annotations(function) -> str:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    shown = [one.name if one.default is one.empty else f"{one.name}={one.default}" for one in parameters]
    return f"{function.__name__}({', '.join(shown)})"


def members(protocol: type) -> set[str]:
    """Return the attributes of a contract, and its methods with their parameters."""
    methods = [value for name, value in vars(protocol).items() if inspect.isfunction(value) and name[0] != "_"]
    return {*protocol.__annotations__, *map(without_annotations, methods)}


def test_the_examples_of_the_hooks_run():
    results = doctest.testmod(hookspecs)
    assert results.failed == 0
    assert results.attempted >= 3 * len(HOOK_NAMES)


@pytest.mark.parametrize("hook", HOOK_NAMES)
def test_every_hook_is_shown_by_example(hook):
    assert f"def {hook}(" in getattr(hookspecs, hook).__doc__.replace("... ", "")


def test_the_guide_lists_each_hook_with_its_signature():
    table = re.findall(r"^\| `(tl_\w+\(.*?)` \|", section("The hooks"), re.MULTILINE)
    real = [f"{hook}{inspect.signature(getattr(hookspecs, hook))}".replace("'", "") for hook in HOOK_NAMES]
    assert sorted(table) == sorted(real)


@pytest.mark.parametrize("protocol", ["DataSource", "Task", "Backbone", "Adapter"])
def test_the_guide_lists_each_member_of_a_contract(protocol):
    assert sorted(listed(protocol)) == sorted(members(getattr(contracts, protocol)))


@pytest.mark.parametrize("spec", ["Spec", "TaskSpec", "BackboneSpec", "AdapterSpec", "DataSourceSpec"])
def test_the_guide_lists_each_field_of_a_spec(spec):
    own = set(vars(getattr(specs, spec))["__annotations__"]) - {"kind"}
    assert sorted(listed(spec)) == sorted(own)
    assert own <= {field.name for field in dataclasses.fields(getattr(specs, spec))}


def test_the_guide_lists_each_check_with_its_parameters():
    shown = dict(re.findall(r"^\| `(check_\w+)\((.*?)\)` \|", section("Testing"), re.MULTILINE))
    assert set(shown) == {name for name in testing.__all__ if name.startswith("check_")}
    for name, parameters in shown.items():
        real = inspect.signature(getattr(testing, name)).parameters
        assert [one.strip().partition("=")[0] for one in parameters.split(",")] == list(real)


def test_the_guide_lists_each_error_with_its_exit_code():
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\S+) \|$", section("Errors"), re.MULTILINE)
    codes = {name: str(getattr(getattr(errors, name), "exit_code", "-")) for name, _ in rows}
    assert dict(rows) == codes
    assert set(codes) <= set(tlcore.__all__)
    for name in tlcore.__all__:
        if name.endswith("Error") and name not in ("TLError", "PluginError", "RecipeError"):
            assert name in codes, f"{name} may be raised by plugins, and the guide is silent"


def test_every_public_name_in_the_guide_exists():
    names = set(re.findall(r"\btlcore\.([A-Za-z]\w*)(?!\w*\.)", GUIDE)) - {"testing", "support", "plugins", "cli"}
    assert names
    assert names <= set(tlcore.__all__)
    assert set(re.findall(r"tlcore\.testing\.(\w+)", GUIDE)) <= set(testing.__all__)
    assert set(re.findall(r"tlcore\.support\.(\w+)", GUIDE)) <= set(support.__all__)
    assert set(re.findall(r"`(tl_\w+)", re.sub(r"^```.*?^```", "", GUIDE, flags=re.M | re.S))) == set(HOOK_NAMES)


def test_the_guide_names_every_setting_of_the_environment():
    source = (ROOT / "tlcore" / "plugins" / "host.py").read_text("utf-8")
    assert set(re.findall(r"TL_[A-Z_]+", GUIDE)) == set(re.findall(r"TL_[A-Z_]+", source))


def test_every_link_inside_the_guide_leads_somewhere():
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.+)$", GUIDE, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", GUIDE)) == headings


def test_the_guide_names_what_is_tlcores_own_among_the_options():
    from tlcore.recipe.choices import keys_beside

    for key in keys_beside("data"):
        assert f"`{key.name}`" in section("Options"), f"data.{key.name} is tlcore's own"


def test_the_plugin_of_the_guide_works(tmp_path):
    for _, name, text in BLOCKS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    [module] = project["entry-points"]["tlcore"].values()
    assert (tmp_path / module / "__init__.py").is_file()
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", ".", "-q", "test_series.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 passed" in result.stdout
