"""Who moves when inside a stage: loss weights by epoch, tasks that mature, parts that wait, rates.

Nothing here changes an optimiser or ``requires_grad``: a part that rests keeps its place in both,
so that a stage resumes in the same bits at any epoch.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from eye_gaze_data.errors import ConfigError, nearest

Weight = float | Sequence[float]


@dataclass(frozen=True)
class TaskPart:
    """What one of several tasks of a stage owns.

    Attributes:
        losses: names of its losses; no other task has them.
        parameters: globs over the names of its own parameters; what no task owns is shared.
        rate: of its own parameters, relative to the optimiser's.
    """

    losses: frozenset[str]
    parameters: tuple[str, ...]
    rate: float = 1.0


@dataclass(frozen=True)
class Cooperation:
    """How the parts of a network take turns in a stage.

    Attributes:
        tasks: by name; once a task is mature its losses have no weight and its parameters rest.
        unfreeze: glob to the first epoch in which what it matches moves; the longest glob counts.
        rates: glob to a relative learning rate; the longest glob counts.
    """

    tasks: Mapping[str, TaskPart] = field(default_factory=dict)
    unfreeze: Mapping[str, int] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)

    def is_mature(self, loss: str, matured: Collection[str]) -> bool:
        """Whether a loss is one of a mature task."""
        return any(loss in self.tasks[task].losses for task in matured)

    def owned(self, task: str, names: Iterable[str]) -> frozenset[str]:
        """The parameters that a task owns, out of ``names``."""
        return frozenset(name for name in names if _matches(self.tasks[task].parameters, name))

    def resting(
        self, names: Iterable[str], epoch: int, matured: Collection[str] = ()
    ) -> frozenset[str]:
        """The parameters that do not move in an epoch, out of ``names``."""
        globs = [glob for task in matured for glob in self.tasks[task].parameters]
        return frozenset(
            name for name in names if epoch < self.first_epoch(name) or _matches(globs, name)
        )

    def first_epoch(self, name: str) -> int:
        """The first epoch in which a parameter moves."""
        glob = _longest(self.unfreeze, name)
        return 0 if glob is None else self.unfreeze[glob]

    def rate(self, name: str) -> float:
        """The relative learning rate of a parameter: its task's times that of its glob."""
        glob = _longest(self.rates, name)
        rate = 1.0 if glob is None else self.rates[glob]
        owners = [part for part in self.tasks.values() if _matches(part.parameters, name)]
        return rate * owners[0].rate if owners else rate

    def check(self, names: Sequence[str], stage: str) -> None:
        """Hold the globs against the parameters that a stage trains.

        Args:
            names: of the trained parameters.
            stage: its name.

        Raises:
            ConfigError: if a glob matches none of them, two tasks own the same one, or nothing
                moves in the first epoch.
        """
        keys = {
            "unfreeze": [*self.unfreeze],
            "optimiser.rates": [*self.rates],
            **{f"tasks.{name}.parameters": part.parameters for name, part in self.tasks.items()},
        }
        for key, globs in keys.items():
            for glob in globs:
                if not any(fnmatchcase(name, glob) for name in names):
                    parts = {f"{name.split('.')[0]}.*" for name in names}
                    raise ConfigError(
                        f"stage '{stage}': {key} '{glob}' matches no trained parameter; "
                        f"{nearest(glob, parts)}"
                    )
        owners: dict[str, str] = {}
        for task in self.tasks:
            for name in sorted(self.owned(task, names)):
                if owners.setdefault(name, task) != task:
                    raise ConfigError(
                        f"stage '{stage}': tasks '{owners[name]}' and '{task}' both own '{name}'; "
                        "leave what they share to neither"
                    )
        if names and len(self.resting(names, 0)) == len(names):
            raise ConfigError(f"stage '{stage}': 'unfreeze' lets nothing move in epoch 0")


def weight_in(weight: Weight, epoch: int) -> float:
    """The weight of a loss in an epoch; a sequence is gone through again and again."""
    return weight if isinstance(weight, float | int) else weight[epoch % len(weight)]


def mean_weight(weight: Weight) -> float:
    """The weight over a whole cycle, by which epochs compare."""
    return weight if isinstance(weight, float | int) else sum(weight) / len(weight)


def rate_groups(
    parameters: Iterable[tuple[str, nn.Parameter]], cooperation: Cooperation, lr: float
) -> list[dict[str, Any]]:
    """The groups of an optimiser, one a relative rate, the highest rate first.

    Args:
        parameters: names and parameters.
        cooperation: knows the relative rates.
        lr: of relative rate 1.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in parameters:
        groups.setdefault(cooperation.rate(name), []).append(parameter)
    return [
        {"params": groups[rate], "lr": lr * rate, "rate": rate}
        for rate in sorted(groups, reverse=True)
    ]


def _matches(globs: Iterable[str], name: str) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _longest(globs: Iterable[str], name: str) -> str | None:
    fitting = [glob for glob in globs if fnmatchcase(name, glob)]
    return max(fitting, key=lambda glob: (len(glob), glob)) if fitting else None
