"""`tl cache`: what is stored, why a run would compute, what is damaged, what may go."""

import json
import subprocess
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

import tlcore
from tlcore.cli import app

RECIPE = {
    "task": "image-classification",
    "data": {"source": "folder", "path": "photos"},
    "backbone": {"name": "resnet18", "weights": "random", "size": 32},
    "adapter": "feature-extraction",
    "train": {"epochs": 1, "precision": "fp32"},
    "evaluate": {"resamples": 0, "probe": False, "report": "none"},
}


def tl(*arguments):
    return CliRunner().invoke(app, ["cache", *arguments])


def run(out, recipe="recipe.yaml"):
    return tlcore.run(recipe, out=out, warn=lambda text: None).features


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return a folder with 24 pictures of two classes and a recipe for them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TL_CACHE", str(tmp_path / "cache"))
    for n in range(24):
        path = tmp_path / "photos" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (36, 36), (200 if n % 2 else 40, 10 * n, 90)).save(path)
    (tmp_path / "recipe.yaml").write_text(json.dumps(RECIPE))
    return tmp_path


def test_moved_renamed_and_touched_files_are_hits_and_one_pixel_is_one_miss(place):
    assert run("first")["computed"] == 24
    (place / "photos").rename(place / "pictures")
    for path in sorted((place / "pictures").rglob("*.png")):
        path.touch()
        path.rename(path.with_name(f"renamed {path.name}"))
    (place / "recipe.yaml").write_text(json.dumps({**RECIPE, "data": {"source": "folder", "path": "pictures"}}))
    assert run("moved").items() >= {"computed": 0, "reused": 24}.items()
    path = place / "pictures" / "a" / "renamed 4.png"
    with Image.open(path) as picture:
        picture.putpixel((3, 3), (1, 2, 3))
        picture.save(path)
    assert run("changed").items() >= {"computed": 1, "reused": 23}.items()


def test_the_list_says_what_is_stored(place):
    assert tl("ls").output.startswith("0 B of at most 50 GB")
    run("first")
    found = json.loads(tl("ls", "--json").stdout)
    (entry,) = found["entries"]
    assert (entry["states"], entry["about"]["backbone"], entry["about"]["precision"]) == (24, "vision/resnet18", "fp32")
    assert "vision/resnet18  pooled features  fp32       24" in tl("ls").output


def test_why_names_what_differs(place):
    run("first")
    assert "0 states to compute, 24 are stored" in tl("why", "recipe.yaml").output
    (found,) = json.loads(tl("why", "recipe.yaml", "--set", "train.precision=bf16", "--json").stdout)
    assert (found["compute"], found["reuse"]) == (24, 0)
    assert found["differs"] == {"precision": {"stored": "fp32", "wanted": "bf16"}}
    (found,) = json.loads(tl("why", "recipe.yaml", "--set", "backbone.size=64", "--json").stdout)
    assert "preparation.size" in found["differs"]
    assert found["compute"] == 24


@pytest.mark.slow
def test_damage_is_found_taken_away_and_computed_again(place):
    run("first")
    assert tl("verify").output == "1 files are sound\n"
    (shard,) = (place / "cache").rglob("*.safetensors")
    raw = bytearray(shard.read_bytes())
    raw[-7] ^= 4
    shard.write_bytes(raw)
    found = subprocess.run(
        [sys.executable, "-m", "tlcore.cli", "cache", "verify"], capture_output=True, text=True, check=False
    )
    assert found.returncode == 4
    assert "1 of 1 files were damaged and taken away" in found.stderr
    assert run("again")["computed"] == 24


def test_pruning_frees_space_and_costs_only_time(place):
    run("first")
    assert tl("prune").output == "0 files removed, 0 B freed\n"
    assert tl("prune", "--older-than", "1").output == "0 files removed, 0 B freed\n"
    assert tl("prune", "--to", "1 KB").output.startswith("1 files removed")
    assert run("again")["computed"] == 24
    assert tl("prune", "--all").output.startswith("1 files removed")


@pytest.mark.parametrize("size", ["much", "-3 GB", "5 XB"])
def test_a_size_that_is_none_is_refused(place, size):
    assert tl("prune", f"--to={size}").exit_code == 2


def test_the_limit_evicts_what_was_used_longest_ago(place, monkeypatch):
    monkeypatch.setenv("TL_CACHE_LIMIT", "60 KB")  # 24 states of 512 numbers are 49 KB
    run("first")
    (place / "other.yaml").write_text(json.dumps({**RECIPE, "backbone": {**RECIPE["backbone"], "size": 40}}))
    run("other", "other.yaml")
    (entry,) = json.loads(tl("ls", "--json").stdout)["entries"]
    assert entry["about"]["preparation"]["size"] == 40
