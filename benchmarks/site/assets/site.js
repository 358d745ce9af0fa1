// What the pages do beyond being read: tables sort (sortable.min.js) and filter, plots say what is under the pointer.
"use strict";

const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// Headers of tables that sort become buttons.
for (const table of all("table.words")) if (table.tHead && table.tBodies[0]?.rows.length > 3) table.classList.add("sortable", "asc", "n-last");
for (const header of all("table.sortable > thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...header.childNodes);
  if (button.textContent.trim()) header.append(button);
  else header.classList.add("no-sort");
}

// A form above a table hides rows that do not match.
for (const form of all("form.filter")) {
  const table = document.getElementById(form.dataset.table);
  const [text, group] = [form.querySelector("input[type=search]"), form.querySelector("select")];
  const rows = all("tr[data-key]", table);
  const homes = rows.map((row) => [row.dataset.group, row]);
  const update = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = new Set();
    for (const row of rows) {
      const name = row.cells[0].textContent.toLowerCase();
      row.hidden =
        !words.every((word) => name.includes(word)) ||
        (group.value !== "" && row.dataset.group !== group.value) ||
        (form.elements.learned.checked && !("learned" in row.dataset));
      if (!row.hidden) shown.add(row.dataset.group);
    }
    for (const head of all("tbody.group", table)) head.hidden = form.elements.mixed.checked || !shown.has(head.dataset.group);
    form.querySelector("output").value = `${rows.filter((row) => !row.hidden).length} of ${rows.length} solvers`;
  };
  // One list: every row in the first group's body, so that sorting goes across groups; or each in its own again.
  const move = () => {
    const body = (name) => table.querySelector(`tbody.group[data-group="${name}"]`).nextElementSibling;
    for (const [name, row] of homes) body(form.elements.mixed.checked ? homes[0][0] : name).append(row);
    const sorted = table.querySelector("th[aria-sort]");
    if (sorted) {
      sorted.setAttribute("aria-sort", sorted.ariaSort === "ascending" ? "descending" : "ascending");
      sorted.querySelector("button").click();
    }
  };
  form.elements.mixed.addEventListener("change", move);
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  update();
}

// A solver that is pointed at, in the table or beside a plot, stands out in every plot.
const pick = (key) => {
  for (const plot of all(".plot")) plot.classList.toggle("pick", Boolean(key) && all(".curve", plot).some((curve) => curve.dataset.key === key));
  for (const one of all(".curve, .names li, tr[data-key]")) one.classList.toggle("on", Boolean(key) && one.dataset.key === key);
};
const board = document.getElementById("solvers");
for (const place of [board, ...all(".names")].filter(Boolean)) {
  place.addEventListener("pointerover", (event) => pick(event.target.closest("[data-key]")?.dataset.key));
  place.addEventListener("pointerleave", () => pick());
}

// Points of a plot near the pointer, in words.
const NEAR = 14;
for (const drawing of all(".drawing")) {
  const svg = drawing.querySelector("svg");
  const dots = all("circle", svg).map((dot) => {
    const title = dot.querySelector("title");
    dot.dataset.words = title.textContent;
    title.remove(); // the browser would show it as well
    return dot;
  });
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  drawing.append(tip);
  const leave = () => {
    tip.hidden = true;
    pick();
  };
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const near = dots
      .map((dot) => {
        const place = dot.getBoundingClientRect();
        return [Math.hypot(place.x + place.width / 2 - event.clientX, place.y + place.height / 2 - event.clientY), dot];
      })
      .filter(([distance]) => distance < NEAR)
      .sort((one, other) => one[0] - other[0]);
    if (!near.length) return leave();
    const least = near[0][0];
    const other = ([, dot]) => dot.parentNode.classList.contains("other");
    const said = near.filter(([distance]) => distance < least + 3).sort((one, two) => other(one) - other(two)).slice(0, 8);
    tip.replaceChildren(...said.map(([, dot]) => Object.assign(document.createElement("div"), { textContent: dot.dataset.words })));
    tip.hidden = false;
    const [x, y] = [event.clientX - box.x, event.clientY - box.y];
    tip.style.left = `${Math.max(0, Math.min(x + 14, box.width - tip.offsetWidth))}px`;
    tip.style.top = `${y + 16}px`;
    pick(said[0][1].parentNode.dataset.key);
  });
}
