"""A model that gazedx exported, in a program without gazedx and torch.

    gazedx export runs/demo --to onnx --out exported
    python docs/examples/onnx_film.py exported/model.onnx film.png result.npz

Needs onnxruntime, numpy and Pillow. Research use only.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image


def read_film(path):
    """Grey levels in [0, 1] of a PNG, JPEG or TIFF: 8-bit / 255, 16-bit / 65535; no DICOM."""
    with Image.open(path) as image:
        if image.mode.startswith("I"):
            return np.asarray(image, np.float32) / 65535
        return np.asarray(image.convert("L"), np.float32) / 255


def sample(values, x, y):
    """Bilinear, at the crossings of the columns x and the rows y; pixel i spans [i, i + 1)."""
    height, width = values.shape
    x, y = np.clip(x - 0.5, 0, width - 1), np.clip(y - 0.5, 0, height - 1)
    left, top = x.astype(int), y.astype(int)
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = x - left, (y - top)[:, None]
    upper = values[top][:, left] * (1 - across) + values[top][:, right] * across
    lower = values[below][:, left] * (1 - across) + values[below][:, right] * across
    return upper * (1 - down) + lower * down


def bring_to_grid(film, size):
    """The fit 'pad': the whole film, centred; zeros where there is none."""
    height, width = film.shape
    scale = min(size[0] / height, size[1] / width)
    shift_x, shift_y = (size[1] - scale * width) / 2, (size[0] - scale * height) / 2
    if scale < 1:
        small = round(width * scale), round(height * scale)
        film = np.asarray(Image.fromarray(film).resize(small, Image.Resampling.BILINEAR))
    x = (np.arange(size[1]) + 0.5 - shift_x) / (scale * width)
    y = (np.arange(size[0]) + 0.5 - shift_y) / (scale * height)
    valid = ((y >= 0) & (y < 1))[:, None] & ((x >= 0) & (x < 1))
    image = sample(film, x * film.shape[1], y * film.shape[0]) * valid
    return image.astype(np.float32), valid, scale, (shift_x, shift_y)


def bring_back(density, valid, scale, shift, size):
    """A density on the grid as one in original pixels, for films larger than the grid."""
    x = (np.arange(size[1]) + 0.5) * scale + shift[0]
    y = (np.arange(size[0]) + 0.5) * scale + shift[1]
    weight = sample(valid.astype(float), x, y)
    values = sample(density * valid, x, y) / np.maximum(weight, 1e-6)
    return values / values.sum()


def main(model, film_path, result):
    """Print the findings as JSON, write the density."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map
    if json.loads(said["preprocessing"])["fit"] != "pad":
        sys.exit("this program knows the fit 'pad' only")
    film = read_film(film_path)
    image, valid, scale, shift = bring_to_grid(film, json.loads(said["image_size"]))
    feed = {"image": image[None, None], "valid": valid[None, None]}
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(None, feed), strict=True))
    classes, shares = json.loads(said["classes"]), outputs["probabilities"][0].tolist()
    findings = dict(zip(classes, shares, strict=True))
    density = bring_back(outputs["density"][0, 0], valid, scale, shift, film.shape)
    np.savez(result, density=density, notice=said["notice"])
    print(json.dumps({"notice": said["notice"], "findings": findings}))


if __name__ == "__main__":
    main(*sys.argv[1:])
