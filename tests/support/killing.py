"""Kills runs at random moments and lets them go on: a process that forks each run, so that none pays for imports.

    python -m tests.support.killing FOLDER --kills 20 --seed 1 --cases pictures-fine-tuning texts-lora-2

Each case runs once unbroken, then once with kills until it ends; it prints one JSON line a case with what differed. The
number behind a case's name is how many processes share the run.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

EVERYTHING = [
    f"{kind}-{adapter}-{processes}"
    for kind in ("pictures", "texts")
    for adapter in ("feature-extraction", "fine-tuning", "lora")
    for processes in (1, 2)
]
ADAPTERS = {
    "feature-extraction": {"name": "feature-extraction", "dropout": 0.1},
    "fine-tuning": {"name": "fine-tuning", "layers": 1, "dropout": 0.1, "unfreeze": "head-first"},
    "lora": {"name": "lora", "layers": 1, "rank": 2, "lora_dropout": 0.1},
}
OTHERS = {
    "pictures-gradual-1": {
        "adapter": {"name": "fine-tuning", "layers": 2, "dropout": 0.1, "unfreeze": "gradual", "decay": 0.5},
        "train": {"ema": 0.9, "clip": 0.5, "optimizer": {"name": "sgd", "lr": 0.05}, "checkpoint_steps": 1, "mix": 0.5},
        "backbone": {"augment": {"flip": "both", "colour": 0.2, "mixup": 0.2}},
    },
    "pictures-gradual-2": {
        "adapter": {"name": "fine-tuning", "layers": 2, "unfreeze": "gradual"},
        "train": {"accumulate": 2, "batch_size": 4, "scheduler": {"name": "one-cycle"}, "views": 3},
        "task": {"name": "image-classification", "imbalance": "sampler"},
    },
    "pictures-workers-1": {
        "adapter": {"name": "fine-tuning", "layers": "all"},
        "train": {"workers": 2, "checkpoint_steps": 1, "epochs": 2, "optimizer": {"name": "adamw", "lr": 0.01}},
        "backbone": {"augment": {"rotation": 20, "erasing": 0.5, "randaugment": 1}},
    },
    "pictures-workers-2": {
        "adapter": {"name": "fine-tuning", "layers": "all", "unfreeze": "head-first"},
        "train": {"workers": 1, "ema": 0.9, "epochs": 2, "scheduler": {"name": "cosine", "warmup_steps": 3}},
    },
    "pictures-recomputed-1": {
        "adapter": {"name": "fine-tuning", "layers": 1, "unfreeze": "head-first", "unfreeze_every": 2},
        "train": {"early_stopping": 2, "scheduler": {"name": "plateau", "patience": 1}, "clip": 1.0},
        "features": {"store": "never"},
    },
    "pictures-solved-1": {"adapter": {"name": "feature-extraction"}, "head": {"solver": "lbfgs"}},
    "labels-multilabel-1": {
        "task": {"name": "image-multilabel", "imbalance": "weights"},
        "adapter": {"name": "fine-tuning", "layers": 1},
        "train": {"lr": "find", "optimizer": {"name": "rmsprop", "momentum": 0.5}},
    },
    "labels-multilabel-2": {
        "task": {"name": "image-multilabel"},
        "adapter": {"name": "feature-extraction", "dropout": 0.2},
        "train": {"ema": 0.9, "checkpoint_steps": 1, "accumulate": 2, "batch_size": 3},
    },
    "texts-regression-1": {
        "task": {"name": "text-regression", "loss": "huber"},
        "adapter": {"name": "fine-tuning", "layers": 1, "unfreeze": "gradual"},
        "train": {"optimizer": {"name": "sgd", "nesterov": True}, "ema": 0.9, "scheduler": {"name": "step"}},
        "backbone": {"augment": {"word_dropout": 0.2, "swap": 0.1}},
    },
    "texts-regression-2": {
        "task": {"name": "text-regression"},
        "adapter": {"name": "lora", "layers": "all", "rank": 2, "lora_dropout": 0.1},
        "train": {"clip": 0.1, "early_stopping": 1, "batch_size": 5, "scheduler": {"name": "linear"}},
        "features": {"store": "never"},
    },
    "texts-weights-1": {
        "task": {"name": "text-classification", "imbalance": "weights", "label_smoothing": 0.1},
        "adapter": {"name": "fine-tuning", "layers": "all"},
        "train": {"workers": 1, "accumulate": 3, "batch_size": 3, "clip": 0.2},
    },
}
"""Settings that differ from the usual ones of a case, by section."""
WORDS = ["good", "bad", "film", "long", "dull", "bright", "never", "always", "again"]
ENDS_WITHIN = 60


def recipe(kind: str, adapter: str, processes: str, folder: Path) -> dict:
    """Write the data of a case; return its recipe."""
    drawn = random.Random(7)
    if kind in ("pictures", "labels"):
        from PIL import Image

        for n in range(48):
            path = folder / "photos" / "ab"[n % 2] / f"{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.frombytes("RGB", (32, 32), drawn.randbytes(32 * 32 * 3)).point(lambda v, n=n: v // (1 + n % 2)).save(
                path
            )
        data = {"source": "folder", "path": str(folder / "photos")}
        if kind == "labels":
            lines = [
                f"photos/{'ab'[n % 2]}/{n}.png,{n % 2},{n % 3 // 2},{('train', 'train', 'val', 'test')[n // 3 % 4]}"
                for n in range(48)
            ]
            (folder / "labels.csv").write_text("file,odd,third,part\n" + "\n".join(lines) + "\n")
            data = {"source": "table", "path": str(folder / "labels.csv"), "input": "file", "input_is": "path"}
            data |= {"labels": ["odd", "third"], "split": "part"}
        backbone = {"name": "resnet18", "weights": "random", "size": 32, "augment": {"flip": "horizontal"}}
    else:
        from tl_text.checkpoint import write_tiny

        write_tiny(folder / "bert")
        lines = [f"{' '.join(drawn.choices(WORDS, k=drawn.randint(1, 12)))} {n},{'ab'[n % 2]}" for n in range(48)]
        (folder / "texts.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
        data = {"source": "table", "path": str(folder / "texts.csv")}
        if adapter == "regression":
            lines = [f"{line.rpartition(',')[0]},{n / 7}" for n, line in enumerate(lines)]
            (folder / "texts.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
            data["label_is"] = "number"
        backbone = {"name": "bert", "weights": str(folder / "bert")}
    usual = {
        "task": f"{'image' if kind != 'texts' else 'text'}-classification",
        "data": data,
        "backbone": backbone,
        "adapter": ADAPTERS.get(adapter, "fine-tuning"),
        "train": {"epochs": 4, "batch_size": 8, "precision": "fp32", "checkpoint_steps": 2, "views": 2},
        "evaluate": {"resamples": 10},
        "seed": 3,
    }
    for section, settings in OTHERS.get(f"{kind}-{adapter}-{processes}", {}).items():
        usual[section] = usual.get(section, {}) | settings if section in ("train", "backbone") else settings
    return usual


def started(case: str, place: Path, out: Path) -> list[int]:
    """Fork the processes of a run of a case, which begins or goes on in ``out``; return their numbers."""
    processes = int(case.rpartition("-")[2])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    numbers = []
    for rank in range(processes):
        number = os.fork()
        if not number:
            if processes > 1:
                os.environ |= {
                    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes),
                    "LOCAL_WORLD_SIZE": str(processes), "RANK": str(rank), "LOCAL_RANK": str(rank),
                    "ACCELERATE_USE_CPU": "true",
                }  # fmt: skip
            os._exit(_run(place, out, rank))
        numbers.append(number)
    return numbers


def _run(place: Path, out: Path, rank: int) -> int:
    import torch

    import tlcore
    from tlcore.training.step import TrainStep

    torch.set_num_threads(1)
    os.environ["TL_CACHE"] = str(out.with_name(f"{out.name}-cache"))
    said = out.with_name(f"{out.name}-said.txt").open("a")
    os.dup2(said.fileno(), 1)
    os.dup2(said.fileno(), 2)
    losses = out.with_name(f"{out.name}-losses-{rank}.txt").open("a", buffering=1)
    step = TrainStep.step

    def recorded(self, ids, compute_loss, number, *randomness):
        loss = step(self, ids, compute_loss, number, *randomness)
        losses.write(f"{number} {float(loss).hex()} {','.join(ids)}\n")
        return loss

    TrainStep.step = recorded
    try:
        if (out / "recipe.yaml").is_file():
            tlcore.resume(out)
        else:
            tlcore.run(place / "recipe.json", out=out)
    except BaseException:
        traceback.print_exc()
        said.flush()
        return 1
    return 0


def ended(numbers: list[int], within: float) -> list[int | None]:
    """Wait for processes; return the exit code of each, None for one that still runs."""
    codes: list[int | None] = [None] * len(numbers)
    until = time.monotonic() + within
    while None in codes and time.monotonic() < until:
        for n, number in enumerate(numbers):
            if codes[n] is None:
                done, status = os.waitpid(number, os.WNOHANG)
                codes[n] = os.waitstatus_to_exitcode(status) if done else None
        time.sleep(0.002)
    return codes


def killed(numbers: list[int], codes: list[int | None], chosen: list[int]) -> None:
    """Kill the chosen processes, and those that do not end by themselves when others are gone."""
    for n in chosen:
        if codes[n] is None:
            os.kill(numbers[n], signal.SIGKILL)
    left = [number for n, number in enumerate(numbers) if codes[n] is None]
    for number, code in zip(left, ended(left, 20), strict=True):
        if code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
            os.waitpid(number, 0)


def finished(out: Path) -> bool:
    """Say whether a run has nothing left to do."""
    return (out / "manifest.json").is_file() and not (out / "begun.json").is_file()


def what_it_gave(out: Path, processes: int) -> dict:
    """Return all that must be the same bit for bit."""
    history = [json.loads(line) for line in (out / "history.jsonl").read_text("utf-8").splitlines()]
    found = {
        "history": [{key: value for key, value in record.items() if key != "seconds"} for record in history],
        "metrics": json.loads((out / "metrics.json").read_text("utf-8")),
    }
    for name in ("model/model.safetensors", "predictions.parquet"):
        found[name] = hashlib.sha256((out / name).read_bytes()).hexdigest()
    for rank in range(processes):
        lines = out.with_name(f"{out.name}-losses-{rank}.txt").read_text("utf-8").splitlines()
        whole = {line for line in lines if line.count(" ") == 2}  # the last one may be cut
        found[f"losses of {rank}"] = sorted(whole, key=lambda line: int(line.split()[0]))
    return found


def tried(case: str, folder: Path, kills: int, seed: int) -> dict:
    """Run a case unbroken and broken; return how many kills there were and what differs."""
    kind, _, rest = case.partition("-")
    adapter, _, count = rest.rpartition("-")
    place = folder / case
    place.mkdir(parents=True)
    (place / "recipe.json").write_text(json.dumps(recipe(kind, adapter, count, place)))
    drawn = random.Random(f"{case} {seed}")
    began = time.monotonic()
    codes = ended(started(case, place, place / "unbroken"), ENDS_WITHIN * 3)
    usual = time.monotonic() - began
    assert all(code == 0 for code in codes), (place / "unbroken-said.txt").read_text("utf-8")[-3000:]
    expected = what_it_gave(place / "unbroken", int(count))
    done, rounds, different, where = 0, 0, [], []
    while done < kills:
        out = place / f"broken-{rounds}"
        rounds += 1
        while not finished(out):
            numbers = started(case, place, out)
            last = done >= kills
            codes = ended(numbers, ENDS_WITHIN * 3 if last else drawn.uniform(0, 0.9 * usual))
            if None in codes:
                chosen = range(len(numbers)) if drawn.random() < 0.5 else [drawn.randrange(len(numbers))]
                where.append(_standing(out))
                killed(numbers, codes, list(chosen))
                done += 1
            elif any(codes):
                said = out.with_name(f"{out.name}-said.txt").read_text("utf-8")
                return {"case": case, "kills": done, "failed": said[-3000:]}
        found = what_it_gave(out, int(count))
        different += [key for key in expected if not _agree(key, expected[key], found[key])]
        if not different:
            shutil.rmtree(out)
    return {"case": case, "kills": done, "runs": rounds, "different": different, "where": _counted(where)}


def _agree(key: str, expected: object, found: object) -> bool:
    # Processes that train a head each by itself are not at the same step when they are killed, and the one that writes
    # may have been ahead: the others then lack some losses, and must not have other ones.
    if key.startswith("losses of") and key != "losses of 0":
        return set(found) <= set(expected)
    return expected == found


def _standing(out: Path) -> str:
    if not (out / "recipe.yaml").is_file():
        return "start"
    if not (out / "begun.json").is_file():
        return "finished" if (out / "manifest.json").is_file() else "before it began"
    if (out / "manifest.json").is_file() or (out / "predictions.parquet").is_file():
        return "writing results"
    return "training" if any(out.glob("checkpoints/*")) else "first pass"


def _counted(words: list[str]) -> dict[str, int]:
    return {word: words.count(word) for word in sorted(set(words))}


def main() -> int:
    """Try the cases that the command line names."""
    asked = argparse.ArgumentParser()
    asked.add_argument("folder", type=Path)
    asked.add_argument("--kills", type=int, default=17, help="for each case")
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--cases", nargs="+", default=EVERYTHING)
    words = asked.parse_args()
    for name in ("TL_PLUGINS", "WORLD_SIZE"):
        os.environ.pop(name, None)
    os.environ["OMP_NUM_THREADS"] = "1"
    # What every run needs, once: what is forked has it.
    import accelerate  # noqa: F401
    import peft  # noqa: F401
    import torchvision.transforms.v2  # noqa: F401

    import tlcore.runs.run  # noqa: F401

    wrong = 0
    for case in words.cases:
        found = tried(case, words.folder.resolve(), words.kills, words.seed)
        wrong += bool(found.get("different") or found.get("failed"))
        print(json.dumps(found), flush=True)  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
