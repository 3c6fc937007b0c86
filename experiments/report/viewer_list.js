// The list of cases. Only the rows in sight are in the document, whatever the number of cases.
"use strict";

const ROW_HEIGHT = 60;
const SPARE_ROWS = 4;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  // Identifiers are the user's: they are only ever set as text.
  if (text !== undefined) made.textContent = text;
  return made;
}

function caseAddress(item) {
  return "#case=" + encodeURIComponent(item.key);
}

function createCaseList(box, data, summary, choose) {
  const rows = box.querySelector(".viewer-rows");
  const drawn = new Map();
  let order = [];
  let chosen = -1;

  function row(place) {
    const item = data.cases[order[place]];
    const made = element("a", "viewer-row");
    made.href = caseAddress(item);
    made.id = "viewer-case-" + order[place];
    made.tabIndex = -1;
    made.style.top = place * ROW_HEIGHT + "px";
    made.setAttribute("role", "option");
    made.setAttribute("aria-setsize", order.length);
    made.setAttribute("aria-posinset", place + 1);
    made.dataset.place = place;
    const thumb = element("img");
    thumb.alt = "";
    thumb.decoding = "async";
    thumb.src = "data:image/webp;base64," + item.film;
    const words = element("span", "viewer-words");
    words.append(element("span", "viewer-id", item.id));
    const line = element("span", "viewer-line");
    for (const [text, kind] of summary(item)) line.append(element("span", kind, text));
    words.append(line);
    made.append(thumb, words);
    return made;
  }

  function render() {
    const first = Math.max(0, Math.floor(box.scrollTop / ROW_HEIGHT) - SPARE_ROWS);
    const last = Math.min(
      order.length,
      Math.ceil((box.scrollTop + box.clientHeight) / ROW_HEIGHT) + SPARE_ROWS,
    );
    for (const [place, made] of drawn) {
      if (place < first || place >= last) {
        made.remove();
        drawn.delete(place);
      }
    }
    for (let place = first; place < last; place += 1) {
      if (!drawn.has(place)) {
        const made = row(place);
        drawn.set(place, made);
        rows.append(made);
      }
      drawn.get(place).setAttribute("aria-selected", String(order[place] === chosen));
    }
    if (drawn.has(order.indexOf(chosen))) {
      box.setAttribute("aria-activedescendant", "viewer-case-" + chosen);
    } else {
      box.removeAttribute("aria-activedescendant");
    }
  }

  function reveal() {
    const place = order.indexOf(chosen);
    if (place < 0) return;
    const top = place * ROW_HEIGHT;
    if (top < box.scrollTop) box.scrollTop = top;
    const hidden = top + ROW_HEIGHT - box.clientHeight;
    if (hidden > box.scrollTop) box.scrollTop = hidden;
  }

  box.addEventListener("scroll", render, { passive: true });
  new ResizeObserver(render).observe(box);
  box.addEventListener("click", function (event) {
    const made = event.target.closest(".viewer-row");
    // With a modifier the link opens elsewhere, as links do.
    if (!made || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    box.focus({ preventScroll: true });
    choose(order[Number(made.dataset.place)]);
  });

  return {
    show(positions) {
      order = positions;
      rows.style.height = order.length * ROW_HEIGHT + "px";
      for (const made of drawn.values()) made.remove();
      drawn.clear();
      box.scrollTop = 0;
      reveal();
      render();
    },
    mark(position) {
      chosen = position;
      reveal();
      render();
    },
    // The case so many steps from the chosen one; the first where that one is filtered out.
    step(by) {
      const place = order.indexOf(chosen);
      if (!order.length) return;
      const next = place < 0 ? 0 : Math.min(order.length - 1, Math.max(0, place + by));
      choose(order[next]);
    },
  };
}
