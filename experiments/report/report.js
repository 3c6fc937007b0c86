// Sorting, filtering and the opacity of the maps. Everything works from the keyboard: the
// controls are native ones. Without scripts the page shows all cases from best to worst.
(function () {
  "use strict";
  const gallery = document.getElementById("gallery");
  if (!gallery) return;
  const find = (id) => document.getElementById(id);
  const cases = Array.from(gallery.querySelectorAll("article.case"));

  function valueOf(item, key) {
    const text = key ? item.dataset[key] : item.dataset.index;
    return text === undefined || text === "" ? NaN : Number(text);
  }

  function sort() {
    const key = find("sort-key").value;
    const sign = find("sort-order").value === "up" ? 1 : -1;
    const ordered = cases.slice().sort(function (a, b) {
      const first = valueOf(a, key);
      const second = valueOf(b, key);
      // What is undefined stays last in both directions.
      if (Number.isNaN(first) || Number.isNaN(second)) {
        return Number(Number.isNaN(first)) - Number(Number.isNaN(second));
      }
      return sign * (first - second) || Number(a.dataset.index) - Number(b.dataset.index);
    });
    gallery.append(...ordered);
  }

  function filter() {
    const group = find("group-filter") ? find("group-filter").value : "";
    const finding = find("finding-filter") ? find("finding-filter").value : "";
    let shown = 0;
    for (const item of cases) {
      const present = item.dataset.present.split(" ");
      item.hidden = Boolean(
        (group && item.dataset.group !== group) || (finding && !present.includes(finding)),
      );
      shown += item.hidden ? 0 : 1;
    }
    find("shown").textContent = shown + " of " + cases.length + " cases shown";
  }

  function bind(id, event, action) {
    const element = find(id);
    if (element) element.addEventListener(event, () => action(element));
  }

  bind("sort-key", "change", sort);
  bind("sort-order", "change", sort);
  bind("group-filter", "change", filter);
  bind("finding-filter", "change", filter);
  bind("opacity", "input", function (slider) {
    gallery.style.setProperty("--map-opacity", String(slider.value / 100));
    find("opacity-shown").textContent = slider.value + " %";
  });
  for (const name of ["show-gaze", "show-order", "show-copy", "show-boxes"]) {
    bind(name, "change", (box) => gallery.classList.toggle(name, box.checked));
  }
  // Enter in a control must not reload the page.
  bind("controls", "reset", filter);
  find("controls").addEventListener("submit", (event) => event.preventDefault());
  filter();
})();
