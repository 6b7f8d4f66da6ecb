"""No secret stands in anything that is written or printed, and what is none stays as it is."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_text.checkpoint import write_tiny
from tlcore import DataError, TLError
from tlcore.cli import main
from tlcore.files.atomic import publish_file
from tlcore.redaction import looks_secret, redacted

HELD = {
    "HF_TOKEN": "hf-canary-7Qw0",
    "WANDB_API_KEY": "d41d8cd98f00b204e9800998ecf8427e",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYCANARY",
    "MY_SERVICE_PASSWORD": "correct horse battery",
}
SHAPED = [
    "https://me:s3cret-canary@example.org/x",
    "Bearer abc.DEF-canary-123",
    f"hf_{'Ab1' * 10}",
    "AKIAABCDEFGHIJKLMNOP",
]
CANARIES = [*HELD.values(), "s3cret-canary", "abc.DEF-canary-123", *SHAPED[2:]]


@pytest.fixture
def held(monkeypatch):
    for name, value in HELD.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("secret", CANARIES)
def test_the_redactor_finds_each_canary(held, secret):
    told = f'failed: {" ".join([*HELD.values(), *SHAPED])} {{"a": "{secret if secret in HELD.values() else ""}"}}'
    assert secret in told
    assert secret not in redacted(told)
    assert redacted(redacted(told)) == redacted(told)


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org:8080/a@b", "a bearer of bad news", "the bearer certificates of 1999", "me@example.org",
        "cls_token", "hf_short", "sk-learn", "user:password", "C:\\x", "12:30@noon", "token: none", "",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(held, text):
    assert redacted(text) == text


@given(st.text(alphabet=st.characters(exclude_characters=":@"), max_size=60))
def test_ordinary_text_stays(text):
    if not any(word in text.lower() for word in ("bearer", "hf_", "gh", "glpat", "xox", "sk-", "akia")):
        assert redacted(text) == text


def test_a_path_and_a_short_value_in_the_environment_are_none(monkeypatch, tmp_path):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path))
    monkeypatch.setenv("SOME_TOKEN", "none")
    monkeypatch.setenv("CLS_TOKEN", "[CLS]-canary")
    assert redacted(f"none of it in {tmp_path}, [CLS]-canary") == f"none of it in {tmp_path}, [CLS]-canary"


@pytest.mark.parametrize(
    ("key", "value", "secret"),
    [
        ("api_key", "abc12345", True),
        ("hub_token", "Zx9-long-and-mixed", True),
        ("PASSWORD", "hunter2hunter2", True),
        ("cls_token", "[CLS]-0123456789a", False),
        ("num_tokens", "a0123456789", False),
        ("max_token", "a0123456789", False),
        ("token", "word", False),
        ("token", "a sentence of 3 words", False),
        ("key", "abc12345", False),
        ("path", "https://me:pa55@host/x.csv", True),
    ],
)
def test_a_key_and_its_value_say_together_what_a_secret_is(key, value, secret):
    assert looks_secret(value, key) is secret


def test_errors_and_files_are_without_secrets(held, tmp_path):
    told = " ".join([*HELD.values(), *SHAPED])
    error = DataError(told, where=told, hint=told)
    publish_file(tmp_path / "notes.txt", told)
    for text in (str(error), repr(error), error.what, (tmp_path / "notes.txt").read_text()):
        assert [secret for secret in CANARIES if secret in text] == []


PLUGIN = """
import os, warnings
from dataclasses import dataclass
from importlib import metadata
import tlcore

TOLD = os.environ["TOLD"]

@dataclass(frozen=True, kw_only=True)
class Options:
    api_key: str | None = tlcore.option(None, "A key.")
    at: str = tlcore.option("nowhere", "Where it fails.")

class Source(tlcore.DataSource):
    def __init__(self, options):
        self.at = options.at

    def examples(self):
        warnings.warn(TOLD, tlcore.RecipeWarning)
        raised = {"data": tlcore.DataError(TOLD, where=TOLD, hint=TOLD), "bug": RuntimeError(TOLD),
                  "file": PermissionError(13, TOLD, TOLD), "memory": MemoryError(TOLD)}
        if self.at in raised:
            raise raised[self.at]
        yield tlcore.Problem("odd", TOLD, skipped=False)
        yield tlcore.Problem("skipped", TOLD)
        for n in range(40):
            yield tlcore.Example(str(n), f"{['good film', 'not at all'][n % 2]} {n}", label=["good", "bad"][n % 2])

@tlcore.hookimpl
def tl_data_sources():
    yield tlcore.DataSourceSpec(name="vault", summary="Texts.", modality="text", options=Options, build=Source,
                                smoke=lambda folder: Options())

@tlcore.hookimpl
def tl_run_started(event):
    raise RuntimeError(TOLD)
"""


@pytest.fixture
def vault(held, monkeypatch, tmp_path):
    """Return how to run a recipe on a source of data that tells its secrets wherever it can."""
    monkeypatch.setenv("TOLD", " ".join([*HELD.values(), *SHAPED]))
    site = tmp_path / "site"
    info = site / "vault_dist-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vault-dist\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tlcore]\nvault = vault_plugin\n")
    (site / "vault_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(site))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("TL_CACHE", str(work / "cache"))
    write_tiny(work / "bert")
    recipe = {
        "task": "text-classification",
        "data": {"source": "vault"},
        "backbone": {"name": "bert", "weights": str(work / "bert")},
        "adapter": {"name": "fine-tuning", "layers": 1},
        "train": {"epochs": 2},
        "evaluate": {"resamples": 0, "probe": False},
    }
    (work / "vault.yaml").write_text(json.dumps(recipe))

    def run(capfd, *words):
        monkeypatch.setattr(sys, "argv", ["tl", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capfd.readouterr()
        kept = b"\0".join(path.read_bytes() for path in work.rglob("*") if path.is_file())
        return ended.value.code or 0, told.out + told.err, kept

    return run


def found(told, kept):
    return [secret for secret in CANARIES if secret in told or secret.encode() in kept]


def test_a_run_that_succeeds_keeps_and_prints_none(vault, capfd):
    code, told, kept = vault(capfd, "run", "vault.yaml", "--set", "train.precision=fp32", "--out", "run")
    assert code == 0, told
    assert "***" in told
    assert b"***" in kept
    assert found(told, kept) == []


@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["", "debug"])
@pytest.mark.parametrize(("at", "code"), [("data", 3), ("bug", 8), ("file", 2), ("memory", 5)])
def test_a_run_that_fails_prints_none(vault, capfd, at, code, debug):
    ended, told, kept = vault(capfd, *debug, "run", "vault.yaml", "--set", f"data.at={at}", "--out", "run")
    assert ended == code, told
    assert found(told, kept) == []


@pytest.mark.parametrize(
    "override",
    [
        "data.api_key=plugin-canary-0123456789",
        f"backbone.weights={HELD['HF_TOKEN']}",
        "backbone.weights=https://me:s3cret-canary@example.org/x",
        f"backbone.weights=hf_{'Ab1' * 10}",
        "data={source: vault, api_key: plugin-canary-0123456789}",
    ],
)
def test_a_recipe_with_a_secret_is_refused_with_what_to_do(vault, capfd, override):
    code, told, kept = vault(capfd, "run", "vault.yaml", "--set", override)
    assert code == 2
    assert "looks like a secret" in told
    assert "set it in the environment" in told
    assert [secret for secret in (*CANARIES, "plugin-canary") if secret in told or secret.encode() in kept] == []


def test_what_fails_in_a_plugin_is_told_without_its_secrets(vault, capfd):
    vault(capfd, "run", "vault.yaml", "--set", "data.at=data")
    code, told, _ = vault(capfd, "--debug", "plugins", "--errors")
    assert code == 0
    assert found(told, b"") == []


def test_an_error_of_ours_is_still_one():
    assert str(TLError("what", where="where", hint="hint")) == "what\nwhere\nhint"
