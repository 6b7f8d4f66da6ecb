"""A zoo of hostile files, each given to `tl` where files from outside come in.

No code of theirs runs, no connection is opened, memory stays bounded, and each is refused with one clear message.
"""

import io
import json
import os
import pickle
import shutil
import tarfile
import zipfile

import numpy
import pyarrow
import pytest
import torch
from pyarrow import parquet

from tests.support.hostile import (
    Planted,
    Zoo,
    changed_json,
    made_good,
    of_bert,
    of_resnet,
    on_data,
    predicted,
    pulled,
    safetensors,
)

pytestmark = pytest.mark.slow

COMMIT = "a" * 40
ZOO = Zoo()
hostile = ZOO.hostile


# --- pickles in every disguise


@hostile(said="refused: pytorch_model.bin")
def bert_pickle(place):
    return of_bert(place, place.bert(model__safetensors=None, pytorch_model__bin=place.pickled))


@hostile(said="refused: pytorch_model.bin")
def bert_archive_with_an_object(place):
    folder = place.bert(model__safetensors=None)
    torch.save({"a": torch.zeros(1), "b": place.planted}, folder / "pytorch_model.bin")
    return of_bert(place, folder)


@hostile(said="refused: the header of model.safetensors")
def pickle_named_safetensors(place):
    return of_bert(place, place.bert(model__safetensors=place.pickled))


@hostile(said="config.json cannot be read")
def pickle_named_config(place):
    return of_bert(place, place.bert(config__json=place.pickled))


@hostile(said="tokenizer.json cannot be read")
def pickle_named_tokenizer(place):
    return of_bert(place, place.bert(tokenizer__json=place.pickled))


@hostile(said="refused: w.pth")
def picture_pickle(place):
    return of_resnet(place, place.file("w.pth", place.pickled))


@hostile(said="refused: w.pt ")
def pickle_protocol_0(place):
    return of_resnet(place, place.file("w.pt", pickle.dumps(place.planted, protocol=0)))


@hostile(said="refused: w.pth")
def pickle_in_a_stored_archive(place):
    with zipfile.ZipFile(place.folder / "w.pth", "w") as archive:
        archive.writestr("archive/data.pkl", place.pickled)
        archive.writestr("archive/version", "3\n")
    return of_resnet(place, place.folder / "w.pth")


@hostile(said="refused: w.pth")
def pickle_in_a_tar(place):
    with tarfile.open(place.folder / "w.pth", "w") as archive:
        for name in ("pickle", "storages", "tensors", "../../escaped"):
            member = tarfile.TarInfo(name)
            member.size = len(place.pickled)
            archive.addfile(member, io.BytesIO(place.pickled))
    return of_resnet(place, place.folder / "w.pth")


@hostile(said="refused: w.pt")
def script_of_torch(place):
    module = torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    torch.jit.save(module, place.folder / "w.pt")
    return of_resnet(place, place.folder / "w.pt")


@hostile(said="no .safetensors, .pt, .pth or .bin file")
def array_of_objects(place):
    numpy.save(place.folder / "w.npy", numpy.array([place.planted], dtype=object), allow_pickle=True)
    return of_resnet(place, place.folder / "w.npy")


@hostile(said="no .safetensors, .pt, .pth or .bin file")
def joblib_file(place):
    return of_resnet(place, place.file("w.joblib", place.pickled))


@hostile(said="no .safetensors, .pt, .pth or .bin file")
def onnx_with_data_outside(place):
    place.file("w.onnx", b"\x08\x07\x12\x04evil:\x10location\x12../../../etc/passwd")
    return of_resnet(place, place.folder / "w.onnx")


@hostile(said="no .safetensors, .pt, .pth or .bin file")
def keras_archive(place):
    with zipfile.ZipFile(place.folder / "w.keras", "w") as archive:
        archive.writestr("config.json", '{"class_name": "Lambda"}')
    return of_resnet(place, place.folder / "w.keras")


@hostile(2, "without the model of a finished run")
def checkpoint_of_accelerate(place):
    (place.folder / "w").mkdir()
    for name in ("custom_checkpoint_0.pkl", "random_states_0.pkl", "optimizer.bin"):
        place.file(f"w/{name}", place.pickled)
    return of_resnet(place, place.folder / "w")


# --- caches that somebody filled


def planted_checkpoint(place, folder):
    (place.folder / folder).mkdir(parents=True)
    place.file(f"{folder}/resnet18-f37072fd.pth", place.pickled)
    return pulled(place, {"name": "resnet18"})


@hostile(said="resnet18-f37072fd.pth is not the file that was meant")
def planted_cache_of_torch(place):
    place.environ = {"TORCH_HOME": str(place.folder / "torch"), "TL_CACHE": str(place.folder / "none")}
    return planted_checkpoint(place, "torch/hub/checkpoints")


@hostile(said="resnet18-f37072fd.pth is not the file that was meant")
def planted_cache_of_ours(place):
    place.environ = {"TL_CACHE": str(place.folder / "cache")}
    return planted_checkpoint(place, "cache/weights")


@hostile(said="refused: pytorch_model.bin")
def planted_cache_of_the_hub(place):
    place.environ = {"HF_HUB_CACHE": str(place.folder / "hub")}
    kept = place.folder / "hub" / "models--someone--network"
    folder = place.bert(model__safetensors=None, pytorch_model__bin=place.pickled)
    shutil.copytree(folder, kept / "snapshots" / COMMIT)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(COMMIT)
    absent = kept / ".no_exist" / COMMIT
    absent.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "modules.json", "model.safetensors"):
        (absent / name).touch()
    (absent / "model.safetensors.index.json").touch()
    return pulled(place, {"name": "bert", "weights": "someone/network"})


@hostile(said="is not the file that was meant")
def added_under_another_files_name(place):
    return ["weights", "add", str(place.file("w.pth", place.pickled)), "--as", "resnet18-f37072fd.pth"]


@hostile(said="the lock file names")
def lock_that_leads_outside(place):
    folder = place.bert()
    entry = {"path": f"/hub/{COMMIT}/../../../escaped", "origin": f"hub a/b@{COMMIT}", "size": 1, "sha256": "0" * 64}
    place.file("l.lock.json", json.dumps({"format": 1, "files": [entry]}).encode())
    return ["weights", "add", str(folder), "--as", "a/b", "--lock", str(place.folder / "l.lock.json")]


# --- configurations that choose code; they are read, and what they choose is not


def with_config(place, **keys):
    folder = place.bert(config__json=place.config(**keys))
    (folder / "evil.py").write_text(f"import os; os.makedirs({str(place.planted.canary)!r})")
    (folder / "modeling_evil.py").write_text(f"import os; os.makedirs({str(place.planted.canary)!r})")
    return of_bert(place, folder)


@hostile(0)
def config_with_auto_map(place):
    return with_config(place, auto_map={"AutoModel": "evil.Model", "AutoConfig": "modeling_evil.Config"})


@hostile(0)
def config_with_a_kernel_for_attention(place):
    return with_config(place, _attn_implementation="attacker/kernel")


@hostile(0)
def config_with_an_internal_kernel(place):
    return with_config(place, _attn_implementation_internal="attacker/kernel", attn_implementation="attacker/kernel")


@hostile(0)
def config_with_kernels_for_its_parts(place):
    return with_config(place, text_config={"_attn_implementation": "attacker/kernel"}, use_kernels=True)


@hostile(0)
def config_that_trusts_itself(place):
    return with_config(
        place, trust_remote_code=True, custom_pipelines={"x": {"impl": "evil.P"}}, auto_map={"AutoModel": "a/b--evil.M"}
    )


@hostile(0)
def tokenizer_with_templates(place):
    template = "{{ cycler.__init__.__globals__.os.mkdir('x') }}"
    config = {
        "chat_template": template,
        "auto_map": {"AutoTokenizer": ["evil.T", None]},
        "tokenizer_class": "evil.T",
    }
    folder = place.bert(tokenizer_config__json=config, chat_template__jinja=b"{{ 7 * 7 }}")
    return of_bert(place, folder)


@hostile(said="hidden_act")
def config_with_an_activation_of_its_own(place):
    return with_config(place, hidden_act="evil.activation")


@hostile(said="do not fit")
def config_larger_than_the_machine(place):
    return with_config(
        place, hidden_size=16_384, num_attention_heads=16, intermediate_size=65_536, num_hidden_layers=200
    )


@hostile(said="num_hidden_layers")
def config_without_limits(place):
    return with_config(place, num_hidden_layers=10**9)


@hostile(said="config.json")
def config_that_is_nested(place):
    return of_bert(place, place.bert(config__json=b'{"a":' * 200_000))


@hostile(said="config.json")
def config_of_a_gigabyte(place):
    folder = place.bert()
    with (folder / "config.json").open("wb") as file:
        file.truncate(2**30)
    return of_bert(place, folder)


@hostile(said="tokenizer.json")
def tokenizer_of_a_gigabyte(place):
    folder = place.bert(tokenizer__json=b"{")
    with (folder / "tokenizer.json").open("wb") as file:
        file.truncate(2**30)
    return of_bert(place, folder)


@hostile(said="vocab.txt")
def vocabulary_of_a_gigabyte(place):
    folder = place.bert()
    with (folder / "vocab.txt").open("wb") as file:
        file.truncate(2**30)
    return of_bert(place, folder)


@hostile(said="tokenizer")
def tokenizer_that_makes_much_of_little(place):
    from tl_text.tokenizing import read_tokenizer

    folder = place.bert()
    found = json.loads(read_tokenizer(folder / "vocab.txt").to_str())
    found["normalizer"] = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 2**20}
    (folder / "tokenizer.json").write_text(json.dumps(found))
    return of_bert(place, folder)


# --- index files


def indexed(place, weight_map):
    folder = place.bert()
    shutil.move(folder / "model.safetensors", place.folder / "escaped.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return of_bert(place, folder)


@hostile(said="refused: the index names")
def index_that_leads_outside(place):
    return indexed(place, {"embeddings.LayerNorm.bias": "../escaped.safetensors"})


@hostile(said="refused: the index names")
def index_with_a_whole_path(place):
    return indexed(place, {"embeddings.LayerNorm.bias": str(place.folder / "escaped.safetensors")})


@hostile(said="refused: the index names")
def index_with_a_nul(place):
    return indexed(place, {"embeddings.LayerNorm.bias": "a\0b.safetensors"})


@hostile(said="model.safetensors.index.json")
def index_that_is_no_table(place):
    return indexed(place, ["../escaped.safetensors"])


@hostile(said="refused: shard.pkl is no")
def index_of_a_pickle(place):
    weights = indexed(place, {"a": "shard.pkl"})
    place.file("bert/shard.pkl", place.pickled)
    return weights


# --- files of tensors that cost more than they are


@hostile(said="the header of w.safetensors")
def header_of_spaces(place):
    return of_resnet(place, place.file("w.safetensors", safetensors(b"{}" + b" " * 99_000_000)))


@hostile(said="the header of w.safetensors")
def header_of_a_million_tensors(place):
    entry = json.dumps({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]})
    header = "{" + ",".join(f'"{n}":{entry}' for n in range(1_000_000)) + "}"
    return of_resnet(place, place.file("w.safetensors", safetensors(header.encode())))


@hostile(said="w.safetensors")
def header_of_many_tensors(place):
    header = {str(n): {"dtype": "F32", "shape": [1], "data_offsets": [4 * n, 4 * n + 4]} for n in range(200_000)}
    return of_resnet(place, place.file("w.safetensors", safetensors(header, bytes(800_000))))


@hostile(said="is empty")
def shape_without_end(place):
    header = {"conv1.weight": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}}
    return of_resnet(place, place.file("w.safetensors", safetensors(header)))


@hostile(said="twice")
def header_with_a_name_twice(place):
    entry = json.dumps({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}).encode()
    content = safetensors(b'{"conv1.weight": %s, "conv1.weight": %s}' % (entry, entry), bytes(4))
    return of_resnet(place, place.file("w.safetensors", content))


@hostile(said="refused: ")
def tensor_named_like_a_path(place):
    return of_resnet(place, place.file("w.safetensors", safetensors(
        {"../../escaped": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)
    )))  # fmt: skip


@hostile(said="compressed members")
def archive_that_unpacks_to_more_than_it_is(place):
    with zipfile.ZipFile(place.folder / "w.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        with archive.open("archive/data/0", "w") as member:
            for _ in range(50):
                member.write(bytes(2**20))
    return of_resnet(place, place.folder / "w.pt")


@hostile(said="more than the file")
def archive_whose_members_overlap(place):
    """Write a directory that gives one megabyte out as two thousand members."""
    with zipfile.ZipFile(place.folder / "w.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(2**20))
        original = archive.infolist()[1]
        for n in range(2000):
            again = zipfile.ZipInfo(f"archive/data/{n + 1}")
            for name in ("file_size", "compress_size", "CRC", "header_offset"):
                setattr(again, name, getattr(original, name))
            archive.filelist.append(again)
    return of_resnet(place, place.folder / "w.pt")


@hostile(said="do not fit resnet18")
def tensor_that_repeats_one_number(place):
    return of_resnet(place, place.saved("w.pt", {"conv1.weight": torch.zeros(1).expand(2**20, 2**20)}))


@hostile(said="no weights file")
def pipe_for_weights(place):
    os.mkfifo(place.folder / "w.safetensors")
    return of_resnet(place, place.folder / "w.safetensors")


@hostile(said="config.json")
def pipe_for_a_configuration(place):
    folder = place.bert(config__json=None)
    os.mkfifo(folder / "config.json")
    return of_bert(place, folder)


# --- models that a run left


def of_model(place, change, **given):
    return predicted(place, place.model(change, **given))


@hostile(said="refused: ")
def model_whose_manifest_leads_outside(place):
    entry = {"bytes": 0, "sha256": "0" * 64}
    return of_model(place, lambda model: changed_json(
        model / "manifest.json", lambda found: found["files"].update({"../../../escaped": entry})
    ), sealed=False)  # fmt: skip


@hostile(said="manifest.json")
def model_whose_manifest_is_nested(place):
    return of_model(place, lambda model: (model / "manifest.json").write_text("[" * 200_000), sealed=False)


@hostile(said="manifest.json")
def model_whose_manifest_lists_nonsense(place):
    def change(model):
        changed_json(model / "manifest.json", lambda found: found["files"].update({"artifact.json": 5}))

    return of_model(place, change, sealed=False)


@hostile(said="manifest.json")
def model_whose_manifest_is_a_pipe(place):
    def change(model):
        (model / "manifest.json").unlink()
        os.mkfifo(model / "manifest.json")

    return of_model(place, change, sealed=False)


@hostile(said="manifest.json")
def model_whose_manifest_names_a_nul(place):
    def change(model):
        changed_json(model / "manifest.json", lambda found: found["files"].update({"a\0b": {"bytes": 1, "sha256": ""}}))

    return of_model(place, change, sealed=False)


@hostile(said="does not list")
def model_with_something_beside(place):
    def change(model):
        (model / "custom_checkpoint_0.pkl").write_bytes(place.pickled)

    return of_model(place, change, sealed=False)


@hostile(said="does not list")
def model_that_lists_nothing(place):
    return of_model(
        place, lambda model: changed_json(model / "manifest.json", lambda found: found["files"].clear()), sealed=False
    )


@hostile(said="model.safetensors")
def model_of_a_pickle(place):
    return of_model(place, lambda model: (model / "model.safetensors").write_bytes(place.pickled))


@hostile(said="artifact.json")
def model_whose_description_is_nested(place):
    return of_model(place, lambda model: (model / "artifact.json").write_text('{"a":' * 200_000))


@hostile(said="no valid 'backbone'")
def model_whose_backbone_is_not_a_table(place):
    return described(place, lambda found: found.update(backbone=[1]))


@hostile(said="no valid 'backbone'")
def model_whose_backbone_has_no_options(place):
    return described(place, lambda found: found["backbone"].pop("options"))


@hostile(said="no valid 'precision'")
def model_of_an_unknown_precision(place):
    return described(place, lambda found: found.update(precision="fp7"))


@hostile(said="written by tlcore 0.1.0 (format 3); this version reads format 4")
def model_of_an_older_format(place):
    return of_model(place, lambda model: (model / "artifact.json").write_text('{"format": 3, "recipe": [1]}'))


@hostile(said="format [[[")
def model_of_a_format_that_is_a_list(place):
    return described(place, lambda found: found.update(format=[[[1]]], tlcore={"a": 1}))


def described(place, change):
    return of_model(place, lambda model: changed_json(model / "artifact.json", change))


@hostile(8)
def model_of_a_plugin_that_is_absent(place):
    return described(place, lambda found: found["backbone"].update(name="os/system"))


@hostile(4)
def model_with_another_task(place):
    return described(place, lambda found: found["task_state"].update(classes="abc"))


@hostile(4)
def model_with_more_classes_than_a_head(place):
    return described(place, lambda found: found["task_state"].update(classes=[str(n) for n in range(10**6)]))


@hostile(said="no valid 'task_state'")
def model_without_a_task(place):
    return described(place, lambda found: found.pop("task_state"))


@hostile(said="bert.json")
def model_whose_network_is_nested(place):
    return of_model(place, lambda model: (model / "backbone" / "bert.json").write_text('{"a":' * 200_000))


@hostile(4)
def model_whose_network_is_larger_than_the_machine(place):
    def change(found):
        found["config"].update(hidden_size=16_384, num_attention_heads=16, vocab_size=2_000_000)

    return of_model(place, lambda model: changed_json(model / "backbone" / "bert.json", change))


@hostile(said="tokenizer.json cannot be read")
def model_whose_tokenizer_is_a_pickle(place):
    return of_model(place, lambda model: (model / "backbone" / "tokenizer.json").write_bytes(place.pickled))


@hostile(2, "there is no model at")
def model_that_is_a_pickle(place):
    return predicted(place, place.file("run.pkl", place.pickled))


# --- data


@hostile(3, "refused: it names something outside")
def data_set_that_leads_outside(place):
    folder = place.folder / "set"
    folder.mkdir()
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../../escaped.arrow"}]}))
    (folder / "dataset_info.json").write_text("{}")
    return on_data(place, {"source": "dataset", "path": str(folder)})


@hostile(3, "holds no data set")
def data_set_with_a_script(place):
    folder = place.folder / "set"
    folder.mkdir()
    (folder / "set.py").write_text(f"import os; os.makedirs({str(place.planted.canary)!r})")
    return on_data(place, {"source": "dataset", "path": str(folder)})


@hostile(3, "cannot be read")
def data_set_of_pickles(place):
    folder = place.folder / "set"
    folder.mkdir()
    for name in ("state.json", "dataset_info.json", "dataset_dict.json", "data.arrow"):
        (folder / name).write_bytes(place.pickled)
    return on_data(place, {"source": "dataset", "path": str(folder)})


@hostile(3, "cannot be read")
def data_set_that_is_nested(place):
    folder = place.folder / "set"
    folder.mkdir()
    (folder / "state.json").write_text('{"a":' * 200_000)
    return on_data(place, {"source": "dataset", "path": str(folder)})


@hostile(0)
def table_with_a_type_that_is_a_pickle(place):
    """Older pyarrow unpickled a type of somebody's own out of a file."""
    storage = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": place.pickled}
    fields = [pyarrow.field("text", pyarrow.string(), metadata=storage), pyarrow.field("label", pyarrow.string())]
    table = pyarrow.table([["good film", "not at all"], ["good", "bad"]], schema=pyarrow.schema(fields))
    parquet.write_table(table, place.folder / "t.parquet")
    return on_data(place, {"source": "table", "path": str(place.folder / "t.parquet")})


@hostile(3, "rows")
def table_of_more_rows_than_bytes(place):
    column = pyarrow.DictionaryArray.from_arrays(pyarrow.array(numpy.zeros(20_000_000, "int32")), ["good"])
    parquet.write_table(pyarrow.table({"text": column, "label": column}), place.folder / "t.parquet")
    return on_data(place, {"source": "table", "path": str(place.folder / "t.parquet")})


@hostile(3, "compressed by gzip")
def table_that_is_an_archive(place):
    return on_data(place, {"source": "table", "path": str(place.file("t.csv", b"\x1f\x8b" + bytes(100)))})


@hostile(3, "t.csv")
def table_that_is_a_pipe(place):
    os.mkfifo(place.folder / "t.csv")
    return on_data(place, {"source": "table", "path": str(place.folder / "t.csv")})


@hostile(3, "t.csv")
def table_without_end(place):
    (place.folder / "t.csv").symlink_to("/dev/zero")
    return on_data(place, {"source": "table", "path": str(place.folder / "t.csv")})


@hostile(3, "leads out of")
def table_whose_paths_lead_outside(place):
    names = [
        "../../../../etc/passwd",
        "/etc/passwd",
        "..\\..\\x",
        "~/x",
        "%2e%2e/x",
        "a\u0000b",
        "//host/x",
        "a" * 5000,
    ]
    rows = [{"path": name, "label": "good"} for name in names]
    place.file("t.jsonl", "\n".join(map(json.dumps, rows)).encode())
    return on_data(
        place, {"source": "table", "path": str(place.folder / "t.jsonl"), "input": "path", "input_is": "path"}
    )


# --- recipes


def recipe_of(place, text):
    return ["recipe", "check", str(place.file("recipe.yaml", text.encode()))]


@hostile(2, "is not allowed")
def recipe_with_a_tag(place):
    return recipe_of(place, f"task: !!python/object/apply:os.mkdir ['{place.planted.canary}']\n")


@hostile(2, "too many")
def recipe_that_grows(place):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    return recipe_of(place, "\n".join(lines))


@hostile(2)
def recipe_that_is_a_pickle(place):
    path = place.file("recipe.yaml", place.pickled)
    return ["run", str(path)]


@hostile(2)
def recipe_that_is_a_pipe(place):
    os.mkfifo(place.folder / "recipe.yaml")
    return ["run", str(place.folder / "recipe.yaml")]


@hostile(2, "name")
def recipe_whose_name_leads_outside(place):
    text = (place.good / "recipe.yaml").read_text() + "name: ../../escaped\n"
    return recipe_of(place, text)


# --- the zoo is met


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return made_good(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def met(good, tmp_path_factory):
    return ZOO.met(good, tmp_path_factory.mktemp("zoo"))


def test_the_programs_work_where_nothing_is_wrong(met):
    assert met["nothing_wrong"]["code"] == 0, met["nothing_wrong"]["said"]
    assert met["nothing_wrong"]["seen"] == []


@pytest.mark.parametrize("name", ZOO)
def test_what_is_hostile_does_nothing_and_is_refused(met, good, name):
    ZOO.require_refused(met, good, name)


def test_what_is_planted_would_run_where_it_is_trusted(tmp_path):
    pickle.loads(pickle.dumps(Planted(tmp_path / "ran")))
    assert (tmp_path / "ran").is_dir()


def test_the_zoo_is_large():
    assert len(ZOO) >= 30
