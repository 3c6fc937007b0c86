"""What all tasks share: sums over known rows, the NaN guard, freezing, seeds, rates, optimisers."""

import math
import zlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from eye_gaze_data.batch import Batch
from eye_gaze_data.errors import StageError
from saliency.attention import AttentionContext
from saliency.config import LegacyConfig, OptimiserConfig, ScheduleConfig
from saliency.module import TaskModule, TaskSettings
from saliency.network import Network, Outputs, Task
from saliency.optimisers import build_optimiser, rate_factor
from saliency.terms import LossTerm

# Lightning's own use of torch, which experiments/runner.py silences, too.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*in eval mode.*"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
]
VALUES = {"square": [1.0, 2.0, 6.0], "level": [5.0]}


class Toy(Network):
    """A part that may be frozen, with norm and dropout, before a linear one."""

    tasks = frozenset({"classify", "saliency"})

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
        self.head = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))

    def forward(
        self, image: Tensor, task: Task = "joint", context: AttentionContext | None = None
    ) -> Outputs:
        del task, context
        return {"class_logits": self.head(self.body(image.flatten(1)))}


class ToyModule(TaskModule):
    """Squared errors over stated labels and the mean logit of rows with gaze."""

    def loss_terms(self, batch: Batch) -> dict[str, LossTerm]:
        logits = self.network(batch["image"])["class_logits"]
        known, gaze = ~batch["labels"].isnan(), ~batch["saliency"][:, 0, 0, 0].isnan()
        squares = (logits[known] - batch["labels"][known]).square()
        return {"square": LossTerm(squares), "level": LossTerm(logits[gaze].mean(1))}

    def validate(self, batch: Batch) -> None:
        self.tally("rows", torch.ones(len(batch["image"])))


def make_batch(rows: int = 6, seed: int = 0) -> Batch:
    """Random images and labels; every third label is unknown, every second row has no gaze."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(rows, 2, generator=generator) < 0.5).float()
    labels.view(-1)[::3] = torch.nan
    saliency = torch.full((rows, 1, 2, 2), 0.25)
    saliency[::2] = torch.nan
    return {
        "image": torch.rand(rows, 1, 2, 2, generator=generator),
        "valid": torch.ones(rows, 1, 2, 2, dtype=torch.bool),
        "frame": torch.eye(2, 3).expand(rows, 2, 3),
        "saliency": saliency,
        "fixations": saliency,
        "labels": labels,
        "anatomy": torch.full((rows, 0, 2, 2), torch.nan),
        "boxes": [torch.zeros(0, 4)] * rows,
        "box_labels": [torch.zeros(0, dtype=torch.int64)] * rows,
        "boxes_known": torch.zeros(rows, dtype=torch.bool),
        "index": torch.arange(rows),
        "view": torch.zeros(rows, dtype=torch.int64),
        "image_id": [f"film-{row}" for row in range(rows)],
        "patient_id": [f"patient-{row}" for row in range(rows)],
    }


def part(batch: Batch, rows: slice) -> Batch:
    return {key: value[rows] for key, value in batch.items()}  # type: ignore[index, return-value]


def make_module(**options: Any) -> ToyModule:  # noqa: ANN401
    options = {"losses": {"square": 2.0, "level": 0.5}, **options}
    return ToyModule(Toy(), TaskSettings("stage-a", "classify", **options))


def loader(batches: Sequence[Batch]) -> DataLoader[Batch]:
    return DataLoader(list(batches), batch_size=None)  # type: ignore[arg-type]


def make_trainer(**options: Any) -> pl.Trainer:  # noqa: ANN401
    return pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        logger=False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def fit(module: TaskModule, train: Sequence[Batch], valid: Sequence[Batch] = ()) -> pl.Trainer:
    trainer = make_trainer(limit_val_batches=len(valid))
    trainer.fit(module, loader(train), loader(valid))
    return trainer


def test_each_loss_is_a_mean_over_its_own_known_rows() -> None:
    terms = {name: LossTerm(torch.tensor(v)) for name, v in VALUES.items()}
    loss, means = make_module().total(terms)
    assert {name: mean.item() for name, mean in means.items()} == {"square": 3.0, "level": 5.0}
    assert loss.item() == 2 * 3 + 0.5 * 5


def test_a_loss_that_the_stage_does_not_name_is_logged_without_weight() -> None:
    terms = {name: LossTerm(torch.tensor(v)) for name, v in VALUES.items()}
    loss, means = make_module().total({"size": LossTerm(torch.tensor([4.0])), **terms})
    assert (loss.item(), means["size"].item()) == (8.5, 4.0)
    expected = (
        r"stage 'stage-a': none of its losses \['level', 'square'\] was computed; .*\['size'\]"
    )
    with pytest.raises(StageError, match=expected):
        make_module().total({"size": LossTerm(torch.tensor([4.0]))})


def test_values_may_have_weights_in_the_mean() -> None:
    values = torch.tensor([1.0, 2.0, 6.0], requires_grad=True)
    loss, means = make_module().total({"square": LossTerm(values, torch.tensor([1.0, 0.0, 3.0]))})
    assert means["square"].item() == 19 / 4
    assert loss.item() == 2 * 19 / 4
    (gradient,) = torch.autograd.grad(loss, values)
    assert gradient.tolist() == [0.5, 0.0, 1.5]
    nothing, _ = make_module().total({"square": LossTerm(values, torch.zeros(3))})
    assert nothing.item() == 0


def test_without_known_rows_a_term_is_zero_and_so_are_its_gradients() -> None:
    module, batch = make_module(), make_batch()
    batch["labels"][:] = torch.nan
    batch["saliency"][:] = torch.nan
    loss, terms = module.total(module.loss_terms(batch))
    assert loss.item() == 0
    assert [term.item() for term in terms.values()] == [0, 0]
    gradients = torch.autograd.grad(loss, list(module.network.parameters()))
    assert all((gradient == 0).all() for gradient in gradients)


def test_one_known_loss_is_not_disturbed_by_an_unknown_one() -> None:
    module, batch = make_module().eval(), make_batch()
    batch["saliency"][:] = torch.nan
    loss, _ = module.total(module.loss_terms(batch))
    parameters = list(module.network.parameters())
    logits = module.network(batch["image"])["class_logits"]
    wanted = [
        (logit - label).square()
        for logit, label in zip(logits.flatten(), batch["labels"].flatten(), strict=True)
        if not math.isnan(label)
    ]
    expected = 2 * torch.stack(wanted).mean()
    torch.testing.assert_close(loss, expected)
    found, slow = (torch.autograd.grad(x, parameters) for x in (loss, expected))
    for one, other in zip(found, slow, strict=True):
        torch.testing.assert_close(one, other)


def test_terms_are_normalised_over_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Averaged over ranks, as DDP does, the terms give the mean over all known rows."""
    ranks = [LossTerm(torch.tensor(values)) for values in ([1.0, 2.0, 6.0], [4.0], [])]

    def all_reduce(count: Tensor) -> None:
        count.fill_(4)

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    module = make_module()
    terms = [module.total({"square": term})[1]["square"] for term in ranks]
    assert sum(term.item() for term in terms) / 3 == pytest.approx(13 / 4)


@pytest.mark.parametrize("cuts", [(0, 12), (0, 5, 12), (0, 1, 2, 11, 12)])
def test_validation_does_not_depend_on_batches(cuts: tuple[int, ...]) -> None:
    module, batch = make_module(), make_batch(12)
    batch["labels"][:3] = torch.nan  # in the last case a batch without any known row
    batch["saliency"][:2] = torch.nan
    batches = [part(batch, slice(*ends)) for ends in pairwise(cuts)]
    trainer = make_trainer()
    trainer.validate(module, loader(batches), verbose=False)
    found = {name: value.item() for name, value in trainer.callback_metrics.items()}
    values = module.eval().loss_terms(batch)
    square, level = (values[name].values.mean().item() for name in ("square", "level"))
    assert found == pytest.approx(
        {
            "valid/square": square,
            "valid/level": level,
            "valid/loss": 2 * square + 0.5 * level,
            "valid/rows": 1.0,
        }
    )
    trainer.validate(module, loader(batches), verbose=False)  # the second epoch starts from nothing
    again = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert again == found


def test_a_loss_that_no_validation_row_knows_is_nan_and_no_part_of_the_sum() -> None:
    module, batch = make_module(), make_batch()
    batch["saliency"][:] = torch.nan
    trainer = make_trainer()
    trainer.validate(module, loader([batch]), verbose=False)
    found = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert math.isnan(found["valid/level"])
    assert found["valid/loss"] == pytest.approx(2 * found["valid/square"])
    batch["labels"][:] = torch.nan
    trainer.validate(module, loader([batch]), verbose=False)
    assert math.isnan(trainer.callback_metrics["valid/loss"].item())


def test_validation_is_the_mean_over_ranks_with_different_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, logged = make_module(), {}
    others = make_module()
    others.tally("square", torch.tensor([7.0]), 2.0)
    others.tally("level", torch.tensor([]), 0.5)

    def gather(parts: list[object], own: object) -> None:
        parts[:] = [own, others._means._tallies, {}]

    def log(values: Mapping[str, Tensor], **_: object) -> None:
        logged.update({name: value.item() for name, value in values.items()})

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    monkeypatch.setattr(module, "log_dict", log)
    module.on_validation_epoch_start()
    for values in ([1.0, 2.0], [3.0]):
        module.tally("square", torch.tensor(values), 2.0)
    module.on_validation_epoch_end()
    assert logged.pop("valid/level") != logged.get("valid/level")
    assert logged == {"valid/square": 13 / 4, "valid/loss": 2 * 13 / 4}


def test_training_logs_the_loss_and_its_terms() -> None:
    module, batch = make_module(optimiser=OptimiserConfig(lr=1e-9)), make_batch()
    for dropout in (module.network.get_submodule(name) for name in ("body.2", "head.1")):
        assert isinstance(dropout, nn.Dropout)
        dropout.p = 0.0
    other = make_batch(4, seed=1)
    other["saliency"][:] = torch.nan
    trainer = fit(module, [batch, other])
    found = {name: value.item() for name, value in trainer.callback_metrics.items()}
    both = [module.train().loss_terms(one) for one in (batch, other)]
    square, level = (
        torch.cat([terms[name].values for terms in both]).mean().item()
        for name in ("square", "level")
    )
    losses = [module.total(terms)[0].item() for terms in both]
    loss = (6 * losses[0] + 4 * losses[1]) / 10
    expected = {"train/square": square, "train/level": level, "train/loss": loss}
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_loss_that_is_not_finite_stops_the_stage_and_says_where() -> None:
    module, batches = make_module(), [make_batch(), make_batch(seed=1)]
    batches[1]["image"][4] = torch.nan
    expected = (
        r"stage 'stage-a', epoch 0, batch 1: the loss is not finite \(square nan, level nan; "
        r"learning rate 0.0001\) for images film-0, film-1, film-2, film-3, film-4, film-5\. "
        r"The last checkpoint is untouched"
    )
    with pytest.raises(StageError, match=expected):
        fit(module, batches)


def test_frozen_parts_stay_in_evaluation_mode() -> None:
    module = make_module()
    module.network.get_submodule("body").requires_grad_(False)
    module.train()
    modes = {name: part.training for name, part in module.network.named_modules()}
    body = ("body", "body.0", "body.1", "body.2")
    assert modes == dict.fromkeys(body, False) | dict.fromkeys(
        ("", "head", "head.0", "head.1"), True
    )
    module.eval()
    assert not any(part.training for part in module.modules())
    module.train()
    assert {name: part.training for name, part in module.network.named_modules()} == modes
    module.network.requires_grad_(True)
    module.train()
    assert all(part.training for part in module.modules())


def test_training_changes_no_frozen_parameter_and_no_frozen_statistic() -> None:
    module = make_module(optimiser=OptimiserConfig(lr=0.1))
    module.network.get_submodule("body").requires_grad_(False)
    module.train()
    before = {name: value.clone() for name, value in module.network.state_dict().items()}
    fit(module, [make_batch(), make_batch(seed=1)], [make_batch(seed=2)])
    after = module.exported()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"head.0.weight", "head.0.bias"}
    assert not module.network.get_submodule("body").training


def test_a_checkpoint_holds_what_moves_and_is_whole_again_when_it_is_read() -> None:
    module = make_module()
    module.network.get_submodule("body").requires_grad_(False)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    checkpoint = {"state_dict": dict(state)}
    module.on_save_checkpoint(checkpoint)
    assert set(checkpoint["state_dict"]) == {"network.head.0.weight", "network.head.0.bias"}
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint["state_dict"])
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def test_statistics_that_drift_stay_in_the_checkpoint() -> None:
    module = make_module(legacy=LegacyConfig(drifting_statistics=True))
    module.network.get_submodule("body").requires_grad_(False)
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    statistics = {"running_mean", "running_var", "num_batches_tracked"}
    kept = {f"network.body.1.{name}" for name in statistics}
    assert set(checkpoint["state_dict"]) == {"network.head.0.weight", "network.head.0.bias", *kept}


def draws(module: TaskModule, step: int, batch_idx: int, monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(type(module), "global_step", step)
    module.on_train_batch_start(make_batch(), batch_idx)
    return torch.rand(()).item()


def test_dropout_depends_on_seed_stage_step_and_batch_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(17)
    first = draws(make_module(seed=3), 5, 2, monkeypatch)
    torch.manual_seed(zlib.crc32(repr((3, "stage-a", 5, 2, 0)).encode()))
    assert torch.rand(()).item() == first
    assert draws(make_module(seed=3), 5, 2, monkeypatch) == first
    other = ToyModule(Toy(), TaskSettings("stage-b", "classify", {}, seed=3))
    found = {
        first,
        draws(make_module(seed=4), 5, 2, monkeypatch),
        draws(other, 5, 2, monkeypatch),
        draws(make_module(seed=3), 6, 2, monkeypatch),
        draws(make_module(seed=3), 5, 3, monkeypatch),  # a step may accumulate several batches
    }
    assert len(found) == 5


def test_warm_up_rises_linearly_and_then_stays() -> None:
    factor = rate_factor(ScheduleConfig(warmup=0.4), 10)
    assert [factor(step) for step in range(10)] == pytest.approx([0.2, 0.4, 0.6, 0.8] + [1.0] * 6)
    plain = rate_factor(ScheduleConfig(), 10)
    assert [plain(step) for step in (0, 5, 9, 99)] == [1.0] * 4


def test_the_cosine_falls_from_one_to_the_final_rate() -> None:
    factor = rate_factor(ScheduleConfig(name="cosine", final=0.1), 8)
    expected = [0.1 + 0.9 * (1 + math.cos(math.pi * step / 8)) / 2 for step in range(9)]
    assert [factor(step) for step in range(9)] == pytest.approx(expected)
    assert factor(0) == 1.0
    assert factor(4) == pytest.approx(0.55)
    assert factor(8) == pytest.approx(0.1)
    assert factor(1000) == pytest.approx(0.1)


def test_warm_up_and_cosine_meet() -> None:
    factor = rate_factor(ScheduleConfig(name="cosine", final=0.0, warmup=0.25), 8)
    values = [factor(step) for step in range(8)]
    assert values[:2] == pytest.approx([1 / 3, 2 / 3])
    assert values[2] == 1.0
    assert values[2:] == pytest.approx([(1 + math.cos(math.pi * k / 6)) / 2 for k in range(6)])


@pytest.mark.parametrize(
    ("config", "kind", "expected"),
    [
        ({}, torch.optim.Adam, {"lr": 1e-4, "weight_decay": 0.0, "betas": (0.9, 0.999)}),
        ({"name": "adam", "weight_decay": 0.1}, torch.optim.Adam, {"weight_decay": 0.1}),
        ({"name": "adamw", "lr": 0.2, "weight_decay": 0.1}, torch.optim.AdamW, {"lr": 0.2}),
        ({"name": "sgd", "momentum": 0.9}, torch.optim.SGD, {"momentum": 0.9, "nesterov": False}),
    ],
)
def test_optimisers_are_as_configured(
    config: dict[str, Any], kind: type[torch.optim.Optimizer], expected: dict[str, Any]
) -> None:
    parameter = nn.Parameter(torch.zeros(2))
    optimiser = build_optimiser(OptimiserConfig(**config), [parameter])
    assert type(optimiser) is kind
    assert optimiser.param_groups[0]["params"] == [parameter]
    assert expected.items() <= optimiser.param_groups[0].items()


@pytest.mark.parametrize("name", ["constant", "cosine", "plateau"])
def test_only_what_is_trained_is_optimised_and_the_rate_follows_the_schedule(name: str) -> None:
    warmup = 0.0 if name == "plateau" else 0.5
    schedule = ScheduleConfig.model_validate({"name": name, "warmup": warmup, "final": 0.0})
    module = make_module(optimiser=OptimiserConfig(name="sgd", lr=0.1), schedule=schedule)
    module.network.get_submodule("body").requires_grad_(False)
    trainer = fit(module, [make_batch(seed=seed) for seed in range(4)])
    (optimiser,) = trainer.optimizers
    trained = {id(p) for p in optimiser.param_groups[0]["params"]}
    assert trained == {id(p) for p in module.network.get_submodule("head").parameters()}
    factor = 1.0 if name == "plateau" else rate_factor(schedule, 4)(4)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.1 * factor)
    assert len(trainer.lr_scheduler_configs) == (name != "plateau")


def test_a_fused_optimiser_clips_in_half_precision_as_a_plain_one_does() -> None:
    """Lightning itself refuses: gradients might be scaled. In bfloat16 they are not."""
    found = []
    for fused in (False, True):
        module = make_module(optimiser=OptimiserConfig(name="sgd", lr=1.0), fused=fused)
        trainer = make_trainer(limit_val_batches=0, gradient_clip_val=0.01, precision="bf16-mixed")
        before = [p.detach().clone() for p in module.parameters()]
        trainer.fit(module, loader([make_batch()]), loader([]))
        steps = [p.detach() - b for p, b in zip(module.parameters(), before, strict=True)]
        norm = torch.stack([step.norm() for step in steps]).norm()
        assert float(norm) == pytest.approx(0.01, rel=1e-3)
        found.append(steps)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_a_batch_is_moved_with_all_its_tensors() -> None:
    batch = make_batch()
    moved = make_module().transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert moved.keys() == batch.keys()
    assert moved["image"].device.type == moved["boxes"][0].device.type == "meta"
    assert moved["image_id"] == batch["image_id"]


def test_the_base_class_leaves_losses_and_metrics_to_the_tasks() -> None:
    module = TaskModule(Toy(), TaskSettings("stage", "classify", {}))
    with pytest.raises(NotImplementedError):
        module.loss_terms(make_batch())
    with pytest.raises(NotImplementedError):
        module.validate(make_batch())
    with pytest.raises(NotImplementedError):
        Network()(torch.zeros(1, 1, 2, 2))
    with pytest.raises(NotImplementedError):
        Network().encode(torch.zeros(1, 1, 2, 2), "encoder_a")
