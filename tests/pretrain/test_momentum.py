"""BYOL's momentum encoder: where it begins, how it follows, what it leaves."""

import math
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from eye_gaze_data.batch import Batch
from pretrain.config import ContrastConfig
from pretrain.gaze import CELLS
from pretrain.module import ContrastModule
from saliency.config import OptimiserConfig
from saliency.module import TaskSettings
from tests.pretrain.test_module import Toy, make_batch

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*in eval mode.*"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*The number of training batches.*"),
    pytest.mark.filterwarnings("ignore:.*no `val_dataloader`.*"),
]
HEAD = {"hidden": 6, "out": 4}


def two_view_batch(images: int, seed: int) -> Batch:
    batch = make_batch(2 * images, seed)
    batch["index"] = torch.arange(images).repeat(2)
    batch["view"] = torch.arange(2).repeat_interleave(images)
    return batch


def make_byol(seed: int = 0, **config: Any) -> ContrastModule:  # noqa: ANN401
    settings = TaskSettings(
        "contrast", "contrast", {"byol": 1.0}, options={"byol": {**HEAD, "momentum": 0.9}},
        optimiser=OptimiserConfig(name="sgd", lr=0.5), seed=seed,
    )  # fmt: skip
    return ContrastModule(Toy(), settings, ContrastConfig.model_validate(config))


def copied(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


class Follow(pl.Callback):
    """Keeps encoder and momentum encoder after every step."""

    def __init__(self) -> None:
        self.steps: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:  # noqa: ANN401
        del trainer
        self.steps.append((copied(pl_module.network), copied(pl_module.target)))


def fitted(module: ContrastModule, batches: list[Batch], accumulate: int = 1) -> Follow:
    follow = Follow()
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, max_epochs=1,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[follow],
        accumulate_grad_batches=accumulate,
    )  # fmt: skip
    loader: DataLoader[Batch] = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    trainer.fit(module, loader)
    return follow


@pytest.mark.parametrize("encoder", ["encoder_a", "both"])
def test_it_follows_after_each_step_along_the_cosine(encoder: str) -> None:
    module = make_byol(encoder=encoder)
    with torch.no_grad():  # as a hand-over would, after the module was built
        for parameter in module.network.parameters():
            parameter.add_(0.25)
    begun = copied(module.network)
    steps = 5
    follow = fitted(module, [two_view_batch(4, seed) for seed in range(steps)])
    names = ["encoder_a.weight", "attention.encoder_a.1.weight"]
    names += ["encoder_b.weight"] if encoder == "both" else []
    for name in names:
        expected = begun[name]
        for k, (online, target) in enumerate(follow.steps):
            # 1 - (1 - 0.9) (cos(pi k / K) + 1) / 2, K steps counted from 0
            rate = 1 - 0.1 * (math.cos(math.pi * k / (steps - 1)) + 1) / 2
            expected = rate * expected + (1 - rate) * online[name]
            torch.testing.assert_close(target[name], expected)
    moved = follow.steps[-1]
    assert not torch.equal(moved[0]["encoder_a.weight"], begun["encoder_a.weight"])
    assert not torch.equal(moved[1]["encoder_a.weight"], begun["encoder_a.weight"])
    same = torch.equal(moved[1]["encoder_b.weight"], begun["encoder_b.weight"])
    assert same == (encoder == "encoder_a")


def test_it_follows_steps_of_the_optimiser_not_batches() -> None:
    module = make_byol()
    begun = copied(module.network)
    follow = fitted(module, [two_view_batch(4, seed) for seed in range(4)], accumulate=2)
    for batch, moved in enumerate([False, True, True, True]):
        target = follow.steps[batch][1]["encoder_a.weight"]
        assert torch.equal(target, begun["encoder_a.weight"]) != moved


def test_it_is_never_trained_nor_handed_over() -> None:
    module = make_byol()
    assert module.target is not None
    trained = {name for name, p in module.named_parameters() if p.requires_grad}
    assert not {name for name in trained if "target" in name}
    assert {name.split(".")[0] for name in trained} == {"network", "methods"}
    assert all(
        name.startswith(("encoder_a.", "attention.encoder_a.")) for name in module.exported()
    )
    state = module.state_dict()
    assert "target.encoder_a.weight" in state
    assert "methods.byol.target_head.layers.0.weight" in state


def test_its_modules_stand_as_the_network_s_do() -> None:
    module = make_byol()
    assert module.target is not None
    for parameter in module.network.get_submodule("encoder_b").parameters():
        parameter.requires_grad_(False)
    module.train()
    assert module.target.get_submodule("encoder_a").training
    assert not module.target.get_submodule("encoder_b").training
    module.eval()
    assert not module.target.get_submodule("encoder_a").training


def test_heads_depend_on_seed_and_stage_alone() -> None:
    heads = []
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(noise)
        before = torch.random.get_rng_state()
        heads.append(copied(make_byol(seed).methods))
        del before
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])
    assert not torch.equal(
        heads[0]["byol.predict.layers.0.weight"], heads[2]["byol.predict.layers.0.weight"]
    )


def test_both_encoders_give_one_vector() -> None:
    module, batch = make_byol(encoder="both"), two_view_batch(3, 0)
    parts = [module.network.encode(batch["image"], name) for name in ("encoder_a", "encoder_b")]
    expected = torch.cat([part.flatten(2).mean(2) for part in parts], 1)
    torch.testing.assert_close(module(batch), expected)
    assert expected.shape == (6, 7)
    assert {name.split(".")[0] for name in module.exported()} == {
        "encoder_a", "encoder_b", "attention"
    }  # fmt: skip


@pytest.mark.parametrize("positives", ["label", "patient", "gaze", "augmentation"])
def test_the_batch_says_what_is_positive(positives: str) -> None:
    settings = TaskSettings("contrast", "contrast", {"triplet": 1.0})
    config = ContrastConfig.model_validate({"positives": positives})
    cells = torch.rand(CELLS**2)
    batch = two_view_batch(3, 0)
    module = ContrastModule(Toy(), settings, config, {0: cells, 2: cells * 2})
    batch["labels"] = torch.eye(2)[[0, 0, 1, 0, 0, 1]]
    batch["patient_id"] = ["p", "q", "q", "p", "q", "q"]
    together = {"label": [0, 1], "patient": [1, 2], "gaze": [0, 2]}.get(positives, [])
    alike, unlike = module._pairs(batch, positives)  # type: ignore[arg-type]
    for i in range(6):
        for j in range(6):
            wanted = i != j and (i % 3 == j % 3 or {i % 3, j % 3} <= set(together))
            assert bool(alike[i, j]) == wanted, (i, j)
            unknown = positives == "gaze" and 1 in {i % 3, j % 3}
            assert bool(unlike[i, j]) == (i != j and not wanted and not unknown)
