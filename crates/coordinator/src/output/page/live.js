// The live page: puts what it is sent into its places, and draws the map of blocks. It keeps nothing and asks nobody else.
"use strict";
(() => {
  const HUES = 12;
  const DIGITS = 3;
  // Beyond so many cells neighbours are drawn as one, and those that wait are not drawn.
  const APART_MAX = 2000;
  const place = (id) => document.getElementById(id);
  const map = place("map");
  const paths = new Map();
  for (const path of map.querySelectorAll("path")) {
    paths.set(path.getAttribute("class"), path);
  }
  let cells = new Uint16Array(0);

  // 0 waits; of worker w, 1 + 2w is in work and 2 + 2w done.
  const kind = (cell) => (cell === 0 ? "waits" : (cell % 2 ? "works h" : "done h") + (((cell - 1) >> 1) % HUES));

  function draw() {
    const columns = Math.max(24, Math.ceil(Math.sqrt(cells.length * 3)));
    const rows = Math.max(1, Math.ceil(cells.length / columns));
    const apart = cells.length <= APART_MAX;
    const shapes = new Map();
    for (let at = 0; at < cells.length; ) {
      const cell = cells[at];
      const row = Math.floor(at / columns);
      const end = Math.min(cells.length, (row + 1) * columns);
      let next = at + 1;
      while (!apart && next < end && cells[next] === cell) next += 1;
      if (cell === 0 && !apart) {
        at = next;
        continue;
      }
      const inset = cell === 0 ? 0.36 : cell % 2 ? 0.24 : apart ? 0.08 : 0;
      const width = next - at - 2 * inset;
      const height = 1 - 2 * inset;
      const x = (at - row * columns + inset).toFixed(2);
      const shape = `M${x} ${(row + inset).toFixed(2)}h${width.toFixed(2)}v${height.toFixed(2)}h${(-width).toFixed(2)}z`;
      const of = kind(cell);
      const known = shapes.get(of);
      if (known) known.push(shape);
      else shapes.set(of, [shape]);
      at = next;
    }
    map.setAttribute("viewBox", `0 0 ${columns} ${rows}`);
    for (const [of, path] of paths) {
      const now = (shapes.get(of) || []).join("");
      if (path.getAttribute("d") !== now) path.setAttribute("d", now);
    }
  }

  function cellsOf(text) {
    const read = new Uint16Array(text.length / DIGITS);
    for (let at = 0; at < read.length; at += 1) {
      read[at] = parseInt(text.substr(at * DIGITS, DIGITS), 36);
    }
    return read;
  }

  function update(frame) {
    for (const [id, html] of Object.entries(frame.put)) {
      const at = place(id);
      if (at) at.innerHTML = html;
    }
    if (frame.map) {
      if ("all" in frame.map) cells = cellsOf(frame.map.all);
      else {
        for (const change of frame.map.changed.split(",")) {
          const [at, cell] = change.split(":");
          cells[Number(at)] = Number(cell);
        }
      }
      draw();
    }
  }

  const link = place("link");
  const events = new EventSource("/events");
  events.addEventListener("open", () => {
    link.textContent = "Connected: what you see is at most some seconds old.";
  });
  events.addEventListener("message", (event) => {
    const frame = JSON.parse(event.data);
    update(frame);
    if (frame.over) {
      events.close();
      link.textContent = "It is over: nothing will change here any more, and a reload will find nobody.";
    }
  });
  events.addEventListener("error", () => {
    link.textContent = "The connection is lost: this is what was known last. Trying again.";
  });
})();
