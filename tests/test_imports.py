"""Which module may import which, and what the source must not contain."""

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import tlcore
from tests.support import ROOT

CORE = sorted((ROOT / "tlcore").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))
OUTSIDE = sorted((ROOT / "tests" / "support" / "outside").rglob("*.py"))
BUILT_IN = sorted(path.parent.name for path in ROOT.glob("plugins/*/__init__.py"))

ORDER = (
    "redaction",
    "errors",
    "minimum_versions",
    "notes",
    "mappings",
    "randomness",
    "contracts",
    "specs",
    "hookspecs",
    "files",
    "plugins",
    "recipe",
    "weights",
    "tasks",
    "data",
    "distributed",
    "features",
    "training",
    "model",
    "evaluation",
    "runs",
    "testing",
    "support",
    "cli",
)
"""The top-level modules and packages of tlcore: each may import only what is listed before it."""

MODALITIES = ("torchvision", "transformers", "tokenizers", "PIL", "cv2", "datasets", "torchaudio")
HEAVY = (*MODALITIES, "torch", "numpy", "pandas", "pyarrow", "scipy", "sklearn", "accelerate", "safetensors")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (module, name) for each import; the name is empty for a whole module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import hides what is imported"
            yield from ((node.module or "", alias.name) for alias in node.names)


def without_annotations(tree: ast.Module) -> ast.Module:
    """Return the module without what is imported for annotations only."""
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    ]
    return tree


def root(module: str) -> str:
    return module.partition(".")[0]


def package(path: Path) -> str:
    """Return the package, or the top-level module, of tlcore that a file belongs to."""
    return path.relative_to(ROOT / "tlcore").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", CORE, ids=named)
def test_tlcore_knows_no_modality_and_no_plugin(path):
    wrong = [module for module, _ in imports(parsed(path)) if root(module) in MODALITIES or module.startswith("tl_")]
    assert wrong == []


@pytest.mark.parametrize("path", [path for path in CORE if package(path) != "__init__"], ids=named)
def test_imports_inside_tlcore_go_one_way(path):
    assert package(path) in ORDER, "a new package: add it to ORDER"
    before = ORDER[: ORDER.index(package(path)) + 1]
    for module, name in imports(parsed(path)):
        parts = [*module.split("."), name]
        if parts[0] == "tlcore" and parts[1] and not parts[1].startswith("__"):
            assert parts[1] in before, f"{package(path)} imports {module}, which is listed after it"


@pytest.mark.parametrize("path", [*PLUGINS, *OUTSIDE], ids=named)
def test_a_plugin_imports_public_names_and_no_other_plugin(path):
    own = path.relative_to(ROOT / "plugins").parts[0] if path in PLUGINS else "outside_vectors"
    tree = parsed(path)
    for module, name in imports(tree):
        assert not (root(module).startswith("tl_") and root(module) != own), f"it imports {module}"
        if root(module) == "tlcore" and own != "tl_tools":  # whose commands read runs, caches and weights
            assert module in ("tlcore", "tlcore.support", "tlcore.testing"), f"{module} is not the API for plugins"
        if root(module) == "tlcore" and (module != "tlcore" or name):
            assert name, f"import {module}: take its public names instead"
            assert name in importlib.import_module(module).__all__, f"{module}.{name} is not public"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tlcore":
            assert node.attr in tlcore.__all__, f"tlcore.{node.attr} is not public"


LIGHT = [
    "tlcore",
    *(f"tlcore.{name}" for name in ("errors", "contracts", "specs", "hookspecs", "plugins.host", "plugins.registry")),
]


@pytest.mark.parametrize("module", [*LIGHT, "tlcore.recipe", "tlcore.support", "tlcore.testing", *BUILT_IN])
def test_light_modules_import_nothing_heavy(module):
    code = (
        "import importlib, json, sys; before = set(sys.modules); importlib.import_module(sys.argv[1]);"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    result = subprocess.run([sys.executable, "-c", code, module], capture_output=True, text=True, check=True)
    assert sorted({root(name) for name in json.loads(result.stdout)} & set(HEAVY)) == []


def calls(paths: list[Path], matches) -> list[str]:
    return [
        f"{named(path)}:{node.lineno}"
        for path in paths
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and matches(node.func)
    ]


def test_there_is_one_accelerator_and_one_optimizer_step():
    def is_accelerator(function: ast.expr) -> bool:
        return ast.unparse(function).rpartition(".")[2] == "Accelerator"

    def is_step(function: ast.expr) -> bool:
        return ast.unparse(function).endswith("optimizer.step")

    assert [place.partition(":")[0] for place in calls([*CORE, *PLUGINS], is_accelerator)] == [
        "tlcore/training/device.py"
    ]
    assert [place.partition(":")[0] for place in calls([*CORE, *PLUGINS], is_step)] == ["tlcore/training/step.py"]


@pytest.mark.parametrize("path", [*CORE, *PLUGINS, *OUTSIDE], ids=named)
def test_only_three_packages_use_accelerate(path):
    if path in CORE and package(path) in ("distributed", "features", "training"):
        return
    assert [module for module, _ in imports(without_annotations(parsed(path))) if root(module) == "accelerate"] == []


def forbidden(tree: ast.Module) -> Iterator[str]:
    """Yield what could run code out of a file, fetch weights unseen, or start a shell."""
    from_torchvision = set()
    for module, name in imports(tree):
        if root(module) in ("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"):
            yield f"import {module}"
        if name in ("load_state_dict_from_url", "get_model_weights") or module.startswith("torch.hub"):
            yield f"from {module} import {name}"
        if (module, name) == ("jinja2", "Template"):  # it escapes nothing
            yield "from jinja2 import Template"
        if root(module) == "torchvision":
            from_torchvision.add(name or root(module))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = ast.unparse(node.func)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if function in ("eval", "exec", "compile", "__import__", "os.system", "os.popen"):
                yield function
            if function in ("torch.load", "load") and given.get("weights_only") != "True" and "torch" in function:
                yield "torch.load without weights_only=True"
            if function in ("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load"):
                yield function
            if function.endswith((".load_state_dict_from_url", "hub.load", ".from_pretrained", "jinja2.Template")):
                yield function
            if function.endswith((".load_state", ".register_for_checkpointing")):  # of Accelerate: they unpickle
                yield function
            if function.endswith((".extractall", "unpack_archive")) and given.get("filter") != "'data'":
                yield f"{function} without filter='data'"
            if function.endswith("Environment") and given.get("autoescape") != "True":
                yield f"{function} without autoescape=True"
            for keyword, harmless in (("trust_remote_code", "False"), ("allow_pickle", "False")):
                if given.get(keyword, harmless) != harmless:
                    yield f"{function}({keyword}={given[keyword]})"
            in_a_shell = given.get("shell", "False")
            if in_a_shell == "True" or (root(function) == "subprocess" and in_a_shell != "False"):
                yield f"{function}(shell=...)"
            if root(function) in from_torchvision:
                for keyword in ("weights", "weights_backbone", "pretrained"):
                    if given.get(keyword, "None") not in ("None", "False"):
                        yield f"{function}({keyword}=...)"


FORBIDDEN = """
import pickle
from joblib import load
import torch; torch.load(path)
import torch; torch.load(path, weights_only=safe)
yaml.load(text, Loader=yaml.Loader)
eval("1 + 1")
exec(text)
os.system("ls")
AutoModel.from_config(config, trust_remote_code=True)
BertModel.from_pretrained("bert-base-uncased")
from torch.hub import load_state_dict_from_url
torch.hub.load("a/b", "c")
torch.hub.load_state_dict_from_url(url)
from torchvision.models import vgg16; vgg16(weights="DEFAULT")
from torchvision import models; models.vgg16(weights=models.VGG16_Weights.DEFAULT)
import torchvision; torchvision.models.vgg16(pretrained=True)
numpy.load(path, allow_pickle=True)
subprocess.run("ls", shell=True)
Popen("ls", shell=True)
subprocess.check_output(command, shell=wanted)
accelerator.load_state(folder)
accelerator.register_for_checkpointing(state)
import jinja2; jinja2.Template(text)
from jinja2 import Template
jinja2.Environment()
archive.extractall(folder)
archive.extractall(folder, filter="fully_trusted")
shutil.unpack_archive(path, folder)
torch.load(path, weights_only=bool(1))
np.load(path, allow_pickle=given)
"""
HARMLESS = """
import torch; torch.load(path, map_location="cpu", weights_only=True)
yaml.safe_load(text)
model.eval()
re.compile("a")
from torchvision.models import vgg16; vgg16(weights=None)
VGGOptions(weights="random")
json.loads(text)
subprocess.run(["ls"], shell=False)
Car(shell=Shell(outline))
module.load_state_dict(tensors)
archive.extractall(folder, filter="data")
Environment(autoescape=True)
numpy.load(path)
"""


@pytest.mark.parametrize("line", FORBIDDEN.strip().splitlines())
def test_the_search_finds_what_is_forbidden(line):
    assert list(forbidden(ast.parse(line)))


@pytest.mark.parametrize("line", HARMLESS.strip().splitlines())
def test_the_search_passes_what_is_harmless(line):
    assert list(forbidden(ast.parse(line))) == []


@pytest.mark.parametrize("path", [*CORE, *PLUGINS, *BENCHMARKS], ids=named)
def test_nothing_forbidden_is_in_the_source(path):
    found = list(forbidden(parsed(path)))
    if path in BENCHMARKS:  # what tlcore is measured against loads its checkpoints as its users do
        found = [call for call in found if not call.endswith(".from_pretrained")]
    assert found == []


def test_there_are_at_most_18_hard_dependencies_each_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = [re.split(r"[<>=\[]", line)[0].lower() for line in project["dependencies"]]
    assert len(names) <= 18
    imported = {root(module) for path in [*CORE, *PLUGINS] for module, _ in imports(parsed(path))}
    modules = {"pillow": "PIL", "pyyaml": "yaml"}
    assert [name for name in names if modules.get(name, name) not in imported] == []


def test_every_built_in_plugin_is_an_entry_point():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert sorted(project["entry-points"]["tlcore"].values()) == BUILT_IN
    assert not (ROOT / "plugins" / "__init__.py").exists()


def test_the_public_names_have_homes_where_they_are_public_too():
    tree = parsed(ROOT / "tlcore" / "__init__.py")
    [checked] = [node for node in tree.body if isinstance(node, ast.If)]
    for_types = {(module, name) for module, name in imports(checked)}
    homes = {(module, name) for module, names in tlcore._HOMES.items() for name in names}
    assert for_types == homes
    assert tlcore.__all__ == sorted(name for _, name in homes)
    for module, name in homes:
        assert name in importlib.import_module(module).__all__, f"{name} is not public in {module}"
        assert getattr(tlcore, name) is getattr(importlib.import_module(module), name)


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tlcore.nothing  # noqa: B018
    assert set(tlcore.__all__) <= set(dir(tlcore))


def test_few_modules_lie_beside_the_packages():
    assert len(list((ROOT / "tlcore").glob("*.py"))) <= 12
    assert {package(path) for path in CORE} - {"__init__"} == set(ORDER)


def test_the_checks_have_files_to_check():
    assert len(CORE) > 20
    assert len(PLUGINS) > 10
    assert OUTSIDE
    assert BENCHMARKS
