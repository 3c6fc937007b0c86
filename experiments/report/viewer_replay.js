// The clock of a scanpath. Seconds where all starts are known, else one fixation after the other.
"use strict";

// Without times the pace is ours, so the page counts fixations and shows no seconds.
const STEPS_A_SECOND = 3;

function createReplay(changed) {
  let paths = [];
  let timed = true;
  let length = 0;
  let position = 0;
  let speed = 1;
  let playing = false;
  let last = null;

  function endOf(path) {
    if (!timed) return path.points.length;
    return Math.max(0, ...path.points.map(([, , start, lasted]) => start + (lasted || 0)));
  }

  function seenOf(path) {
    if (position >= length) return path.points.length;
    if (!timed) return Math.min(path.points.length, Math.floor(position) + 1);
    return path.points.filter((point) => point[2] <= position).length;
  }

  function tick(now) {
    if (!playing) return;
    const passed = last === null ? 0 : (now - last) / 1000;
    last = now;
    position = Math.min(length, position + passed * speed * (timed ? 1 : STEPS_A_SECOND));
    if (position >= length) playing = false;
    else requestAnimationFrame(tick);
    changed();
  }

  return {
    // All of the paths at once, each by its own clock that starts with its first fixation.
    use(chosen) {
      paths = chosen;
      playing = false;
      timed = paths.every((path) => path.timed);
      length = Math.max(0, ...paths.map(endOf));
      position = length;
    },
    toggle() {
      if (!paths.length) return;
      playing = !playing;
      if (playing) {
        if (position >= length) position = 0;
        last = null;
        requestAnimationFrame(tick);
      }
      changed();
    },
    // To a share of the whole, from 0 to 1.
    seek(share) {
      position = share * length;
      last = null;
      changed();
    },
    setSpeed(value) {
      speed = value;
    },
    get playing() {
      return playing;
    },
    get share() {
      return length > 0 ? position / length : 1;
    },
    shown() {
      const together = paths.length;
      return paths.map((path) => ({ ...path, seen: seenOf(path), playing: this.share < 1, together }));
    },
    clock() {
      if (!paths.length) return "";
      const shown = this.shown();
      const seen = shown.reduce((sum, path) => sum + path.seen, 0);
      const all = paths.reduce((sum, path) => sum + path.points.length, 0);
      const time = timed ? " · " + position.toFixed(2) + " of " + length.toFixed(2) + " s" : "";
      return "fixation " + seen + " of " + all + time;
    },
  };
}
