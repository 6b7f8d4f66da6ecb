"""Processes that prepare ahead change nothing but the time; what goes wrong in them is told as without them."""

import json
import multiprocessing
import os
import resource
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import tlcore
from tl_vision.network import PictureNetwork
from tlcore.errors import DataError, ResourceError
from tlcore.features.keys import CachedViews, FeatureRequest
from tlcore.features.preparation import prepare_rows
from tlcore.features.readers import InputReader
from tlcore.features.workers import Prefetcher, explain_worker_exit, preparing_threads, worker_count
from tlcore.plugins.host import PluginHost
from tlcore.plugins.registry import Registry
from tlcore.recipe import read_recipe

REGISTRY = Registry(PluginHost(environ={"TL_PLUGINS": ""}))

RECIPE = """
task: image-classification
data: {source: folder, path: PHOTOS}
backbone: {name: resnet18, weights: random, size: 32, augment: {crop: 0.3, flip: horizontal, colour: 0.4, erasing: 0.5}}
adapter: {name: fine-tuning, layers: all}
train: {epochs: 2, batch_size: 4, precision: fp32, device: cpu}
evaluate: {report: none, resamples: 0}
seed: 5
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    drawn = numpy.random.default_rng(0)
    for n in range(36):
        pixels = drawn.integers(0, 256, (48, 40 + n % 5, 3), dtype=numpy.uint8)
        pixels[..., n % 2] //= 2
        path = folder / ("odd" if n % 2 else "even") / f"{n}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)
    return folder


@pytest.fixture
def recipe(photos, tmp_path):
    path = tmp_path / "photos.yaml"
    path.write_text(RECIPE.replace("PHOTOS", str(photos)))
    return path


def run(recipe, tmp_path, workers):
    overrides = [f"train.workers={workers}"]
    return tlcore.run(recipe, registry=REGISTRY, overrides=overrides, out=tmp_path / f"run-{workers}").folder


def history(folder):
    records = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [{name: value for name, value in record.items() if name != "seconds"} for record in records]


@pytest.mark.slow
def test_a_run_with_workers_gives_the_history_and_weights_of_one_without(recipe, tmp_path):
    others = multiprocessing.active_children()
    alone, helped = (run(recipe, tmp_path, workers) for workers in (0, 2))
    assert history(helped) == history(alone)
    weights = [load_file(folder / "model" / "model.safetensors") for folder in (alone, helped)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert set(multiprocessing.active_children()) <= set(others)


@pytest.mark.slow
def test_a_run_tells_how_long_it_waited(recipe, tmp_path):
    told = json.loads((run(recipe, tmp_path, 0) / "manifest.json").read_text())["throughput"]
    assert told["first_pass"]["examples_per_second"] > 0
    assert told["first_pass"]["waiting_share"] > 0.5  # with nothing below the line nothing is computed
    assert 0 < told["training"]["waiting_share"] < 1


def backbone_of(recipe):
    found = read_recipe(recipe, REGISTRY)
    return found.backbone.spec.build(found.backbone.options, None)


@pytest.fixture
def fresh(photos, recipe):
    backbone = backbone_of(recipe)
    examples = {path.name: tlcore.Example(path.name, path) for path in sorted(photos.rglob("*.jpg"))}
    made = []

    def reader(workers):
        made.append(InputReader(backbone, examples, CachedViews(5, 4, frozenset(examples)), workers))
        return made[-1]

    yield SimpleNamespace(reader=reader, examples=examples, ids=sorted(examples), backbone=backbone)
    for one in made:
        one.close()


def read(reader, batches, epoch):
    with reader.prefetch(batches, epoch):
        return [reader.batch(ids, epoch)["hidden"].clone() for ids in batches]


def test_fresh_batches_are_the_same_bits_for_any_number_of_workers(fresh):
    batches = [fresh.ids[start : start + 5] for start in range(0, 36, 5)]
    alone, one, two = (fresh.reader(workers) for workers in (0, 1, 2))
    state = torch.get_rng_state()
    for epoch in (0, 1, None):
        expected = torch.cat(read(alone, batches, epoch))
        assert torch.equal(torch.cat(read(one, batches, epoch)), expected)
        assert torch.equal(torch.cat(read(two, batches, epoch)), expected)
    assert torch.equal(torch.get_rng_state(), state)  # dropout draws from it
    assert not torch.equal(torch.cat(read(alone, batches, 0)), torch.cat(read(alone, batches, 1)))


def test_announced_batches_come_from_the_workers(fresh, monkeypatch):
    reader = fresh.reader(1)
    batches = [fresh.ids[:4], fresh.ids[4:8]]
    expected = torch.cat(read(fresh.reader(0), batches, 0))
    here = os.getpid()
    original = PictureNetwork.prepare

    def elsewhere(self, examples, view=None):
        assert os.getpid() != here
        return original(self, examples, view)

    monkeypatch.setattr(PictureNetwork, "prepare", elsewhere)
    assert torch.equal(torch.cat(read(reader, batches, 0)), expected)


def test_another_batch_than_the_announced_one_is_still_the_right_one(fresh):
    reader, alone = fresh.reader(2), fresh.reader(0)
    with reader.prefetch([fresh.ids[:8], fresh.ids[8:16]], 0):
        for ids in (fresh.ids[:4], fresh.ids[4:8], fresh.ids[8:16]):  # memory ended, and the step was taken in parts
            assert torch.equal(reader.batch(ids, 0)["hidden"], alone.batch(ids, 0)["hidden"])
    assert torch.equal(torch.cat(read(reader, [fresh.ids[:4]], 1)), alone.batch(fresh.ids[:4], 1)["hidden"])


def test_what_cannot_be_read_now_is_told_in_the_same_words(fresh, tmp_path):
    said = []
    for workers in (0, 2):
        reader = fresh.reader(workers)
        fresh.examples[fresh.ids[1]] = tlcore.Example(fresh.ids[1], tmp_path / "gone.jpg")
        with pytest.raises(DataError, match="cannot be read now: no such file") as caught:
            read(reader, [fresh.ids[:2]], 0)
        said.append((caught.value.what, caught.value.where, caught.value.hint))
    assert said[0] == said[1]


def test_a_killed_worker_ends_the_run_with_its_likely_cause(recipe, tmp_path, monkeypatch):
    original = PictureNetwork.prepare

    def killed(self, examples, view=None):
        if multiprocessing.parent_process() is not None and view is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, examples, view)

    monkeypatch.setattr(PictureNetwork, "prepare", killed)
    with pytest.raises(ResourceError, match=r"was killed \(signal 9\): likely out of memory") as caught:
        run(recipe, tmp_path, 2)
    assert caught.value.exit_code == 5
    assert "train.workers=0" in caught.value.hint


def test_a_batch_that_shared_memory_cannot_take_is_told_instead_of_waited_for(monkeypatch):
    monkeypatch.setattr("tlcore.features.workers.STUCK", 30)  # so long torch waits where it fails in silence

    def large(request):
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        return {"hidden": torch.zeros(2**20)}

    prefetcher = Prefetcher(large, 1)
    prefetcher.announce([(("a",), None)])
    with pytest.raises(ResourceError, match="a prepared batch of 4 MB cannot be handed over") as caught:
        prefetcher.take((("a",), None))
    prefetcher.close()
    assert "train.workers=0" in caught.value.hint


def test_a_bug_in_a_worker_stays_a_bug():
    def broken(request):
        raise ZeroDivisionError("of ours")

    prefetcher = Prefetcher(broken, 1)
    prefetcher.announce([(("a",), None)])
    with pytest.raises(ZeroDivisionError, match="of ours"), explain_worker_exit():
        prefetcher.take((("a",), None))
    prefetcher.close()


@pytest.mark.parametrize(
    ("device", "cores", "processes", "workers", "threads"),
    [("cpu", 16, 1, 0, 1), ("cuda", 16, 1, 8, 8), ("cuda", 4, 1, 3, 3), ("cuda", 16, 4, 3, 3), ("cuda", 1, 1, 0, 1)],
)
def test_a_gpu_gets_the_spare_cores_and_a_processor_none(monkeypatch, device, cores, processes, workers, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    accelerator = SimpleNamespace(device=torch.device(device), num_processes=processes)
    assert worker_count("auto", accelerator) == workers
    assert worker_count(2, accelerator) == 2
    assert preparing_threads(accelerator) == threads


@pytest.mark.slow
def test_several_threads_prepare_the_same_rows_in_the_same_order(fresh, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    examples = [*fresh.examples.values(), tlcore.Example("bad.jpg", Path(bad))] * 4
    views = (None, tlcore.View(1, 0), tlcore.View(1, 1))
    requests = [FeatureRequest(b"", one.id, one, view) for view in views for one in examples]

    def rows(threads):
        refused = []
        rows = prepare_rows(
            fresh.backbone, requests, lambda request, reason: refused.append(request.name), threads=threads
        )
        return [(row.request.name, row.request.view, row.state["hidden"]) for row in rows], refused

    count = torch.get_num_threads()
    alone, refused = rows(1)
    together, refused_together = rows(4)
    assert refused_together == refused == ["bad.jpg"] * 12
    assert [row[:2] for row in together] == [row[:2] for row in alone]
    assert all(torch.equal(mine, other) for (*_, mine), (*_, other) in zip(together, alone, strict=True))
    assert torch.get_num_threads() == count
