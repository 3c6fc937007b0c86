// The film with its maps, boxes and fixations on one canvas.
"use strict";

const LONG_SIDE = 800;
const MOST_NUMBERS = 40;
const BETWEEN = 12;
const DRAWN = "#ffd23f";
const PREDICTED = "#35d0ff";

function fromBase64(text) {
  return Uint8ClampedArray.from(atob(text), (letter) => letter.charCodeAt(0));
}

async function decoded(kind, text) {
  const image = new Image();
  image.src = "data:image/" + kind + ";base64," + text;
  await image.decode();
  return image;
}

function levelsOf(image) {
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  return { canvas, context, pixels, levels: pixels.data.filter((_, i) => i % 4 === 0) };
}

// The canvas of a map: each level in its colour; `factor` brings it to another scale.
function coloured(map, palette, factor) {
  const { canvas, context, pixels, levels } = map;
  levels.forEach(function (level, i) {
    const place = 4 * Math.round(level * factor);
    for (let part = 0; part < 4; part += 1) pixels.data[4 * i + part] = palette[place + part];
  });
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function createCaseCanvas(canvas, data) {
  const context = canvas.getContext("2d");
  const palette = fromBase64(data.palette);
  let item = null;
  let film = null;
  let maps = {};
  let asked = 0;
  let tile = { width: 0, height: 0 };
  // Small tiles need larger letters.
  let large = false;

  // Decode a case; false when another one was asked for meanwhile.
  async function load(next) {
    asked += 1;
    const ticket = asked;
    const names = Object.keys(next.maps);
    const images = await Promise.all([
      decoded("webp", next.film),
      ...names.map((name) => decoded("png", next.maps[name])),
    ]);
    if (ticket !== asked) return false;
    item = next;
    film = images[0];
    maps = Object.fromEntries(names.map((name, i) => [name, levelsOf(images[i + 1])]));
    tile = {
      width: Math.round(item.width * scaleOf(item)),
      height: Math.round(item.height * scaleOf(item)),
    };
    return true;
  }

  function scaleOf(one) {
    return LONG_SIDE / Math.max(one.width, one.height);
  }

  // Only where it changes, as that clears the canvas and costs a frame.
  function fit(tiles) {
    const width = tiles * tile.width + (tiles - 1) * BETWEEN;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== tile.height) canvas.height = tile.height;
    context.clearRect(0, 0, canvas.width, canvas.height);
  }

  // What stands on a tile: side by side boxes lie on the film and fixations on the clinicians' map,
  // so that the model's can be seen, unless asked for everywhere.
  function drawTile(view, mix, paths) {
    const scale = scaleOf(item);
    const key = data.layers[Math.round(mix / 100)].key;
    const all = !view.beside || view.everywhere;
    context.drawImage(film, 0, 0, tile.width, tile.height);
    drawMaps(view, mix);
    if (view.boxes && (all || key === "film")) drawBoxes(item.boxes, false, scale);
    if (view.predicted && (all || key === "film")) drawBoxes(item.predicted, true, scale);
    const looked = data.layers.some((layer) => layer.key === "truth") ? "truth" : "film";
    const radiusOf = radii(item.paths);
    if (view.fixations && (all || key === looked)) {
      paths.forEach((path) => drawPath(path, view, radiusOf, scale));
    }
  }

  // `mix` is a place on the slider: 100 is the second layer alone.
  function drawMaps(view, mix) {
    data.layers.forEach(function (layer, stop) {
      const weight = Math.max(0, 1 - Math.abs(mix / 100 - stop));
      if (stop === 0 || weight === 0 || !maps[layer.key]) return;
      const shared = view.oneScale && layer.key !== "activation" && data.top > 0;
      const factor = shared ? item.top / data.top : 1;
      context.globalAlpha = weight * view.opacity;
      const map = coloured(maps[layer.key], palette, factor);
      context.drawImage(map, 0, 0, tile.width, tile.height);
    });
    context.globalAlpha = 1;
  }

  function label(text, x, y, wanted, colour = "#fff") {
    const size = wanted * (large ? 1.7 : 1);
    context.font = "600 " + size + "px system-ui, sans-serif";
    context.lineWidth = size / 5;
    context.strokeStyle = "#000";
    context.strokeText(text, x, y);
    context.fillStyle = colour;
    context.fillText(text, x, y);
  }

  // Boxes of people are dashed and named at the top, predicted ones at the bottom.
  function drawBoxes(boxes, predicted, scale) {
    context.textAlign = "left";
    const colour = predicted ? PREDICTED : DRAWN;
    for (const [x, y, width, height, name] of boxes) {
      context.setLineDash(predicted ? [] : [8, 5]);
      context.lineWidth = 2.5;
      context.strokeStyle = colour;
      context.strokeRect(x * scale, y * scale, width * scale, height * scale);
      context.setLineDash([]);
      label(name, x * scale + 5, (predicted ? y + height : y) * scale + (predicted ? -7 : 20), 17, colour);
    }
  }

  function drawPath(path, view, radiusOf, scale) {
    const colour = data.readers[path.reader];
    const seen = path.points.slice(0, path.seen);
    context.strokeStyle = colour;
    context.lineWidth = 1.5;
    context.globalAlpha = 0.6;
    context.beginPath();
    for (const [x, y] of seen) context.lineTo(x * scale, y * scale);
    context.stroke();
    const every = Math.ceil(path.points.length / (MOST_NUMBERS / path.together));
    seen.forEach(function ([x, y, , lasted], i) {
      const latest = path.playing && i === seen.length - 1;
      context.globalAlpha = latest ? 1 : 0.75;
      context.beginPath();
      context.arc(x * scale, y * scale, radiusOf(lasted) * (latest ? 1.35 : 1), 0, 2 * Math.PI);
      context.fillStyle = colour;
      context.fill();
      // A dashed rim: the duration is not known.
      context.setLineDash(lasted === null ? [3, 3] : []);
      context.lineWidth = latest ? 3 : 1.2;
      context.strokeStyle = latest ? "#fff" : "#000";
      context.stroke();
      context.setLineDash([]);
    });
    context.globalAlpha = 1;
    if (!view.order) return;
    context.textAlign = "center";
    seen.forEach(function ([x, y, , lasted], i) {
      if (i && i !== seen.length - 1 && (i + 1) % every) return;
      label(String(i + 1), x * scale, y * scale - radiusOf(lasted) - 4, 15);
    });
  }

  // The area of a dot follows the duration, within limits that keep every dot visible.
  function radii(paths) {
    const known = paths.flatMap((path) => path.points.map((point) => point[3]));
    const sorted = known.filter((value) => value > 0).sort((a, b) => a - b);
    const typical = sorted[Math.floor(sorted.length / 2)];
    return function (lasted) {
      const factor = lasted > 0 && typical ? Math.sqrt(lasted / typical) : 1;
      return LONG_SIDE * 0.011 * Math.min(Math.max(factor, 0.5), 2.2);
    };
  }

  return {
    load,
    // Nothing while another case is still being decoded.
    draw(wanted, view, paths) {
      if (!item || item !== wanted) return;
      const places = view.beside ? data.layers.map((_, i) => 100 * i) : [view.mix];
      fit(places.length);
      large = places.length > 1;
      context.imageSmoothingQuality = "high";
      places.forEach(function (mix, i) {
        context.save();
        context.translate(i * (tile.width + BETWEEN), 0);
        context.beginPath();
        context.rect(0, 0, tile.width, tile.height);
        context.clip();
        drawTile(view, mix, paths);
        context.restore();
      });
    },
    // The fixation at a place of the shown canvas, of those that are drawn; null where there is none.
    fixationAt(x, y, paths) {
      if (!item) return null;
      const shown = canvas.getBoundingClientRect();
      const factor = canvas.width / shown.width;
      const left = ((x - shown.left) * factor) % (tile.width + BETWEEN);
      const top = (y - shown.top) * factor;
      const scale = scaleOf(item);
      const radiusOf = radii(item.paths);
      for (const path of paths) {
        for (let i = path.seen - 1; i >= 0; i -= 1) {
          const [px, py, start, lasted] = path.points[i];
          const away = Math.hypot(px * scale - left, py * scale - top);
          if (away <= radiusOf(lasted) + 3) return { reader: path.reader, number: i + 1, start, lasted };
        }
      }
      return null;
    },
    bar(target) {
      const drawn = target.getContext("2d");
      const pixels = drawn.createImageData(256, 1);
      // On mid grey, as a map lies on film.
      for (let level = 0; level < 256; level += 1) {
        const share = palette[4 * level + 3] / 255;
        for (let part = 0; part < 3; part += 1) {
          const value = palette[4 * level + part] * share + 74 * (1 - share);
          pixels.data[4 * level + part] = value;
        }
        pixels.data[4 * level + 3] = 255;
      }
      drawn.putImageData(pixels, 0, 0);
    },
  };
}
