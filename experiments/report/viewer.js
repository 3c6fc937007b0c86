// The viewer: what its controls do. Identifiers from the data are only ever set as text.
(function () {
  "use strict";
  const find = (id) => document.getElementById(id);
  const section = find("viewer");
  const source = find("viewer-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  source.remove();
  const picture = createCaseCanvas(find("viewer-canvas"), data);
  const replay = createReplay(redraw);
  const list = createCaseList(find("viewer-list"), data, summary, choose);
  const FILTERS = ["find", "group", "finding", "truth", "called", "error", "metric", "low", "high"];
  FILTERS.push("sort", "order");
  let item = null;

  const value = (id) => (find(id) ? find(id).value : "");
  const checked = (id) => Boolean(find(id) && find(id).checked);

  function wanted() {
    return Object.fromEntries(
      FILTERS.map((name) => [name, value("viewer-" + name)]),
    );
  }

  function view() {
    return {
      mix: Number(value("viewer-mix")),
      opacity: Number(value("viewer-opacity")) / 100,
      oneScale: checked("viewer-one-scale"),
      boxes: checked("viewer-boxes"),
      predicted: checked("viewer-predicted"),
      fixations: checked("viewer-fixations"),
      order: checked("viewer-order-numbers"),
      beside: checked("viewer-beside"),
      everywhere: checked("viewer-everywhere"),
    };
  }

  // What a row of the list says: the score that is sorted by, and what is wrong.
  function summary(one) {
    const asked = wanted();
    const words = [];
    const metric = data.metrics[asked.sort === "index" || asked.sort === "id" ? 0 : Number(asked.sort)];
    if (asked.sort === "probability") {
      words.push(["p " + shownNumber(sortValue(data, one, asked), 2), "viewer-score"]);
    } else if (metric) {
      words.push([metric.label + " " + shownNumber(one.scores[data.metrics.indexOf(metric)]), "viewer-score"]);
    }
    const found = findingsOf(data, asked).map((i) => outcome(data, one, i));
    for (const [kind, short] of Object.entries(SHORT)) {
      const count = found.filter((each) => each === kind).length;
      if (count) words.push([asked.finding === "" ? count + " " + short : kind, "viewer-wrong"]);
    }
    return words;
  }

  function threshold() {
    const asked = wanted();
    if (!find("viewer-threshold")) return;
    const parts = data.groups.map(function (group) {
      const texts = findingsOf(data, asked).map(function (i) {
        const how = group.chosen[i] ? "" : " (not chosen on validation)";
        return data.findings[i] + " " + shownNumber(group.thresholds[i], 2) + how;
      });
      return (data.groups.length > 1 ? group.name + ": " : "") + texts.join(", ");
    });
    find("viewer-threshold").textContent =
      "Called positive from a probability of: " + parts.join("; ") + ".";
  }

  function relist() {
    const order = selectCases(data, wanted());
    find("viewer-count").textContent = order.length + " of " + data.cases.length + " cases";
    threshold();
    list.show(order);
    if (order.length && (!item || !order.includes(data.cases.indexOf(item)))) choose(order[0], item !== null);
  }

  async function choose(position, linked = true) {
    item = data.cases[position];
    list.mark(position);
    if (linked) history.replaceState(null, "", caseAddress(item));
    describeCase(data, item);
    readers();
    const own = item;
    if (!(await picture.load(own))) return;
    find("viewer-canvas").dataset.shown = own.key;
    redraw();
  }

  function readers() {
    const select = find("viewer-reader");
    const before = select.value;
    const names = item.paths.map((path) => path.reader);
    select.replaceChildren(
      ...["", ...names].map(function (name) {
        const option = element("option", "", name || "all readers");
        option.value = name;
        return option;
      }),
    );
    select.value = names.includes(before) ? before : "";
    find("viewer-replay").disabled = !names.length;
    find("viewer-readers").replaceChildren(...names.map(swatch));
    usePaths();
  }

  function swatch(name) {
    const made = element("span", "reader");
    const dot = element("i", "swatch");
    dot.style.background = data.readers[name];
    made.append(dot, name);
    return made;
  }

  function usePaths() {
    const name = value("viewer-reader");
    const paths = item.paths.filter((path) => !name || path.reader === name);
    replay.use(paths);
    const thinned = paths.filter((path) => path.every > 1).map((path) => path.every);
    const notes = [
      item.paths.length ? "" : "No gaze was recorded for this case.",
      paths.some((path) => !path.timed) ? "Starts are not recorded: fixations come in the order of the file." : "",
      paths.length > 1 ? "Each reader’s clock starts with the first fixation." : "",
      thinned.length ? "One point in " + Math.max(...thinned) + " is drawn." : "",
      name && item.maps.truth ? "The map stays that of all readers." : "",
    ];
    find("viewer-gaze-note").textContent = notes.filter(Boolean).join(" ");
    redraw();
  }

  function redraw() {
    if (!item) return;
    const now = view();
    const mixed = data.layers
      .map((layer, i) => [layer, Math.round(100 * Math.max(0, 1 - Math.abs(now.mix / 100 - i))), i])
      .filter(([, share, i]) => share > 0 && (i > 0 || share === 100));
    const names = mixed.map(function ([layer, share, i]) {
      const absent = i > 0 && !item.maps[layer.key] ? " (none for this case)" : "";
      return layer.label + (i > 0 ? " " + share + " %" : "") + absent;
    });
    find("viewer-mixed").textContent = names.join(" · ");
    find("viewer-mix").setAttribute("aria-valuetext", names.join(", "));
    find("viewer-canvas").setAttribute("aria-label", item.id + ": " + names.join(", "));
    find("viewer-opacity-shown").textContent = value("viewer-opacity") + " %";
    const own = mixed.length > 0 && mixed.every(([layer]) => layer.key === "activation");
    const top = own ? item.peaks.activation : now.oneScale ? data.top : item.top;
    find("viewer-scale").hidden = top === null || top === undefined;
    find("viewer-top").textContent = shownNumber(top, 1) + "×";
    find("viewer-play").textContent = replay.playing ? "Pause" : "Play";
    find("viewer-time").value = Math.round(1000 * replay.share);
    find("viewer-clock").textContent = replay.clock();
    captions(now);
    picture.draw(item, now, replay.shown());
  }

  // Above the tiles: what each is, and how high its map rises.
  function captions(now) {
    section.classList.toggle("beside", now.beside);
    find("viewer-mix").disabled = now.beside || data.layers.length === 1;
    const peak = (key) => (item.peaks[key] === undefined ? "" : shownNumber(item.peaks[key], 1) + "×");
    find("viewer-captions").hidden = !now.beside;
    find("viewer-everywhere").disabled = !now.beside;
    find("viewer-captions").replaceChildren(
      ...data.layers.map(function (layer, i) {
        const made = element("span", "", layer.label);
        const told = !i ? "" : item.maps[layer.key] ? "peak " + peak(layer.key) : "none for this case";
        const own = layer.key === "activation" && item.maps.activation ? ", own scale" : "";
        made.append(element("span", "hint", " " + told + own));
        return made;
      }),
    );
    const peaks = data.layers.filter(({ key }) => key !== "film" && item.maps[key]);
    const texts = peaks.map(({ key, label }) => label.toLowerCase() + " " + peak(key));
    find("viewer-peaks").textContent = texts.length ? "peaks: " + texts.join(", ") : "";
  }

  function onHover(event) {
    const shown = checked("viewer-fixations") ? replay.shown() : [];
    const found = picture.fixationAt(event.clientX, event.clientY, shown);
    const seconds = (value) => (value === null ? "n/a" : value.toFixed(2) + " s");
    find("viewer-canvas").title = found
      ? found.reader + ", fixation " + found.number + ", start " + seconds(found.start) + ", " +
        seconds(found.lasted) + " long"
      : "";
  }

  function mixTo(stop) {
    if (stop > Number(find("viewer-mix").max)) return;
    find("viewer-beside").checked = false;
    find("viewer-mix").value = stop;
    redraw();
  }

  function follow() {
    const key = location.hash.startsWith("#case=") ? location.hash.slice(6) : null;
    if (key === null) return;
    let name = key;
    try {
      name = decodeURIComponent(key);
    } catch {
      return;
    }
    const position = data.cases.findIndex((one) => one.key === name);
    if (position < 0) {
      find("viewer-copied").textContent = "no case " + name;
      return;
    }
    choose(position);
    section.scrollIntoView();
  }

  async function copyLink() {
    const address = location.href.split("#")[0] + caseAddress(item);
    try {
      await navigator.clipboard.writeText(address);
      find("viewer-copied").textContent = "copied";
    } catch {
      find("viewer-copied").textContent = "copy the link’s address instead";
    }
  }

  function flip(id) {
    if (!find(id)) return;
    find(id).checked = !find(id).checked;
    redraw();
  }

  const steps = {
    ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1,
    PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity,
  };

  function onKey(event) {
    const target = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest("dialog")) return;
    const typed = target.matches("select, input:not([type=range]):not([type=checkbox])");
    if (typed) return;
    const key = event.key;
    const slides = target.matches("input[type=range]");
    if (key in steps && !slides) list.step(steps[key]);
    else if (key === " " && !target.matches("button, a, input[type=checkbox]")) replay.toggle();
    else if (/^[1-9]$/.test(key)) mixTo(100 * (Number(key) - 1));
    else if (key === "f") flip("viewer-fixations");
    else if (key === "b") flip("viewer-boxes");
    else if (key === "p") flip("viewer-predicted");
    else if (key === "s") flip("viewer-beside");
    else if (key === "/") find("viewer-find").focus();
    else if (key === "?") find("viewer-help").showModal();
    else return;
    event.preventDefault();
  }

  const filters = find("viewer-filters");
  filters.addEventListener("input", relist);
  // A reset takes effect after its event.
  filters.addEventListener("reset", () => setTimeout(relist));
  filters.addEventListener("submit", (event) => event.preventDefault());
  for (const name of ["mix", "opacity", "one-scale", "boxes", "predicted", "fixations", "order-numbers", "beside", "everywhere"]) {
    if (find("viewer-" + name)) find("viewer-" + name).addEventListener("input", redraw);
  }
  find("viewer-canvas").addEventListener("mousemove", onHover);
  for (const button of section.querySelectorAll("[data-stop]")) {
    button.addEventListener("click", () => mixTo(Number(button.dataset.stop)));
  }
  find("viewer-play").addEventListener("click", () => replay.toggle());
  find("viewer-time").addEventListener("input", (event) => replay.seek(event.target.value / 1000));
  find("viewer-speed").addEventListener("change", (event) => replay.setSpeed(Number(event.target.value)));
  find("viewer-reader").addEventListener("change", usePaths);
  find("viewer-copy").addEventListener("click", copyLink);
  find("viewer-help-open").addEventListener("click", () => find("viewer-help").showModal());
  section.addEventListener("keydown", onKey);
  window.addEventListener("hashchange", follow);
  picture.bar(find("viewer-bar"));
  relist();
  follow();
})();
