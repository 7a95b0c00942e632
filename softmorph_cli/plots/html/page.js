"use strict";

// The look: the system's, until the button says otherwise.
{
  const root = document.documentElement;
  const button = document.getElementById("look");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const other = () => ((root.dataset.look || (system.matches ? "dark" : "light")) === "dark" ? "light" : "dark");
  const name = () => {
    button.textContent = other() === "dark" ? "Dark" : "Light";
    button.setAttribute("aria-label", `Change to the ${other()} look`);
  };
  button.addEventListener("click", () => {
    root.dataset.look = other();
    name();
  });
  system.addEventListener("change", name);
  name();
  button.hidden = false;
}

// Tables: rows are lists of texts, taken from the page and from the data that follows it.
const PORTION = 2000;
for (const section of document.querySelectorAll("section.table")) {
  const body = section.querySelector("tbody");
  if (!body) continue;
  const heads = [...section.querySelectorAll("thead th")];
  const filters = [...section.querySelectorAll("[data-column]")];
  const all = section.querySelector("button.all");
  const state = section.querySelector(".state");
  const name = section.querySelector("h2").textContent.toLowerCase();
  const rows = [...body.rows].map((row) => [...row.cells].map((cell) => cell.textContent));
  const few = rows.length;
  const rest = section.querySelector("script.rest");
  if (rest) for (const row of JSON.parse(rest.textContent)) rows.push(row);
  let order = rows.map((_, k) => k);
  let limit = few;
  let waiting = 0;

  // Numbers are written with commas between the thousands; a dash is no number.
  const key = (text, kind) => (kind === "text" ? text : Number.parseFloat(text.replaceAll(",", "")));

  const sort = (column, falling) => {
    const kind = heads[column].dataset.sort;
    const keys = rows.map((row) => key(row[column], kind));
    const sign = falling ? -1 : 1;
    order = rows.map((_, k) => k).sort((a, b) => {
      const [x, y] = [keys[a], keys[b]];
      // What is not known comes last, whichever way; equals keep their first order.
      if (x !== x || y !== y) return (x !== x) - (y !== y) || a - b;
      return (x > y ? sign : x < y ? -sign : 0) || a - b;
    });
    for (const head of heads) {
      if (head.dataset.sort) head.setAttribute("aria-sort", "none");
    }
    heads[column].setAttribute("aria-sort", falling ? "descending" : "ascending");
  };

  const line = (texts) => {
    const row = document.createElement("tr");
    texts.forEach((text, column) => {
      const cell = document.createElement(column ? "td" : "th");
      if (!column) cell.scope = "row";
      if (heads[column].dataset.sort === "text") cell.className = "text";
      cell.textContent = text;
      row.append(cell);
    });
    return row;
  };

  // Rows come a portion at a time, so that the page answers meanwhile.
  const draw = (chosen, from, to) => {
    const drawn = document.createDocumentFragment();
    for (const k of chosen.slice(from, to)) drawn.append(line(rows[k]));
    if (from) body.append(drawn);
    else body.replaceChildren(drawn);
    if (to < chosen.length) waiting = setTimeout(draw, 0, chosen, to, to + PORTION);
  };

  const show = () => {
    clearTimeout(waiting);
    const asked = filters.map((one) => [Number(one.dataset.column), one.value.trim()]).filter(([, text]) => text);
    const wanted = order.filter((k) => asked.every(([column, text]) => rows[k][column] === text));
    draw(wanted.slice(0, limit), 0, few);
    const [here, total] = [Math.min(limit, wanted.length), rows.length].map((n) => n.toLocaleString("en"));
    state.textContent = here === total ? "" : `${here} of ${total} ${name}.`;
    if (all) all.hidden = wanted.length <= limit;
  };

  heads.forEach((head, column) => {
    if (!head.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => {
      sort(column, head.getAttribute("aria-sort") === "ascending");
      show();
    });
    head.replaceChildren(button);
  });
  for (const filter of filters) filter.addEventListener("input", show);
  if (all) {
    all.addEventListener("click", () => {
      limit = Infinity;
      show();
    });
  }
  const controls = section.querySelector(".controls");
  controls.hidden = controls.childElementCount === 0;
}
