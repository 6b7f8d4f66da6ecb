"""Hostile configurations and index files of checkpoints: nothing that they name is executed or read."""

import json

import pytest

from tests.support.hostile import (
    GIGABYTE,
    GONE,
    NESTED,
    PICKLED,
    PIPE,
    SCRIPT,
    accepted,
    bert,
    edit,
    pull_bert,
    put,
    refused,
)

pytestmark = pytest.mark.slow

INDEX = "model.safetensors.index.json"
BIAS = "embeddings.LayerNorm.bias"


def config(**keys):
    """Return a builder: a checkpoint with keys of config.json changed, beside the modules that it may name."""
    return bert({"config.json": edit(**keys), "evil.py": SCRIPT, "modeling_evil.py": SCRIPT})


def reserved_names(path):
    names = {
        "__proto__": {"x": 1},
        "__class__": "os.system",
        "torch_dtype": "evil.dtype",
        "quantization_config": {"quant_method": "evil", "load_in_4bit": True},
        "dtype": "float8",
        "architectures": ["Evil"],
    }
    put(path, json.loads(path.read_text()) | names)


def unused_files(work):
    modules = dict.fromkeys(("torch.py", "sitecustomize.py", "conftest.py", "transformers.py"), SCRIPT)
    for name in modules:
        work.put(name, SCRIPT)
    pickles = ("training_args.bin", "optimizer.pt", "rng_state.pth", "adapter_model.bin")
    adapter = {
        "peft_type": "LORA",
        "base_model_name_or_path": "evil/x",
        "auto_mapping": {"base_model_class": "Evil", "parent_library": "os"},
        "modules_to_save": ["x"],
    }
    others = {
        "adapter_config.json": adapter,
        "generation_config.json": {"custom_generate": "evil"},
        "preprocessor_config.json": {"auto_map": {"x": "evil.Y"}},
        "special_tokens_map.json": {"pad_token": {"__type": "AddedToken", "content": "evil"}},
        "custom_generate.py": SCRIPT,
    }
    return bert(modules | dict.fromkeys(pickles, PICKLED) | others)(work)


def linked(work):
    work.copy("bert", {})
    return pull_bert(work, work.put("link", work.folder / "bert"))


def index(weight_map, **files):
    """Return a builder: a checkpoint with an index file, and its tensors outside the folder."""
    escape = {"model.safetensors": lambda path: path.rename(path.parents[1] / "escaped.safetensors")}
    return bert(escape | {INDEX: {"weight_map": weight_map}} | files)


def absolute_index(work):
    return index({BIAS: str(work.folder / "escaped.safetensors")})(work)


def large_index(path):
    put(path, {"weight_map": {str(n): f"{n}.safetensors" for n in range(100_000)}})


def long_number(path):
    put(path, '{"hidden_size": ' + "9" * 10**6 + "}")


KERNEL = "attacker/kernel"
LARGE = {"hidden_size": 16_384, "num_attention_heads": 16, "intermediate_size": 65_536, "num_hidden_layers": 200}
PIPELINES = {"x": {"impl": "evil.P"}}
CASES = {
    "dropout above 1": refused(config(hidden_dropout_prob=5), "hidden_dropout_prob"),
    "attention dropout above 1": refused(config(attention_probs_dropout_prob=2), "attention_probs_dropout_prob"),
    "padding id outside the vocabulary": refused(config(pad_token_id=999), "pad_token_id"),
    "hidden size of 0": refused(config(hidden_size=0), "hidden_size"),
    "no positions": refused(config(max_position_embeddings=0), "max_position_embeddings"),
    "no layers": refused(config(num_hidden_layers=0)),
    "a billion layers": refused(config(num_hidden_layers=10**9), "num_hidden_layers"),
    "larger than memory": refused(config(**LARGE), "do not fit"),
    "negative vocabulary size": refused(config(vocab_size=-14), "vocab_size"),
    "NaN": refused(config(layer_norm_eps=float("nan")), "layer_norm_eps"),
    "infinity": refused(config(layer_norm_eps=float("inf")), "layer_norm_eps"),
    "size that is a long list": refused(config(hidden_size=lambda _: [16] * 10**6), "hidden_size"),
    "unknown activation": refused(config(hidden_act="evil.activation"), "hidden_act"),
    "activation of 10 MB": refused(config(hidden_act=lambda _: "a" * 10**7), "hidden_act"),
    "model type of 10 MB": refused(config(model_type=lambda _: "b" * 10**7), "checkpoint, not a BertModel"),
    "number of 400 digits": refused(config(hidden_size=10**400 - 1), "a number of 400 digits"),
    "number of a million digits": refused(bert({"config.json": long_number}), "config.json"),
    "duplicate key": refused(bert({"config.json": '{"hidden_size": 16, "hidden_size": 32}'}), "stands twice"),
    "nested JSON": refused(bert({"config.json": NESTED}), "config.json"),
    "pickle": refused(bert({"config.json": PICKLED}), "config.json cannot be read"),
    "gigabyte": refused(bert({"config.json": GIGABYTE}), "config.json"),
    "pipe": refused(bert({"config.json": PIPE}), "config.json"),
    "auto_map": accepted(config(auto_map={"AutoModel": "evil.Model", "AutoConfig": "modeling_evil.Config"})),
    "attention kernel": accepted(config(_attn_implementation=KERNEL)),
    "internal attention kernel": accepted(config(_attn_implementation_internal=KERNEL, attn_implementation=KERNEL)),
    "nested attention kernel": accepted(config(text_config={"_attn_implementation": KERNEL}, use_kernels=True)),
    "trust_remote_code": accepted(
        config(trust_remote_code=True, custom_pipelines=PIPELINES, auto_map={"AutoModel": "a/b--evil.M"})
    ),
    "reserved names": accepted(bert({"config.json": reserved_names})),
    "unused files": accepted(unused_files),
    "link to a checkpoint": accepted(linked),
    "index of a parent folder": refused(index({BIAS: "../escaped.safetensors"}), "refused: the index names"),
    "index of an absolute path": refused(absolute_index, "refused: the index names"),
    "index with NUL": refused(index({BIAS: "a\0b.safetensors"}), "refused: the index names"),
    "index that is a list": refused(index(["../escaped.safetensors"]), INDEX),
    "index of a pickle": refused(index({"a": "shard.pkl"}, **{"shard.pkl": PICKLED}), "refused: shard.pkl is no"),
    "index of folders": refused(index({"a": "..", "b": "", "c": "/x"}), "refused: the index names"),
    "index of itself": refused(index({"a": INDEX}), "refused: "),
    "index of 100,000 files": refused(bert({"model.safetensors": GONE, INDEX: large_index})),
}


@pytest.mark.parametrize("case", CASES)
def test_hostile_configuration_executes_nothing(case, check):
    check(CASES[case])
