"""Weights by epoch, parts that rest, rates: by value, and that what rests is not touched at all."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eye_gaze_data.errors import ConfigError
from saliency.config import OptimiserConfig
from saliency.cooperation import Cooperation, TaskPart, mean_weight, rate_groups, weight_in
from saliency.module import TaskModule, TaskSettings
from tests.saliency.test_module import Toy, ToyModule, fit, loader, make_batch, make_trainer

# Lightning's own use of torch, which experiments/runner.py silences, too.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*in eval mode.*"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
]
NAMES = ["a.first.weight", "a.second.weight", "b.weight", "head.bias"]
TASKS = {
    "left": TaskPart(frozenset({"square"}), ("a.*",), 0.5),
    "right": TaskPart(frozenset({"level"}), ("b.*", "head.*"), 3.0),
}
DECAY = OptimiserConfig(name="adamw", lr=0.1, weight_decay=0.5)


def test_a_list_of_weights_is_gone_through_again_and_again() -> None:
    assert [weight_in((1.0, 0.0, 0.5), epoch) for epoch in range(5)] == [1.0, 0.0, 0.5, 1.0, 0.0]
    assert [weight_in(2.0, epoch) for epoch in range(2)] == [2.0, 2.0]
    assert (mean_weight((1.0, 0.0, 0.5)), mean_weight(2.0)) == (0.5, 2.0)


def test_what_is_not_to_move_yet_and_what_has_matured_rests() -> None:
    cooperation = Cooperation(TASKS, unfreeze={"a.*": 3, "a.second.*": 1})
    first, second, b, head = NAMES
    assert cooperation.resting(NAMES, 0) == {first, second}
    assert cooperation.resting(NAMES, 1) == {first}
    assert cooperation.resting(NAMES, 3) == set()
    assert cooperation.resting(NAMES, 2, {"right"}) == {first, b, head}
    assert cooperation.resting(NAMES, 3, {"left", "right"}) == set(NAMES)
    assert cooperation.owned("right", NAMES) == {b, head}
    assert cooperation.is_mature("level", {"right"})
    assert not cooperation.is_mature("square", {"right"})


def test_the_rate_is_that_of_the_task_times_that_of_the_longest_glob() -> None:
    cooperation = Cooperation(TASKS, rates={"a.*": 0.1, "a.second.*": 0.2, "*": 2.0})
    rates = [cooperation.rate(name) for name in NAMES]
    assert rates == pytest.approx([0.5 * 0.1, 0.5 * 0.2, 3 * 2.0, 3 * 2.0])
    assert Cooperation().rate("a") == 1.0


def test_groups_hold_each_parameter_once_the_highest_rate_first() -> None:
    named = [(name, nn.Parameter(torch.zeros(2))) for name in NAMES]
    groups = rate_groups(named, Cooperation(TASKS), 0.2)
    assert [(g["rate"], g["lr"]) for g in groups] == [
        (3.0, pytest.approx(0.6)),
        (0.5, pytest.approx(0.1)),
    ]
    held = [[name for name, p in named for q in g["params"] if p is q] for g in groups]
    assert held == [["b.weight", "head.bias"], ["a.first.weight", "a.second.weight"]]


@pytest.mark.parametrize(
    ("cooperation", "message"),
    [
        (Cooperation(unfreeze={"c.*": 1}), "unfreeze 'c.*' matches no trained parameter"),
        (Cooperation(rates={"hed.*": 2.0}), r"optimiser.rates 'hed.*' matches .* mean 'head.\*'"),
        (
            Cooperation({"left": TaskPart(frozenset(), ("z.*",))}),
            "tasks.left.parameters 'z.*' matches no trained parameter",
        ),
        (
            Cooperation(TASKS | {"both": TaskPart(frozenset(), ("a.first.*",))}),
            "tasks 'left' and 'both' both own 'a.first.weight'; leave what they share to neither",
        ),
        (Cooperation(unfreeze={"*": 1}), "'unfreeze' lets nothing move in epoch 0"),
    ],
)
def test_globs_that_cannot_be_meant_are_refused(cooperation: Cooperation, message: str) -> None:
    with pytest.raises(ConfigError, match=f"stage 's': {message}"):
        cooperation.check(NAMES, "s")
    Cooperation(TASKS, {"a.*": 1}, {"b.*": 2.0}).check(NAMES, "s")


def made(losses: Mapping[str, Any], **options: Any) -> ToyModule:  # noqa: ANN401
    settings = TaskSettings("stage-a", "classify", losses, optimiser=DECAY, **options)
    return ToyModule(Toy(), settings)


def changed(module: ToyModule, before: Mapping[str, Tensor]) -> set[str]:
    after = module.exported()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def state(module: TaskModule) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.network.state_dict().items()}


def test_a_part_rests_until_its_epoch_even_from_weight_decay_and_in_its_statistics() -> None:
    module = made({"square": 1.0}, cooperation=Cooperation(unfreeze={"body.*": 1}))
    before = state(module)
    fit(module, [make_batch()], [make_batch(seed=1)])
    assert changed(module, before) == {"head.0.weight", "head.0.bias"}
    assert not module.network.get_submodule("body.1").training
    assert module.network.get_submodule("head").training

    module = made({"square": 1.0}, cooperation=Cooperation(unfreeze={"body.*": 1}))
    trainer = make_trainer(limit_val_batches=0)
    trainer.fit_loop.max_epochs = 2
    trainer.fit(module, loader([make_batch()]), loader([]))
    assert changed(module, before) == set(before)
    assert module.network.get_submodule("body.1").training


def test_a_resting_part_does_not_count_in_the_clipped_norm() -> None:
    """The gradient is cut after what rests is out of it."""
    module = made({"square": 100.0}, cooperation=Cooperation(unfreeze={"body.*": 1}))
    module.settings = TaskSettings(
        "s", "classify", {"square": 100.0}, cooperation=module.settings.cooperation,
        optimiser=OptimiserConfig(name="sgd", lr=1.0),
    )  # fmt: skip
    before = state(module)
    trainer = make_trainer(limit_val_batches=0, gradient_clip_val=0.01)
    trainer.fit(module, loader([make_batch()]), loader([]))
    steps = [module.network.state_dict()[n] - before[n] for n in ("head.0.weight", "head.0.bias")]
    moved = torch.cat([step.flatten() for step in steps]).norm()
    assert moved.item() == pytest.approx(0.01, rel=1e-3)


def test_a_loss_without_weight_is_neither_computed_nor_does_it_move_anything() -> None:
    class Apart(ToyModule):
        """Two losses that read a half of the network each; counts what is computed."""

        asked: list[list[str]]

        def loss_terms(self, batch: Any) -> Any:  # noqa: ANN401
            self.asked = [*getattr(self, "asked", []), self.wanted_losses()]
            terms = super().loss_terms(batch)
            return {name: terms[name] for name in self.wanted_losses()}

    settings = TaskSettings(
        "s", "classify", {"square": (0.0, 1.0), "level": (1.0, 0.0)}, optimiser=DECAY
    )
    module = Apart(Toy(), settings)
    trainer = make_trainer(limit_val_batches=1)
    trainer.fit_loop.max_epochs = 2
    trainer.fit(module, loader([make_batch()]), loader([make_batch()]))
    both = ["square", "level"]
    assert module.asked == [["level"], both, ["square"], both]
    found = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert (found["train/weight_square"], found["train/weight_level"]) == (1.0, 0.0)
    # By the weights of a whole cycle, so that epochs compare.
    expected = 0.5 * found["valid/square"] + 0.5 * found["valid/level"]
    assert found["valid/loss"] == pytest.approx(expected, rel=1e-6)


def test_what_only_an_idle_loss_reads_is_left_alone_by_decay() -> None:
    class Halves(ToyModule):
        """``level`` reads the body alone, ``square`` all."""

        def loss_terms(self, batch: Any) -> Any:  # noqa: ANN401
            terms = super().loss_terms(batch)
            body = self.network.get_submodule("body")(batch["image"].flatten(1))
            terms["level"] = terms["level"]._replace(values=body.flatten().square())
            return {name: terms[name] for name in self.wanted_losses()}

    settings = TaskSettings("s", "classify", {"square": (0.0,), "level": (1.0,)}, optimiser=DECAY)
    module = Halves(Toy(), settings)
    before = state(module)
    fit(module, [make_batch(), make_batch(seed=1)])
    moved = changed(module, before)
    assert {"body.0.weight", "body.1.weight"} <= moved
    assert not {name for name in moved if name.startswith("head")}


def test_a_mature_task_has_no_weight_and_its_part_rests() -> None:
    tasks = {
        "left": TaskPart(frozenset({"square"}), ("head.*",)),
        "right": TaskPart(frozenset({"level"}), ("body.*",)),
    }
    module = made({"square": 1.0, "level": 2.0}, cooperation=Cooperation(tasks))
    assert (module.weight("square"), module.weight("level"), module.idle()) == (1.0, 2.0, [])
    module.matured = {"left"}
    assert (module.weight("square"), module.weight("level")) == (0.0, 2.0)
    assert (module.wanted_losses(), module.eval().wanted_losses()) == (
        ["level"],
        ["square", "level"],
    )
    before = state(module.train())
    fit(module, [make_batch(), make_batch(seed=1)], [make_batch(seed=2)])
    assert {name.split(".")[0] for name in changed(module, before)} == {"body"}
    assert not module.network.get_submodule("head.1").training


def test_relative_rates_are_those_of_the_steps() -> None:
    """Plain SGD: the step of a parameter is its rate times its gradient."""
    steps = {}
    for name, rates in {"one": {}, "many": {"head.*": 0.25}}.items():
        module = made({"square": 1.0}, cooperation=Cooperation(rates=rates))
        plain = OptimiserConfig(name="sgd", lr=0.1)
        module.settings = TaskSettings(
            "s", "classify", {"square": 1.0},
            cooperation=module.settings.cooperation, optimiser=plain,
        )  # fmt: skip
        before = state(module)
        fit(module, [make_batch()])
        after = module.exported()
        steps[name] = {n: after[n] - before[n] for n, _ in module.network.named_parameters()}
    for name, step in steps["many"].items():
        factor = 0.25 if name.startswith("head") else 1.0
        torch.testing.assert_close(step, factor * steps["one"][name], rtol=1e-4, atol=1e-7)
