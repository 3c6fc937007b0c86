"""CPU time and peak memory of the steps of a study against the number of films, one thread.

    python -m benchmarks.scale [--sizes 1000 10000] [--work DIR] [STEP ...]

Each step runs in a process of its own, on the same synthetic films of 32x32 pixels (of every tenth
somebody's gaze is known). Starting it costs the same at any size, so beside seconds and peak the
table says what one film more costs, from one size to the next. Results stay in ``DIR``: steps may
be measured one at a time, and the table shows all that were.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from .scale_files import FINDINGS, write_files

GAZEDX = ("-m", "experiments")
# In this order: each finds what those before it left.
STEPS: dict[str, tuple[str, ...]] = {
    "prepare": (*GAZEDX, "data", "prepare", "raw.yaml", "--out", "ready", "--workers", "1"),
    "data check": (*GAZEDX, "data", "check", "raw.yaml"),
    "config check": (*GAZEDX, "config", "check", "raw.yaml"),
    "epoch": ("-m", "benchmarks.scale", "--epoch", "ready.yaml"),
    "evaluate": (*GAZEDX, "evaluate", "run", "--device", "cpu"),
    "report": (*GAZEDX, "report", "run"),
    "compare": (*GAZEDX, "compare", "run", "other"),
    "score": (*GAZEDX, "score", "--maps", "maps", "--fixations", "fixations.csv",
              "--grid", "32"),
}  # fmt: skip
# What a step leaves, to be deleted before it is measured again.
LEFT = {"prepare": "ready", "evaluate": "run", "score": "scores", "compare": "other"}
TRAIN = (*GAZEDX, "finetune", "ready.yaml", "--out", "run", "--quiet")


def measure(folder: Path, step: str) -> dict[str, float]:
    """CPU seconds (user and system), peak in MB and wall seconds of one step."""
    if step in LEFT:
        shutil.rmtree(folder / LEFT[step], ignore_errors=True)
    if step == "evaluate":
        spent(folder, TRAIN)
    if step == "compare":
        another_run(folder)
    return spent(folder, STEPS[step])


def spent(folder: Path, arguments: Sequence[str]) -> dict[str, float]:
    """What a Python process costs; its output is kept beside the films."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    environment = {**os.environ, **threads, "PYTHONPATH": str(Path(__file__).parents[1])}
    log = os.open(folder / "log.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    begun = time.monotonic()
    command = [sys.executable, *arguments]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)  # noqa: S603
    os.close(log)
    # Unlike Popen.wait this gives the resources that were used.
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        sys.exit(f"{' '.join(arguments)}: failed; see {folder / 'log.txt'}")
    cpu = used.ru_utime + used.ru_stime
    return {"cpu": cpu, "mb": used.ru_maxrss / 1e3, "wall": time.monotonic() - begun}


def another_run(folder: Path) -> None:
    """The evaluated run again, as if with another seed and slightly other scores."""
    import numpy as np
    import pandas as pd

    source, target = folder / "run", folder / "other"
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("predictions", "cases", "0*"))
    config = (target / "config.yaml").read_text().replace("lr: 0.001", "lr: 0.002")
    (target / "config.yaml").write_text(config.replace("name: scale", "name: other"))
    table = pd.read_csv(target / "evaluate" / "per_image.csv")
    rng = np.random.default_rng(0)
    for column in ("cc", "nss", "kld", "sim", "auc", *(f"probability_{name}" for name in FINDINGS)):
        table[column] += rng.normal(0.001, 0.01, len(table))
    table.to_csv(target / "evaluate" / "per_image.csv", index=False)


def epoch(config: Path) -> None:
    """A training epoch over all films without a network: what the loader alone costs."""
    from experiments.build import build_cohorts
    from experiments.load import load_config
    from experiments.stage_data import stage_dataset
    from eye_gaze_data.datamodule import StageData

    run = load_config(config)
    cohort, stage = build_cohorts(run), run.stages[0]
    data = stage_dataset(run, stage, cohort, augment=True)
    rows = {"films": cohort.rows_of("test")}
    loader = StageData(data, data, rows, rows, batch_size=stage.batch_size).train_dataloader()
    print(sum(len(batch["image"]) for batch in loader))


def table(results: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """Rows of the Markdown table: seconds and peak at each size, and what one film more costs."""
    sizes = sorted({int(size) for found in results.values() for size in found})
    heads = [f"{size:,} films" for size in sizes]
    heads += [f"a film more, {one:,} to {two:,}" for one, two in pairwise(sizes)]
    lines = [f"| step | {' | '.join(heads)} |", f"|{' --- |' * (1 + len(heads))}"]
    for step in (step for step in STEPS if step in results):
        found = {int(size): value for size, value in results[step].items()}
        cells = [_cell(found.get(size)) for size in sizes]
        cells += [_more(found, one, two) for one, two in pairwise(sizes)]
        lines.append(f"| {step} | {' | '.join(cells)} |")
    return lines


def _cell(found: dict[str, float] | None) -> str:
    return f"{found['cpu']:.1f} s, {found['mb']:,.0f} MB" if found else "not measured"


def _more(found: dict[int, dict[str, float]], one: int, two: int) -> str:
    if one not in found or two not in found:
        return ""
    more = {key: (found[two][key] - found[one][key]) / (two - one) for key in ("cpu", "mb")}
    return f"{1e3 * more['cpu']:.2f} ms, {1e3 * more['mb']:.1f} kB"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", nargs="+", type=int, default=[1000, 10_000, 100_000])
    parser.add_argument("--work", type=Path, default=Path("runs/scale"))
    parser.add_argument("--epoch", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}")
    found = parser.parse_args()
    unknown = [step for step in found.steps if step not in STEPS]
    if unknown:
        parser.error(f"no step {', '.join(unknown)}; known: {', '.join(STEPS)}")
    return found


def main() -> None:
    asked = arguments()
    if asked.epoch:
        epoch(asked.epoch)
        return
    work = asked.work.resolve()
    path = work / "results.json"
    results: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}
    for size in asked.sizes:
        folder = work / str(size)
        if not (folder / "ready.yaml").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            write_files(folder, size)
        for step in asked.steps or STEPS:
            found = measure(folder, step)
            results.setdefault(step, {})[str(size)] = found
            print(f"{size:,} {step}: {_cell(found)}, {found['wall']:.0f} s wall", flush=True)
            path.write_text(json.dumps(results, indent=1))
    print(*table(results), sep="\n")


if __name__ == "__main__":
    main()
