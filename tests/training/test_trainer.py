"""The loop: order and dropout from the position alone, frozen stays frozen, nothing non-finite reaches the weights."""

import contextlib
import dataclasses
import itertools
import re

import pytest
import torch
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from torch import nn

from tlcore import Classification, Example, NumericError, ParameterGroup, Phase, Plan, PluginError, UsageError
from tlcore.data.digests import content_digest
from tlcore.errors import Interrupted
from tlcore.features.cache import CacheConfig
from tlcore.features.keys import FeatureKeys, namespace_of
from tlcore.features.precompute import PrecomputeJob, precompute
from tlcore.features.readers import InMemoryReader, InputReader
from tlcore.recipe import SGD, Adam, AdamW, Choice, RMSprop, TrainSection
from tlcore.training import head
from tlcore.training.checkpoints import Checkpoints
from tlcore.training.device import accelerator_for
from tlcore.training.head_solver import PENALTIES, fit_head
from tlcore.training.lr_finder import find_lr
from tlcore.training.model import FeatureScaler, TrainableModel
from tlcore.training.optimizers import optimizer_for
from tlcore.training.state import ResumePoint
from tlcore.training.trainer import Trainer, TrainerConfig


class Dense(nn.Module):
    """A stage with batch statistics and dropout, so that a wrong mode shows."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.dropout = nn.Dropout(0.3)

    def forward(self, state):
        return {"hidden": self.dropout(torch.tanh(self.norm(self.linear(state["hidden"]))))}


class Small:
    """Three stages over three numbers."""

    feature_dim = 3

    def __init__(self):
        torch.manual_seed(3)
        self.stages = {"bottom": Dense(), "middle": Dense(), "top": Dense()}

    def prepare(self, examples, view=None):
        return {"hidden": torch.tensor([example.input for example in examples])}

    def pool(self, state):
        return state["hidden"]


def examples(count, split="train"):
    rng = torch.Generator().manual_seed(len(split))
    rows = torch.randn(count, 3, generator=rng)
    return [
        Example(f"{split}{n}", tuple(row.tolist()), "up" if row[0] > 0 else "down", split) for n, row in enumerate(rows)
    ]


def section(**changes):
    return dataclasses.replace(TrainSection(), **{"epochs": 3, "batch_size": 8, **changes})


def trainer(plan=None, backbone=None, train=None, **changes):
    backbone = backbone or Small()
    plan = plan or Plan(freeze_line=0, head=nn.Linear(3, 2))
    train = train or examples(20)
    task = Classification()
    task.fit([example.label for example in train])
    everything = {example.id: example for example in [*train, *examples(10, "validation")]}
    model = TrainableModel(backbone, plan)
    reader = InputReader(backbone, everything)
    config = TrainerConfig(section(**changes), seed=5)
    return Trainer(model, reader, task, accelerator_for("cpu", "fp32"), config), train


def trained(tmp_path, **given):
    one, train = trainer(**given)
    one.features.fit_scaler(train)
    result = one.train(train, examples(10, "validation"), Checkpoints(tmp_path / "checkpoints"), lambda *told: None)
    return one, result


def state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_two_runs_are_equal_bit_for_bit_whatever_the_global_generator(tmp_path):
    torch.manual_seed(0)
    plan = lambda: Plan(freeze_line=0, head=_head())  # noqa: E731
    first, one = trained(tmp_path / "a", plan=plan())
    torch.manual_seed(99)
    torch.rand(7)
    second, other = trained(tmp_path / "b", plan=plan())
    assert [record["train"]["loss"] for record in one.history] == [record["train"]["loss"] for record in other.history]
    assert all(
        torch.equal(a, b)
        for a, b in zip(state(first.unwrapped).values(), state(second.unwrapped).values(), strict=True)
    )


def _head():
    head = nn.Linear(3, 2)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def test_only_what_lies_above_the_line_is_changed(tmp_path):
    backbone = Small()
    before = {name: state(stage) for name, stage in backbone.stages.items()}
    trained(tmp_path, backbone=backbone, plan=Plan(freeze_line=2, head=nn.Linear(3, 2)))
    for name in ("bottom", "middle"):
        assert all(torch.equal(value, before[name][key]) for key, value in backbone.stages[name].state_dict().items())
    assert not torch.equal(backbone.stages["top"].linear.weight, before["top"]["linear.weight"])


def test_a_schedule_holds_a_stage_back_with_its_statistics_then_lets_it_go(tmp_path):
    backbone = Small()
    schedule = (Phase(epoch=0, first_trained=2), Phase(epoch=2, first_trained=1))
    one, train = trainer(backbone=backbone, plan=Plan(freeze_line=1, head=nn.Linear(3, 2), schedule=schedule))
    one.features.fit_scaler(train)
    seen = []
    begin = state(backbone.stages["middle"])

    def look(epoch, record):
        seen.append(
            all(torch.equal(value, begin[key]) for key, value in backbone.stages["middle"].state_dict().items())
        )

    one.train(train, examples(10, "validation"), Checkpoints(tmp_path / "checkpoints"), look)
    assert seen == [True, True, False]


def test_the_best_epoch_is_the_earliest_of_equals_and_is_what_remains(tmp_path):
    one, result = trained(tmp_path, epochs=12)
    scores = [record["validation"]["macro_f1"] for record in result.history]
    assert result.best_epoch == scores.index(max(scores)) + 1
    assert one.evaluator.metrics(examples(10, "validation"))["macro_f1"] == max(scores)
    assert [record["epoch"] for record in result.history if record["best"]][-1] == result.best_epoch


class Root(nn.Module):
    """A stage of finite values and a gradient that is not finite, for the least of each feature."""

    def forward(self, state):
        hidden = state["hidden"]
        return {"hidden": (hidden - hidden.detach().amin(dim=0)).sqrt()}


def _spoilt(where, after):
    """Return a trainer with something that is not finite from a step on, and its training examples."""
    train = examples(20)
    if where == "input":
        train[4] = dataclasses.replace(train[4], input=(float("nan"), 0.0, 0.0))
    backbone = Small()
    if where == "gradient":
        backbone.stages["middle"] = Root()
    one, train = trainer(backbone=backbone, train=train)
    step, loss, drawn = one.train_step.step, one.task.loss, {"steps": 0}

    def spoilt_step(ids, compute_loss, number, randomness):
        drawn["steps"] += 1
        if drawn["steps"] == after and where == "weight":
            with torch.no_grad():
                one.unwrapped.stages[1].linear.weight[0, 0] = float("nan")
        if drawn["steps"] == after and where == "rate":
            one.optimizer.param_groups[0]["lr"] = float("inf")
        drawn["before"] = state(one.unwrapped), {name: value.clone() for name, value in _moments(one).items()}
        return step(ids, compute_loss, number, randomness)

    def weighted(outputs, targets):
        return loss(outputs, targets) * (float("nan") if where == "label weight" and drawn["steps"] >= after else 1)

    one.train_step.step, one.task.loss = spoilt_step, weighted
    return one, train, drawn


def _moments(one):
    tensors = enumerate(one.optimizer.state_dict()["state"].values())
    return {f"{n} {name}": value for n, state in tensors for name, value in state.items()}


@pytest.mark.parametrize(
    ("where", "what", "first"),
    [
        ("input", "the loss is not finite", "the input of bottom.linear"),
        ("weight", "the loss is not finite", "middle.linear.weight, before the step"),
        ("label weight", "the loss is not finite", "the loss, although the outputs are finite"),
        ("gradient", "a gradient in bottom is not finite", "the gradient that middle passes back"),
        ("rate", "the learning rate of bottom is inf", None),
    ],
)
def test_what_is_not_finite_stops_before_the_step_and_is_traced_to_its_module(tmp_path, where, what, first):
    one, train, drawn = _spoilt(where, after=3)
    one.unwrapped.standardise.fit([torch.randn(50, 3)])
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    with pytest.raises(NumericError, match=what) as caught:
        one.train(train, examples(10, "validation"), checkpoints, lambda *told: None)
    assert "the step was not taken" in caught.value.what
    assert re.search(r"at step \d", caught.value.what)
    if first is not None:
        assert f"the first value that is not finite: {first}" in caught.value.where
        assert "examples: train" in caught.value.where
    if where == "input":
        assert "examples: train4\n" in caught.value.where
    weights, moments = drawn["before"]
    assert all(torch.equal(value, state(one.unwrapped)[key]) or where == "weight" for key, value in weights.items())
    assert all(torch.equal(value, _moments(one)[key]) for key, value in moments.items())
    assert all(bool(value.isfinite().all()) for value in one.unwrapped.buffers())
    for folder in (tmp_path / "checkpoints").glob("*/*.safetensors"):
        assert all(bool(value.isfinite().all()) for value in load_file(folder).values())


def test_standardised_features_have_mean_zero_and_together_a_deviation_of_one():
    values = torch.randn(500, 4) * torch.tensor([1.0, 3.0, 1e-3, 0.0]) + torch.tensor([5.0, -50.0, 1.0, 7.0])
    scaler = FeatureScaler(4)
    scaler.fit(values.split(200))
    out = scaler(values)
    assert torch.allclose(out.mean(0), torch.zeros(4), atol=1e-3)
    assert out.pow(2).mean().sqrt() == pytest.approx(1.0, abs=1e-3)
    assert out.std(0)[1] / out.std(0)[0] == pytest.approx(3.0, abs=0.3)


def test_features_that_never_vary_stay_finite():
    scaler = FeatureScaler(2)
    scaler.fit([torch.ones(9, 2)])
    assert torch.equal(scaler(torch.ones(9, 2)), torch.zeros(9, 2))


@pytest.mark.parametrize(
    ("name", "options"), [("sgd", SGD()), ("rmsprop", RMSprop()), ("adam", Adam()), ("adamw", AdamW())]
)
def test_each_optimizer_gives_each_part_its_own_rate(name, options):
    parts = {"top": nn.Linear(2, 2), "head": nn.Linear(2, 2)}
    optimizer = optimizer_for(
        name, options, parts, (ParameterGroup("top", 0.1, 0.0), ParameterGroup("head", 2.0)), options.lr
    )
    rates = {group["part"]: group["lr"] for group in optimizer.param_groups}
    assert rates == {"top": pytest.approx(options.lr * 0.1), "head": pytest.approx(options.lr * 2)}
    assert optimizer.param_groups[0]["weight_decay"] == 0.0


def test_a_group_for_a_frozen_part_is_refused():
    with pytest.raises(UsageError, match="'bottom', which is not trained"):
        trainer(plan=Plan(freeze_line=2, head=nn.Linear(3, 2), parameter_groups=(ParameterGroup("bottom"),)))


def test_a_line_outside_of_the_network_is_refused():
    with pytest.raises(PluginError, match="outside of 0 to 3"):
        TrainableModel(Small(), Plan(freeze_line=4, head=nn.Linear(3, 2)))


def test_runs_of_different_precision_work_in_one_process(tmp_path):
    assert accelerator_for("cpu", "bf16").mixed_precision == "bf16"
    assert accelerator_for("cpu", "fp32").mixed_precision == "no"
    assert accelerator_for("cpu", "auto").mixed_precision == "no"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_absent_and_a_precision_that_does_not_fit_are_usage_errors():
    with pytest.raises(UsageError, match="no CUDA device"):
        accelerator_for("cuda", "fp32")
    with pytest.raises(UsageError, match="fp16"):
        accelerator_for("cpu", "fp16")


def test_training_stops_early_where_the_score_no_longer_gets_better(tmp_path):
    _, result = trained(tmp_path, epochs=200, early_stopping=3)
    assert len(result.history) == result.best_epoch + 3
    assert len(result.history) < 200


def test_with_a_mean_of_the_weights_that_mean_is_scored_and_kept(tmp_path):
    plain, _ = trained(tmp_path / "a", plan=Plan(freeze_line=3, head=_head()), lr=0.5)
    averaged, result = trained(tmp_path / "b", plan=Plan(freeze_line=3, head=_head()), lr=0.5, ema=0.9)
    assert not torch.equal(plain.unwrapped.head.weight, averaged.unwrapped.head.weight)
    best = max(record["validation"]["macro_f1"] for record in result.history)
    assert averaged.evaluator.metrics(examples(10, "validation"))["macro_f1"] == best


def test_finding_a_rate_leaves_weights_and_optimizer_as_they_were():
    one, train = trainer(lr="find", epochs=2, batch_size=20, plan=Plan(freeze_line=3, head=_head()))
    one.features.fit_scaler(train)
    before = state(one.unwrapped)
    found = find_lr(one, train)
    assert all(torch.equal(value, before[key]) for key, value in state(one.unwrapped).items())
    assert not one.optimizer.state_dict()["state"]
    assert one.lr == found.chosen > 0


def test_the_rate_in_the_section_wins_over_the_optimizers(tmp_path):
    _, result = trained(tmp_path, lr=0.25, optimizer=Choice("sgd", SGD(lr=1.0)))
    assert [record["lr"] for record in result.history] == [0.25] * 3


def test_accumulated_batches_are_one_step_of_all_their_examples(tmp_path):
    given = {"plan": Plan(freeze_line=3, head=_head()), "optimizer": Choice("sgd", SGD(lr=0.1))}
    whole, _ = trained(tmp_path / "a", batch_size=8, **given)
    given["plan"] = Plan(freeze_line=3, head=_head())
    parts, _ = trained(tmp_path / "b", batch_size=4, accumulate=2, **given)
    assert torch.allclose(whole.unwrapped.head.weight, parts.unwrapped.head.weight, atol=1e-6)


class Plain(nn.Module):
    """A stage in which no example depends on its companions, nor on chance."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, state):
        return {"hidden": torch.tanh(self.linear(state["hidden"]))}


@pytest.mark.parametrize("count", [64, 67, 35, 33])  # the last step is whole, ragged, or has one example more
def test_one_of_32_is_two_of_16_is_accumulated_twice(tmp_path, count):
    found = []
    for number, sizes in enumerate([{"batch_size": 32}, {"batch_size": 16, "accumulate": 2}, {"batch_size": 32}]):
        backbone = Small()
        torch.manual_seed(4)
        backbone.stages = {"bottom": Plain(), "top": Plain()}
        plan = Plan(freeze_line=0, head=_head())
        one, train = trainer(
            backbone=backbone, plan=plan, train=examples(count), optimizer=Choice("sgd", SGD(lr=0.1)), **sizes
        )
        if number == 2:
            one.train_step._microbatch_size = 16  # as after memory has ended once
        one.features.fit_scaler(train)
        result = one.train(train, examples(10, "validation"), Checkpoints(tmp_path / str(number)), lambda *told: None)
        weights = torch.cat([parameter.detach().flatten() for parameter in one.unwrapped.parameters()])
        found.append((weights, [record["train"]["loss"] for record in result.history]))
    whole, losses = found[0]
    for weights, others in found[1:]:
        assert (weights - whole).norm() <= 1e-5 * whole.norm()
        assert others == pytest.approx(losses, rel=1e-5)


def test_a_task_can_ask_for_some_examples_more_often(tmp_path):
    one, train = trainer()
    one.task.sampling_weights = lambda labels: [float(label == "up") for label in labels]
    seen = []
    reader = one.readers.current
    read = reader.batch
    reader.batch = lambda ids, epoch=None: (seen.extend(ids if epoch is not None else ()), read(ids, epoch))[1]
    one.features.fit_scaler(train)
    one.train(train, examples(10, "validation"), Checkpoints(tmp_path / "checkpoints"), lambda *told: None)
    labels = {example.id: example.label for example in train}
    assert {labels[id_] for id_ in seen} == {"up"}
    assert len(seen) == 3 * len(train)


def test_mixed_batches_have_shares_for_targets_and_a_generator_of_their_own(tmp_path):
    backbone = Small()
    calls = []

    def mix(mixed, targets, generator):
        calls.append((targets.shape, targets.sum(dim=1).tolist(), float(torch.rand((), generator=generator))))
        return mixed, targets

    backbone.mix = mix
    trained(tmp_path, backbone=backbone, plan=Plan(freeze_line=3, head=_head()), mix=1.0)
    assert len(calls) == 3 * 3
    assert all(shape[1] == 2 and sums == [1.0] * shape[0] for shape, sums, _ in calls)
    assert len({drawn for *_, drawn in calls}) == len(calls)


def test_a_frozen_normalisation_above_the_line_keeps_its_statistics():
    backbone = Small()
    model = TrainableModel(backbone, Plan(freeze_line=2, head=nn.Linear(3, 2)))
    for parameter in backbone.stages["top"].norm.parameters():
        parameter.requires_grad_(False)
    model._requires_grad = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    model.begin_epoch(0)
    assert not backbone.stages["top"].norm.training
    assert backbone.stages["top"].dropout.training


def features_only(tmp_path, count=60, memory=0.0, precision="fp32"):
    """Return a trainer of a head alone over stored features, and its training and validation examples."""
    train, validation = examples(count), examples(20, "validation")
    task = Classification()
    task.fit([example.label for example in train])
    everything = {example.id: example for example in [*train, *validation]}
    keys = FeatureKeys({id_: content_digest(list(example.input)) for id_, example in everything.items()})
    backbone = Small()
    backbone.preparation = {}
    namespace = namespace_of(backbone, 3, name="small", weights="w", precision=precision, libraries={})
    accelerator = accelerator_for("cpu", precision)
    cache = CacheConfig(tmp_path / "store", namespace)
    found = precompute(PrecomputeJob(backbone, 3, list(everything.values()), accelerator, cache, keys))
    plan = Plan(freeze_line=3, head=_head())
    config = TrainerConfig(section(), seed=5, cache_bytes=memory)
    return Trainer(TrainableModel(backbone, plan), found.reader, task, accelerator, config), train, validation


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_features_held_in_memory_train_to_the_same_bits_as_stored_ones(tmp_path, precision):
    losses = []
    for name, memory in (("held", 1e9), ("stored", 0)):
        one, train, validation = features_only(tmp_path / name, memory=memory, precision=precision)
        one.features.fit_scaler(train)
        result = one.train(train, validation, Checkpoints(tmp_path / name / "kept"), lambda *told: None)
        assert isinstance(one.readers.current, InMemoryReader) == (name == "held")
        losses.append([(record["train"]["loss"], record["validation"]["loss"]) for record in result.history])
    assert losses[0] == losses[1]


def test_training_on_held_features_goes_on_to_the_same_bits(tmp_path):
    one, train, validation = features_only(tmp_path / "unbroken", memory=1e9)
    one.features.fit_scaler(train)
    unbroken = one.train(train, validation, Checkpoints(tmp_path / "kept"), lambda *told: None).history
    one, *_ = features_only(tmp_path / "stopped", memory=1e9)
    one.features.fit_scaler(train)
    checkpoints, history, asked = Checkpoints(tmp_path / "broken"), [], itertools.count()

    def stopping():
        return next(asked) > 9

    def told(epoch, record):
        history.append(record)

    with pytest.raises(Interrupted):
        one.train(train, validation, checkpoints, told, stop_requested=stopping)
    another, *_ = features_only(tmp_path / "going on", memory=1e9)
    begun = ResumePoint(Checkpoints(tmp_path / "broken").find_newest(), history)
    result = another.train(train, validation, checkpoints, told, resume_from=begun)
    assert 0 < begun.checkpoint.step < 3 * 8
    assert [record["train"]["loss"] for record in result.history] == [record["train"]["loss"] for record in unbroken]


def test_the_standardised_features_of_wanted_places_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(head, "BATCH_SIZE", 4)
    one, train, _ = features_only(tmp_path)
    kept = one.features.fit_scaler(train, [0, 3, 4, 9])
    assert torch.equal(kept, torch.cat(list(one.features.standardized(train)))[[0, 3, 4, 9]])


def test_a_solved_head_is_logistic_regression(tmp_path):
    one, train, validation = features_only(tmp_path, count=300)
    one.features.fit_scaler(train)
    result = fit_head(one, train, validation, Checkpoints(tmp_path / "kept"), lambda *told: None)
    best = result.history[result.best_epoch - 1]
    rows = torch.cat(list(one.features.standardized(train))).numpy()
    # With two classes scikit-learn has one weight vector, the difference of our two: its squares weigh twice as much.
    by_hand = LogisticRegression(C=2 / (best["train"]["l2"] * len(train)), max_iter=5000, tol=1e-9)
    by_hand.fit(rows, [example.label for example in train])
    ours = torch.cat([one.unwrapped.head(part) for part in one.features.standardized(validation)]).softmax(dim=1)
    others = torch.cat(list(one.features.standardized(validation))).numpy()
    expected = torch.from_numpy(by_hand.predict_proba(others)).float()
    assert torch.allclose(ours, expected, atol=5e-3)
    assert [record["train"]["l2"] for record in result.history] == list(PENALTIES)


@pytest.mark.parametrize("lr", [1e10, 1e30, 1e38])
@pytest.mark.parametrize("ema", [None, 0.5])
def test_a_last_step_whose_weights_overflow_is_noticed_before_it_is_scored_or_kept(tmp_path, lr, ema):
    """The gradients of such a step are finite, and no step follows whose loss would tell."""
    one, train = trainer(epochs=1, batch_size=20, lr=lr, ema=ema, optimizer=Choice("sgd", SGD(momentum=0.9)))
    one.features.fit_scaler(train)
    kept = []
    with contextlib.suppress(NumericError):
        one.train(train, examples(10, "validation"), Checkpoints(tmp_path / "c"), lambda *told: kept.append(told))
    written = list((tmp_path / "c").glob("*/*.safetensors"))
    assert bool(kept) == bool(written)
    for file in written:
        assert all(bool(value.isfinite().all()) for value in load_file(file).values())


def test_outputs_that_are_not_finite_are_refused_with_their_examples(tmp_path):
    one, train = trainer()
    one.features.fit_scaler(train)
    with torch.no_grad():
        one.unwrapped.head.weight.fill_(float("inf"))
    with pytest.raises(NumericError, match="cannot be scored") as caught:
        one.evaluator.metrics(train[:3])
    assert caught.value.where == "examples: train0, train1, train2\nthe first weight that is not finite: head.weight"
