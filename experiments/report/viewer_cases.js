// Which cases are listed, and in what order. Nothing here touches the page.
"use strict";

// JSON has no infinity: it comes as text.
function asNumber(value) {
  if (value === "inf") return Infinity;
  if (value === "-inf") return -Infinity;
  return value === null || value === undefined ? NaN : value;
}

// How a finding was called in a case: "" where truth or prediction is unknown.
function outcome(data, item, finding) {
  const truth = item.truth[finding];
  const called = calledPositive(data, item, finding);
  if (truth === null || called === null) return "";
  if (called === truth > 0.5) return "correct";
  return called ? "false positive" : "false negative";
}

function calledPositive(data, item, finding) {
  const probability = item.probability[finding];
  if (probability === null) return null;
  return probability >= data.groups[item.group].thresholds[finding];
}

function truthOf(item, finding) {
  const truth = item.truth[finding];
  return truth === null ? "unknown" : truth > 0.5 ? "present" : "absent";
}

// The chosen finding, or all of them.
function findingsOf(data, wanted) {
  return wanted.finding === "" ? data.findings.map((_, i) => i) : [Number(wanted.finding)];
}

// A filter on "any" finding holds when one finding meets all of it; "correct" when none is wrong.
function meets(data, item, wanted, finding) {
  if (wanted.truth && truthOf(item, finding) !== wanted.truth) return false;
  const called = calledPositive(data, item, finding);
  if (wanted.called && (called === null || called !== (wanted.called === "positive"))) return false;
  const found = outcome(data, item, finding);
  if (wanted.error === "wrong") return found.startsWith("false");
  return !wanted.error || found === wanted.error;
}

function matches(data, item, wanted) {
  const text = wanted.find.trim().toLowerCase();
  const names = (item.id + "\n" + item.patient).toLowerCase();
  if (text && !names.includes(text)) return false;
  if (wanted.group !== "" && item.group !== Number(wanted.group)) return false;
  if (wanted.low !== "" || wanted.high !== "") {
    const score = asNumber(item.scores[Number(wanted.metric)]);
    // What is undefined is in no range.
    if (Number.isNaN(score)) return false;
    if (wanted.low !== "" && score < Number(wanted.low)) return false;
    if (wanted.high !== "" && score > Number(wanted.high)) return false;
  }
  if (!wanted.truth && !wanted.called && !wanted.error) return true;
  const findings = findingsOf(data, wanted);
  if (wanted.error === "correct" && wanted.finding === "") {
    const found = findings.map((i) => outcome(data, item, i));
    if (found.some((one) => one.startsWith("false")) || !found.includes("correct")) return false;
  }
  return findings.some((finding) => meets(data, item, wanted, finding));
}

function sortValue(data, item, wanted) {
  if (wanted.sort === "index") return item.index;
  if (wanted.sort === "probability") {
    const known = findingsOf(data, wanted).map((i) => item.probability[i]);
    const numbers = known.filter((value) => value !== null);
    return numbers.length ? Math.max(...numbers) : NaN;
  }
  return asNumber(item.scores[Number(wanted.sort)]);
}

// Positions in data.cases that match, in order; what has no value stays last both ways.
function selectCases(data, wanted) {
  const sign = wanted.order === "up" ? 1 : -1;
  const kept = data.cases.map((_, i) => i).filter((i) => matches(data, data.cases[i], wanted));
  if (wanted.sort === "id") {
    const compare = new Intl.Collator("en", { numeric: true }).compare;
    return kept.sort((a, b) => sign * compare(data.cases[a].id, data.cases[b].id) || a - b);
  }
  const values = new Map(kept.map((i) => [i, sortValue(data, data.cases[i], wanted)]));
  return kept.sort(function (a, b) {
    const first = values.get(a);
    const second = values.get(b);
    if (Number.isNaN(first) || Number.isNaN(second)) {
      return Number(Number.isNaN(first)) - Number(Number.isNaN(second)) || a - b;
    }
    if (first === second) return a - b;
    return first < second ? -sign : sign;
  });
}

function shownNumber(value, digits = 3) {
  const known = asNumber(value);
  if (Number.isNaN(known)) return "n/a";
  const text = Number.isFinite(known) ? Math.abs(known).toFixed(digits) : "∞";
  return (known < 0 && /[1-9∞]/.test(text) ? "−" : "") + text;
}
