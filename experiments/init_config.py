"""``gazedx init``: a commented config for the data set in a folder."""

import csv
import io
from pathlib import Path
from typing import Any

import yaml

from eye_gaze_data.errors import ConfigError
from eye_gaze_data.files import write_text

from .own_tables import Found, films_below
from .recognise import recognise

_HEAD = """\
# A run on {title}, written by `gazedx init`. Next:
#   gazedx data check {file}    reads every film, counts splits, labels and gaze, looks for leaks
#   gazedx data show {file}     draws films with scanpaths, boxes and organ masks
#   gazedx data prepare {file} --out prepared    shrinks the films once; training never waits
#   gazedx run {file}
name: {name}
seed: 0

cohorts:
"""

_MODEL = """
models:
  network:
    # The network of the paper with a light encoder; leave backbone_options and widths out for its
    # own size, which wants a GPU.
    kind: dual_encoder
    backbone: densenet121
    backbone_options: {growth_rate: 16, block_config: [2, 4, 4, 2]}
    widths: [12, 24, 48, 96, 160]

defaults:
  model: network
  data:
    cohorts: NAME
    image_size: [128, 128]   # height, width of the network's grid; films are padded to its shape
    augment: {degrees: 5, scale: [0.95, 1.05], shift: 0.03, brightness: 0.1, contrast: 0.1}
  batch_size: 16
  optimiser: {name: adamw, lr: 1.0e-3, weight_decay: 0.01, clip: 1.0}
  schedule: {name: cosine, warmup: 0.1}

stages:
"""

_CLASSIFY = """\
  # What it is: the encoder and its own classifier.
  - name: classify
    kind: pretrain
    task: classify
    train: ["encoder_a.*", "encoder_classifier.*"]
    losses: {LOSS: 1}
    epochs: 5
    monitor: {metric: valid/loss, mode: min}
"""

_SALIENCY = """\
  # Where clinicians look: the second encoder and the decoder.
  - name: saliency
    kind: cooperative
    task: saliency
INIT    train: [FIRST"encoder_b.*", "decoder.*", "saliency_head.*"]
    losses: {kld: 1}
    epochs: 5
    monitor: {metric: valid/kld, mode: min}
"""

_FUSE = """\
  # Both together: the classifier that reads the two encoders.
  - name: fuse
    kind: finetune
    task: fuse
    init: {stage: saliency}
    train: ["fusion.*"]
    losses: {LOSS: 1}
    epochs: 3
    monitor: {metric: valid/loss, mode: min}
"""

_NOTHING = """\
  # There are neither labels nor gaze yet: add them to the cohort, then this stage can run.
"""


def init_config(folder: Path, out: Path | None = None) -> tuple[Path, str]:
    """Write a config for the data set in a folder.

    Args:
        folder: as downloaded, or prepared, or of one's own.
        out: the file to write; ``NAME.yaml`` in the current folder if None.

    Returns:
        the file, and what was recognised.

    Raises:
        ConfigError: if nothing is recognised, or the file is there already.
    """
    found = recognise(folder.resolve())
    path = out or Path(f"{found.name}.yaml")
    table = path.parent / "images.csv" if _bare(found) else None
    for file in (path, table):
        if file is not None and file.exists():
            raise ConfigError(f"{file}: it is there already; choose another --out, or delete it")
    if table is not None:
        write_text(table, _list_of_films(folder.resolve()))
    write_text(path, config_text(found, path.name))
    return path, found.title


def config_text(found: Found, file: str) -> str:
    """The config as commented YAML."""
    loss = "cross_entropy" if found.exclusive else "bce"
    text = _HEAD.format(title=found.title, file=file, name=found.name) + _cohort_text(found)
    text += _MODEL.replace("NAME", found.name)
    if found.labels or not found.gaze:
        text += "" if found.labels else _NOTHING
        text += _CLASSIFY.replace("LOSS", loss)
    if found.gaze:
        init = "    init: {stage: classify}\n" if found.labels else ""
        # Without labels nothing has taught the first encoder yet.
        first = "" if found.labels else '"encoder_a.*", '
        text += ("\n" if found.labels else "") + _SALIENCY.replace("INIT", init).replace(
            "FIRST", first
        )
    if found.gaze and found.labels:
        text += "\n" + _FUSE.replace("LOSS", loss)
    return text


def _bare(found: Found) -> bool:
    """Whether the table of films has to be written too."""
    return found.cohort["kind"] == "csv" and bool(found.cohort["images"]["csv"] == "images.csv")


def _cohort_text(found: Found) -> str:
    lines = [f"  {found.name}:"]
    for key, value in found.cohort.items():
        if key in found.hints:
            lines.append(f"    # {found.hints[key]}")
        lines += _yaml({key: value}, 4)
    if found.cohort["kind"] != "prepared":
        lines.append("    # `skip` leaves out what cannot be read and lists it; `stop` refuses it")
        lines += _yaml({"on_error": "stop"}, 4)
    return "\n".join(lines) + "\n"


def _yaml(value: dict[str, Any], indent: int) -> list[str]:
    flat = not any(isinstance(item, dict | list) for item in value.values())
    style = False if flat else None
    text = yaml.safe_dump(value, sort_keys=False, width=90, default_flow_style=style)
    return [" " * indent + line for line in text.splitlines()]


def _list_of_films(folder: Path) -> str:
    """A table of image files, for columns of patients and labels to be added."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["image"])
    writer.writerows([str(path.relative_to(folder))] for path in films_below(folder))
    return buffer.getvalue()
