"""The contrast task: what is embedded, which triplets count when, what is handed over."""

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from eye_gaze_data.batch import Batch
from pretrain.config import ContrastConfig
from pretrain.losses import triplet_loss
from pretrain.module import ContrastModule
from pretrain.positives import label_pairs
from saliency.attention import AttentionContext
from saliency.module import TaskSettings
from saliency.network import Network

pytestmark = [  # Lightning's own, which experiments/runner.py silences, too
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*in eval mode.*"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
]


def make_encoder(width: int) -> nn.Conv2d:
    encoder = nn.Conv2d(1, width, 3, stride=2)
    encoder.channels = (width,)  # type: ignore[assignment]
    return encoder


class Toy(Network):
    """Two encoders of one convolution each, and more."""

    tasks = frozenset({"contrast"})

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder_a = make_encoder(4)
        self.encoder_b = make_encoder(3)
        self.encoder_classifier = nn.Linear(4, 2)
        self.attention = nn.ModuleDict(
            {name: nn.ModuleDict({"1": nn.Linear(2, 2)}) for name in ("encoder_a", "skip")}
        )
        self.calls: list[str] = []

    def encode(
        self, image: Tensor, encoder: str, context: AttentionContext | None = None
    ) -> Tensor:
        del context
        self.calls.append(encoder)
        features: Tensor = self.get_submodule(encoder)(image)
        return features


def make_batch(rows: int = 8, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    unknown = torch.full((rows, 1, 7, 7), torch.nan)
    labels = torch.eye(3)[torch.randint(0, 3, (rows,), generator=generator)]
    labels[1] = torch.nan
    return {
        "image": torch.rand(rows, 1, 7, 7, generator=generator),
        "valid": torch.ones(rows, 1, 7, 7, dtype=torch.bool),
        "frame": torch.eye(2, 3).repeat(rows, 1, 1),
        "saliency": unknown,
        "fixations": unknown,
        "labels": labels,
        "anatomy": torch.zeros(rows, 0, 7, 7),
        "boxes": [torch.zeros(0, 4)] * rows,
        "box_labels": [torch.zeros(0, dtype=torch.int64)] * rows,
        "boxes_known": torch.zeros(rows, dtype=torch.bool),
        "index": torch.arange(rows) % 7,
        "view": torch.zeros(rows, dtype=torch.int64),
        "image_id": [str(row) for row in range(rows)],
        "patient_id": [str(row) for row in range(rows)],
    }


def make_module(config: ContrastConfig | None = None, **options: object) -> ContrastModule:
    settings = TaskSettings("contrast", "contrast", {"triplet": 2.0}, options={"triplet": options})
    return ContrastModule(Toy(), settings, config or ContrastConfig())


def embed_by_hand(
    module: ContrastModule, batch: Batch, encoder: str = "encoder_a", *, normalise: bool = False
) -> Tensor:
    maps: Tensor = module.network.get_submodule(encoder)(batch["image"])
    pooled = maps.flatten(2).sum(2) / 9
    if normalise:
        pooled = pooled / pooled.square().sum(1, keepdim=True).sqrt()
    return pooled


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("encoder", ["encoder_a", "encoder_b"])
def test_an_embedding_is_the_mean_of_the_encoder_s_last_map(encoder: str, normalise: bool) -> None:
    config = ContrastConfig.model_validate({"encoder": encoder})
    module, batch = make_module(config, normalise=normalise), make_batch()
    expected = embed_by_hand(module, batch, encoder)
    torch.testing.assert_close(module(batch), expected)
    expected = embed_by_hand(module, batch, encoder, normalise=normalise)
    values = triplet_loss(expected, *label_pairs(batch["labels"], batch["index"]))
    torch.testing.assert_close(module.loss_terms(batch)["triplet"].values, values)


@pytest.mark.parametrize("training", [True, False])
def test_training_counts_active_triplets_and_validation_all(training: bool) -> None:
    module, batch = make_module(ContrastConfig(jaccard=0.7), margin=0.02), make_batch()
    module.train(training)
    (name, term), *rest = module.loss_terms(batch).items()
    assert (name, rest) == ("triplet", [])
    embeddings = embed_by_hand(module, batch)
    pairs = label_pairs(batch["labels"], batch["index"], 0.7)
    every = triplet_loss(embeddings, *pairs, 0.02, active_only=False)
    expected = every[every > 0] if training else every
    assert 0 < len(every[every > 0]) < len(every)
    torch.testing.assert_close(term.values, expected, rtol=1e-4, atol=1e-6)
    loss, _ = module.total({name: term})
    torch.testing.assert_close(loss, 2 * expected.mean(), rtol=1e-4, atol=1e-6)


def test_a_batch_without_pairs_is_no_obstacle() -> None:
    module, batch = make_module(), make_batch()
    batch["labels"][:] = torch.nan
    batch["index"] = torch.arange(8)
    loss, _ = module.total(module.loss_terms(batch))
    assert loss.item() == 0
    parameters = list(module.network.get_submodule("encoder_a").parameters())
    assert all((gradient == 0).all() for gradient in torch.autograd.grad(loss, parameters))


def test_validation_is_over_all_triplets_of_all_batches_with_one_pass() -> None:
    module = make_module(margin=0.02)
    batches = [make_batch(8, 0), make_batch(3, 1), make_batch(12, 2)]
    batches[1]["labels"][:] = torch.nan  # no triplet at all
    batches[1]["index"] = torch.arange(3)
    loader: DataLoader[Batch] = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.validate(module, loader, verbose=False)
    found = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert isinstance(module.network, Toy)
    assert module.network.calls == ["encoder_a"] * 3
    hinges, ordered = [], []
    for batch in batches:
        with torch.no_grad():
            embeddings = embed_by_hand(module, batch).double()
        alike, unlike = label_pairs(batch["labels"], batch["index"])
        for a, p in alike.nonzero().tolist():
            for n in unlike[a].nonzero()[:, 0].tolist():
                near = (embeddings[a] - embeddings[p]).norm().item()
                far = (embeddings[a] - embeddings[n]).norm().item()
                hinges.append(max(0.0, near - far + 0.02))
                ordered.append(near < far)
    assert len(hinges) > 100
    assert found["valid/triplet"] == pytest.approx(sum(hinges) / len(hinges), rel=1e-4)
    assert found["valid/loss"] == pytest.approx(2 * found["valid/triplet"])
    assert found["valid/ordered"] == pytest.approx(sum(ordered) / len(ordered), abs=1e-6)
    assert 0.2 < found["valid/ordered"] < 0.8


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [
        (
            "encoder_a",
            {"encoder_a.weight", "encoder_a.bias"}
            | {f"attention.encoder_a.1.{name}" for name in ("weight", "bias")},
        ),
        ("encoder_b", {"encoder_b.weight", "encoder_b.bias"}),
    ],
)
def test_the_encoder_is_handed_over_alone(encoder: str, expected: set[str]) -> None:
    module = make_module(ContrastConfig.model_validate({"encoder": encoder}))
    exported = module.exported()
    assert set(exported) == expected
    state = module.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in exported.items())
