"""Which maps of a network the attention consistency compares."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eye_gaze_data.batch import Batch
from eye_gaze_data.errors import ConfigError, nearest
from saliency.consistency import Normalise, attention_consistency
from saliency.context import paired_views
from saliency.density import density
from saliency.network import Network, Outputs, Task
from saliency.terms import LossTerm, joined


def consistency_term(
    outputs: Outputs,
    batch: Batch,
    head: nn.Linear | None,
    maps: Sequence[str],
    normalise: Normalise | None = None,
) -> LossTerm:
    """Attention consistency of several maps, over all cells that both views of an image show.

    Args:
        outputs: of all views.
        batch: of all views.
        head: linear classifier of the pooled map; None if ``class`` is not among the maps.
        maps: ``class``, the classes' activation maps; ``saliency``, the gaze map; or names of maps
            that attention sites or the network export.
        normalise: see ``attention_consistency``; if None ``density`` for the gaze map, whose logits
            are known up to a constant, and ``raw`` for all others.

    Raises:
        ConfigError: if there is no such map.
    """
    pairs, transform = paired_views(batch)
    terms = []
    for name in maps:
        how = normalise or ("density" if name == "saliency" else "raw")
        found = _map(name, outputs, batch, head)
        values = attention_consistency(found, pairs, transform, batch["valid"], how)
        terms.append(LossTerm(values))
    return joined(terms)


def linear_head(network: Network, task: Task, maps: Sequence[str]) -> nn.Linear | None:
    """The classifier whose weights make activation maps; None if they are not asked for.

    Args:
        network: with the class head.
        task: whose class head.
        maps: option of the loss.

    Raises:
        ConfigError: if the network's class head is not linear.
    """
    if "class" not in maps:
        return None
    head = network.class_head(task)
    if not isinstance(head, nn.Linear):
        raise ConfigError(
            f"loss 'attention_consistency' on the map 'class' needs a linear class head; that of a "
            f"{type(network).__name__} for task '{task}' is none. Name other maps in its option "
            "'maps', such as 'saliency' or one that an attention site exports"
        )
    return head


def class_maps(features: Tensor, head: nn.Linear) -> Tensor:
    """``H_k = sum_c w_kc F_c`` with the classifier's weights detached, without its bias.

    Args:
        features: (B, D, h, w), the map whose means are the first D inputs of the head.
        head: the classifier.

    Returns:
        (B, K, h, w) activations, neither cut off nor normalised (specs: attention systems, B.1).
    """
    weights = head.weight.detach()[:, : features.shape[1]]
    return torch.einsum("kd,bdhw->bkhw", weights, features)


def check_maps(outputs: Outputs, maps: Sequence[str]) -> None:
    """Check that a network gives the maps that are to be compared.

    Args:
        outputs: of any image.
        maps: option of the loss.

    Raises:
        ConfigError: naming the first that it does not give.
    """
    known = [*outputs.get("attention", {}), "class"]
    known += ["saliency"] if "saliency_logits" in outputs else []
    for name in maps:
        if name not in known:
            raise ConfigError(
                f"loss 'attention_consistency': the network exports no map '{name}'; "
                f"{nearest(name, known)}"
            )


def _map(name: str, outputs: Outputs, batch: Batch, head: nn.Linear | None) -> Tensor:
    check_maps(outputs, [name])
    if name == "class" and head is not None:
        return class_maps(outputs["features"]["classifier"], head)
    if name == "saliency":
        return density(outputs["saliency_logits"], batch["valid"])
    return outputs["attention"][name]
