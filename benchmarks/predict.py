"""``predict`` on a thousand films, against a loop that reads, predicts and writes one by one.

The demo's network, untrained, on films of 512x512 made on the fly: findings and a density in
original pixels of each. Peak memory stands beside that of a tenth of the films: a peer of the same
height says that it does not grow with their number.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from experiments.gaze_model import GazeModel, load_model, open_predictor
from experiments.load import load_config
from experiments.onnx_engine import use_onnxruntime
from experiments.predict import Writes, predict_files
from saliency.attention import AttentionContext

from .table import Row, peak_of, wall

FILMS, SIDE, NETWORK_SIDE = 1000, 512, 96
CLASSES = ["Cardiomegaly", "Effusion", "Nodule"]
WRITES = Writes(density=True, overlay=False)


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        untrained().save_pretrained(folder / "model")
        draw_films(folder / "films", FILMS)
        few = folder / "few"
        few.mkdir()
        for path in sorted((folder / "films").iterdir())[: FILMS // 10]:
            (few / path.name).symlink_to(path)
        agree(folder)
        what, peer = f"predict on {FILMS} films of {SIDE}x{SIDE}", "a loop, one film at a time"
        theirs = partial(one_by_one, folder / "model", folder / "films", folder / "theirs")
        for engine in ("torch", "onnxruntime"):
            ours = partial(predict, engine, folder / "model", folder / "films", folder / "ours")
            yield Row(f"`{what}`, engine {engine}", wall(ours), peer, wall(theirs),
                      rounds=2, thrown=0)  # fmt: skip
        yield Row(f"peak memory, {what}", partial(elsewhere, folder, "films"),
                  f"the same on {FILMS // 10}", partial(elsewhere, folder, "few"),
                  unit="B", rounds=1, thrown=0)  # fmt: skip


def untrained() -> GazeModel:
    network = load_config(Path("demo")).models["network"].model_dump(mode="json")
    size = [NETWORK_SIDE, NETWORK_SIDE]
    torch.manual_seed(0)
    settings = {"task": "joint", "classes": CLASSES, "image_size": size}
    return GazeModel(network=network, settings=settings).eval()


def draw_films(folder: Path, films: int) -> None:
    """Smooth shapes with noise, as 8-bit PNG."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    for number in range(films):
        (u, v), noise = rng.uniform(1, 4, 2), rng.normal(0, 0.02, (SIDE, SIDE))
        grey = 0.5 + 0.3 * np.sin(u * x * 6) * np.cos(v * y * 6) + noise
        pixels = (np.clip(grey, 0, 1) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04d}.png", compress_level=1)


def predict(engine: str, model: Path, films: Path, out: Path) -> None:
    predictor = open_predictor(model, device="cpu")
    if engine == "onnxruntime":
        use_onnxruntime(predictor, model)
    count, failures = predict_files(predictor, [films], out, writes=WRITES)
    assert (count, failures) == (len(list(films.iterdir())), [])


@torch.inference_mode()
def one_by_one(model: Path, films: Path, out: Path) -> None:
    """What a script would do, with the network and the files that ``predict`` has."""
    network = load_model(model).network.eval()
    out.mkdir(exist_ok=True)
    size, records = (NETWORK_SIDE, NETWORK_SIDE), {}
    for path in sorted(films.iterdir()):
        pixels = torch.from_numpy(np.asarray(Image.open(path).convert("L"), np.float32) / 255)
        image = F.interpolate(pixels[None, None], size, mode="bilinear", antialias=True)
        film = AttentionContext(valid=torch.ones_like(image, dtype=torch.bool))
        outputs = network(image, "joint", film)
        density = outputs["saliency_logits"].flatten().softmax(0).view(1, 1, *size)
        full = F.interpolate(density, (SIDE, SIDE), mode="bilinear")[0, 0]
        np.save(out / f"{path.stem}.density.npy", (full / full.sum()).numpy())
        records[path.name] = outputs["class_logits"][0].sigmoid().tolist()
    (out / "predictions.json").write_text(json.dumps(records))


def agree(folder: Path) -> None:
    """All three ways say the same of the few films."""
    one_by_one(folder / "model", folder / "few", folder / "theirs")
    said = json.loads((folder / "theirs" / "predictions.json").read_text())
    for engine in ("torch", "onnxruntime"):
        predict(engine, folder / "model", folder / "few", folder / "ours")
        records = json.loads((folder / "ours" / "predictions.json").read_text())["films"]
        assert len(records) == len(said)
        for record in records:
            path = Path(record["file"])
            found = [record["findings"][name] for name in CLASSES]
            np.testing.assert_allclose(found, said[path.name], atol=1e-4)
            mine, other = (
                np.load(folder / which / f"{path.stem}.density.npy") for which in ("ours", "theirs")
            )
            # In units of the mean density.
            np.testing.assert_allclose(mine * mine.size, other * other.size, atol=1e-2)


def elsewhere(folder: Path, films: str) -> float:
    """Bytes that ``predict`` takes in a process of its own, above the imports."""
    command = [sys.executable, "-m", "benchmarks.predict", str(folder), films]
    found = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return float(found.stdout)


if __name__ == "__main__":
    place, given = Path(sys.argv[1]), sys.argv[2]
    run = partial(predict, "torch", place / "model", place / given, place / "memory")
    print(peak_of(run))
