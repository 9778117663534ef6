"use strict";
{
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const name = () => { button.textContent = isDark() ? "Light theme" : "Dark theme"; };
  try {
    const stored = localStorage.getItem("semaug-theme");
    if (stored === "dark" || stored === "light") root.dataset.theme = stored;
  } catch { /* pages from files may have no storage */ }
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("semaug-theme", root.dataset.theme); } catch { /* as above */ }
    name();
  });
  system.addEventListener("change", name);
  button.hidden = false;
  name();
}

for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  headings.forEach((heading, column) => heading.firstElementChild.addEventListener("click", () => {
    const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of headings) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    const key = (row) => row.cells[column].dataset.key;
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
      const difference = x - y;
      return sign * (Number.isNaN(difference) ? x.localeCompare(y) : difference);
    };
    body.append(...[...body.rows].sort(compare));
  }));
}

// Values of the curves under the pointer, at the nearest epoch.
{
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  for (const svg of document.querySelectorAll("svg[data-curves]")) {
    const { left, right, ends, curves } = JSON.parse(svg.dataset.curves);
    const epochs = [...new Set(curves.flatMap(([, points]) => points.map(([x]) => x)))];
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const share = ((event.clientX - box.left) / box.width - left) / (right - left);
      const at = ends[0] + share * (ends[1] - ends[0]);
      const epoch = epochs.reduce((a, b) => (Math.abs(b - at) < Math.abs(a - at) ? b : a));
      const lines = curves.map(([name, points]) => [name, points.find(([x]) => x === epoch)]);
      const known = lines.filter(([, point]) => point);
      tip.textContent = [`epoch ${epoch}`, ...known.map(([name, [, y]]) => `${name}: ${y}`)].join("\n");
      tip.hidden = false;
      const free = document.documentElement.clientWidth - tip.offsetWidth - 8;
      tip.style.left = `${scrollX + Math.max(0, Math.min(event.clientX + 12, free))}px`;
      tip.style.top = `${scrollY + event.clientY + 16}px`;
    });
    svg.addEventListener("pointerleave", () => { tip.hidden = true; });
  }
}

const open = () => {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
};
addEventListener("hashchange", open);
open();
