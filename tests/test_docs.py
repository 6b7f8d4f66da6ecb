"""Every command of the documentation is run, on small data of the shape that the page speaks of."""

import csv
import json
import random
import re
import shlex
import shutil
import sys
import urllib.error

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.support import ROOT
from tlcore.cli import main

PAGES = sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "recipe.md")
BLOCK = re.compile(r"(?:<!-- ends with exit code (\d+)[^>]*-->\n)?```sh\n(.*?)```", re.DOTALL)
WORDS = ["gut", "schlecht", "Lieferung", "Preis", "schnell", "teuer", "gerne", "wieder", "nie", "Qualität"]


def commands(page):
    """Yield each command line of a page with the exit code that the page promises."""
    for code, block in BLOCK.findall(page.read_text("utf-8")):
        for line in block.splitlines():
            if line.strip() and not line.startswith("#"):
                yield line.partition("  #")[0].strip(), int(code or 0)


EVERY = [(page.stem, list(commands(page))) for page in PAGES]


def picture(path, warm, n):
    path.parent.mkdir(parents=True, exist_ok=True)
    base = (210, 90, 20 + n) if warm else (20, 90 + n, 210)
    Image.new("RGB", (64, 64), base).save(path)


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def prepare(folder):
    """Lay out what the pages take for granted: photos, tables, a checkpoint, a data set."""
    drawn = random.Random(0)
    kinds = ("cat", "dog")
    photos = [["image", "kind", "age", "tags"]]
    for n in range(20):
        picture(folder / "photos" / kinds[n % 2] / f"{n}.png", n % 2, n)
        photos.append([f"photos/{kinds[n % 2]}/{n}.png", kinds[n % 2], str(n / 2), "indoor|small" if n % 3 else "big"])
    write(folder / "photos.csv", photos)
    for n in range(4):
        picture(folder / "more-photos" / kinds[n % 2] / f"{n}.png", n % 2, 9 * n)
        picture(folder / "new" / f"{n}.jpg", n % 2, n)
    for name, count in (("reviews.csv", 80), ("newer-reviews.csv", 12)):
        rows = [["text", "label", "review", "stars", "customer", "lang", "score", "topics"]]
        for n in range(count):
            text = " ".join(drawn.choice(WORDS) for _ in range(6)) + f" {name} {n}"
            good = "gut" in text
            rows.append([text, "pos" if good else "neg", text, str(1 + n % 5), str(n // 2), "de" if n % 4 else "en",
                         str(n * 0.25), "price|speed" if good else "price"])  # fmt: skip
        write(folder / name, rows)
    write(folder / "new.csv", [["text"], ["gut und schnell"], ["nie wieder"]])
    from datasets import Dataset

    Dataset.from_dict({"text": [f"{WORDS[n % 10]} {n}" for n in range(40)], "sentiment": ["a", "b"] * 20}).save_to_disk(
        folder / "saved-dataset"
    )
    from torchvision.models import resnet18

    torch.manual_seed(0)
    save_file(resnet18().state_dict(), folder / "mine.safetensors")
    torch.save(resnet18().state_dict(), folder / "resnet18.pth")
    from tl_text.checkpoint import write_tiny
    from tlcore.files.digests import file_digest

    write_tiny(folder / "my-bert")
    digest = file_digest(folder / "resnet18.pth")
    (folder / "resnet18.pth").rename(folder / f"resnet18-{digest[:8]}.pth")
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    return digest


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with all of that, and a way to run a line in it."""
    folder = tmp_path_factory.mktemp("docs")
    digest = prepare(folder)
    patch = pytest.MonkeyPatch()
    for name, value in (("TL_CACHE", "cache"), ("TORCH_HOME", "torch")):
        patch.setenv(name, str(folder / value))
    patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))
    patch.setattr("urllib.request.urlopen", unreachable)
    patch.setenv("TL_PLUGINS", "")
    patch.chdir(folder)

    def run(line, code=0):
        words = shlex.split(line.replace("resnet18-f37072fd.pth", f"resnet18-{digest[:8]}.pth"))
        patch.setattr(sys, "argv", [word for word in words if not word.startswith("CUDA_VISIBLE_DEVICES=")])
        with pytest.raises(SystemExit) as ended:
            main()
        assert (ended.value.code or 0) == code, line

    run("tl recipe init --data photos --out made-photos.yaml")
    run("tl recipe init --data reviews.csv --out made-reviews.yaml")
    shrink(folder)
    run("tl weights pull made-photos.yaml --lock photos.lock.json")
    yield folder, run
    patch.undo()


def unreachable(*given, **options):
    raise urllib.error.URLError("no network in tests")


def shrink(folder):
    """Put tiny networks into the recipes that were made, so that the commands themselves can stay as they are."""
    for name, usual, tiny in (
        (
            "photos",
            "backbone: vgg16",
            "backbone: {name: resnet18, weights: mine.safetensors, output: layer1, size: 32}",
        ),
        ("reviews", "backbone: minilm", "backbone: {name: bert, weights: my-bert}"),
    ):
        text = (folder / f"made-{name}.yaml").read_text("utf-8")
        assert usual in text
        lines = [tiny if line.startswith(usual) else line for line in text.splitlines()]
        (folder / f"made-{name}.yaml").write_text("\n".join(lines), "utf-8")


def test_every_page_is_listed_and_has_commands_that_are_known():
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    for name, lines in EVERY:
        assert name == "README" or f"({name}.md)" in index
        assert all(re.match(r"(CUDA_VISIBLE_DEVICES=\d )?tl [a-z]", line) for line, _ in lines), name
    assert sum(len(lines) for _, lines in EVERY) > 25


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="the page about GPUs says what happens without one")
@pytest.mark.parametrize(("page", "lines"), EVERY, ids=[name for name, _ in EVERY])
def test_every_command_of_a_page_works(place, page, lines):
    folder, run = place
    shutil.rmtree(folder / "runs", ignore_errors=True)
    for name in ("photos.yaml", "reviews.yaml", "recipes/resnet.lock.json"):
        (folder / name).unlink(missing_ok=True)
    for name in ("photos.yaml", "reviews.yaml"):
        if not any(f"--out {name}" in line for line, _ in lines):
            shutil.copy(folder / f"made-{name}", folder / name)
    if page == "better":
        run("tl run reviews.yaml --out runs/reviews/first --set train.epochs=1")
    for line, code in lines:
        run(line, code)
        for name in ("photos.yaml", "reviews.yaml"):
            if f"--out {name}" in line:
                shutil.copy(folder / f"made-{name}", folder / name)


def test_what_the_pages_say_of_a_recipe_is_said_of_one_that_exists():
    named = {name for page in PAGES for name in re.findall(r"\b[\w-]+\.yaml\b", page.read_text("utf-8"))}
    shipped = {path.name for path in (ROOT / "recipes").glob("*.yaml")}
    assert named - {"photos.yaml", "reviews.yaml"} <= shipped


def test_keys_in_the_pages_are_keys_of_the_recipe():
    from tlcore.plugins.host import PluginHost
    from tlcore.plugins.registry import Registry
    from tlcore.recipe import recipe_schema

    known = json.dumps(recipe_schema(Registry(PluginHost(environ={"TL_PLUGINS": ""}))))
    for page in PAGES:
        for word in re.findall(r"--set '?([\w.]+)=", page.read_text("utf-8")):
            assert f'"{word.rpartition(".")[2]}"' in known, f"{page.name}: {word}"
