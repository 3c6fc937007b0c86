"""Which rows an epoch holds, and in which order: a function of (seed, epoch) alone.

Lightning's own samplers do not resume bit for bit: on a restart the loader is iterated before its
epoch is set. This sampler asks the trainer for the epoch when it is iterated, and shards by rank
itself, so that results are the same after a restart and for any number of workers.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch.utils.data import Sampler

from .dataset import Key
from .errors import ConfigError

Rows = npt.NDArray[np.int64]


class EpochSampler(Sampler[Key]):
    """Yields ``(epoch, row, repeat)`` in training, ``(0, row)`` in validation and test.

    In training every rank yields the same number of keys; in validation and test the ranks share
    the rows, each row once, so that one rank may yield a key more than another.

    Args:
        rows: the rows of each part of the mix.
        weights: share of each part in an epoch; None for each row once.
        seed: of the run.
        epoch: gives the current epoch.
        shuffle: false for validation and test: rows in order, epoch 0.
        batch_size: an incomplete last batch is dropped in training, unless it is the only one.
        rank: of this process.
        world_size: number of processes.
        length: keys an epoch of a weighted mix holds over all ranks; the number of rows if None.
    """

    def __init__(
        self,
        rows: Mapping[str, Rows],
        weights: Mapping[str, float] | None = None,
        *,
        seed: int = 0,
        epoch: Callable[[], int] = lambda: 0,
        shuffle: bool = True,
        batch_size: int = 1,
        rank: int = 0,
        world_size: int = 1,
        length: int | None = None,
    ) -> None:
        empty = [name for name, part in rows.items() if len(part) == 0]
        if empty or not rows:
            raise ConfigError(f"no image to draw from in {empty or 'an empty mix'}")
        if weights is not None and not _are_shares(weights, rows):
            raise ConfigError(
                f"a mix needs for each of {sorted(rows)} a weight of at least 0, one of them above "
                f"0, got {dict(weights)}"
            )
        self.rows, self.weights, self.seed = dict(rows), weights, seed
        self.epoch, self.shuffle, self.batch_size = epoch, shuffle, batch_size
        self.rank, self.world_size = rank, world_size
        rows_in_all = sum(len(part) for part in rows.values())
        self.total = length if length and weights is not None else rows_in_all
        if shuffle and self.total < world_size:
            raise ConfigError(f"{self.total} image(s) cannot be shared by {world_size} processes")

    def __len__(self) -> int:
        if not self.shuffle:
            return len(range(self.rank, self.total, self.world_size))
        share = self.total // self.world_size
        return max(share - share % self.batch_size, min(share, self.batch_size))

    def __iter__(self) -> Iterator[Key]:
        if not self.shuffle:
            rows = np.concatenate(list(self.rows.values()))
            yield from ((0, int(row)) for row in rows[self.rank :: self.world_size])
            return
        epoch = self.epoch()
        order = self._order(np.random.default_rng([self.seed, epoch]))
        repeats = pd.Series(order).groupby(order).cumcount().to_numpy()
        mine = slice(self.rank, None, self.world_size)
        for row, repeat in zip(order[mine][: len(self)], repeats[mine], strict=False):
            yield epoch, int(row), int(repeat)

    def _order(self, rng: np.random.Generator) -> Rows:
        if self.weights is None:
            return np.asarray(rng.permutation(np.concatenate(list(self.rows.values()))))
        shares = np.array([self.weights[name] for name in self.rows])
        # Largest remainder: each part gets its exact share of an epoch, to the row.
        exact = shares / shares.sum() * self.total
        counts = np.floor(exact).astype(np.int64)
        counts[np.argsort(counts - exact, kind="stable")[: self.total - counts.sum()]] += 1
        drawn = [_repeat(part, n, rng) for part, n in zip(self.rows.values(), counts, strict=True)]
        return np.asarray(rng.permutation(np.concatenate(drawn)))


def _are_shares(weights: Mapping[str, float], rows: Mapping[str, Rows]) -> bool:
    shares = np.array([weights.get(name, np.nan) for name in rows])
    return bool((np.isfinite(shares) & (shares >= 0)).all() and shares.sum() > 0)


def _repeat(rows: Rows, count: int, rng: np.random.Generator) -> Rows:
    """``count`` rows: whole permutations, then a part of one, so that no row falls far behind."""
    rounds = -(-count // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(max(rounds, 1))])[:count]
