// What is said beside the film: where the case stands, its scores and its findings.
"use strict";

const SHORT = { "false positive": "FP", "false negative": "FN" };

function describeCase(data, item) {
  const find = (id) => document.getElementById(id);
  find("viewer-name").textContent = item.id;
  const rank = item.rank ? "CC rank " + item.rank + " of " + item.ranked : "no CC";
  const facts = ["patient " + item.patient, data.groups[item.group].name, rank, item.badge];
  find("viewer-facts").textContent = facts.filter(Boolean).join(" · ");
  find("viewer-link").href = caseAddress(item);
  find("viewer-copied").textContent = "";
  find("viewer-scores").replaceChildren(...data.metrics.map((metric, i) => scoreOf(metric, item.scores[i])));
  if (!find("viewer-findings")) return;
  const head = element("tr");
  for (const title of ["Finding", "Truth", "Score", "", ""]) head.append(element("th", "", title));
  const rows = data.findings.map((name, i) => findingRow(data, item, name, i));
  find("viewer-findings").replaceChildren(head, ...rows);
}

function scoreOf(metric, score) {
  const pair = element("div");
  const arrow = metric.lower_is_better ? " ↓" : " ↑";
  pair.append(element("dt", "", metric.label + arrow), element("dd", "", shownNumber(score)));
  return pair;
}

function findingRow(data, item, name, i) {
  const row = element("tr", truthOf(item, i) === "present" ? "stated-present" : "");
  const kind = outcome(data, item, i);
  const truth = truthOf(item, i) === "unknown" ? "not stated" : truthOf(item, i);
  row.append(
    element("th", "", name),
    element("td", "truth", truth),
    element("td", "", shownNumber(item.probability[i], 2)),
    probabilityBar(item.probability[i], data.groups[item.group].thresholds[i]),
    element("td", kind.startsWith("false") ? "viewer-wrong" : "", SHORT[kind] || kind),
  );
  row.lastChild.title = kind;
  return row;
}

// A bar to the probability, with a notch at the threshold.
function probabilityBar(probability, threshold) {
  const cell = element("td", "viewer-bar-cell");
  if (probability === null) return cell;
  const names = ["viewer-bar-back", "viewer-bar-fill", "viewer-bar-notch"];
  const [back, bar, notch] = names.map((name) => element("span", name));
  bar.style.width = 100 * Math.min(Math.max(asNumber(probability), 0), 1) + "%";
  notch.style.left = 100 * threshold + "%";
  back.append(bar, notch);
  cell.append(back);
  return cell;
}
