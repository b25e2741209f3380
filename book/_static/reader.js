"use strict";
// What a reader can do on every page: sort a table by a column, see that it goes on to the right,
// enlarge a figure, and use a plot.

/**
 * The value by which a cell is sorted: its first number, or its text; null for an empty cell.
 * @param {string} text
 * @returns {number | string | null}
 */
function sortKey(text) {
  const plain = text.trim().replaceAll("\u2212", "-").replace(/(\d),(?=\d{3})/g, "$1");
  if (!plain) return null;
  const number = plain.match(/^[^\p{L}\d.-]*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)/iu);
  return number ? Number(number[1]) : plain.toLowerCase();
}

/**
 * Order two keys; numbers come before texts, and empty cells last in either direction.
 * @param {number | string | null} a
 * @param {number | string | null} b
 * @param {number} direction 1 or -1
 */
function compareKeys(a, b, direction) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return direction * (typeof a === "number" ? a - b : a.localeCompare(b));
}

/** Let the headings of a table sort it: largest first, smallest first, as it was. */
function makeSortable(table) {
  const headings = [...table.querySelectorAll("thead th")];
  const body = table.tBodies[0];
  const rows = [...body.rows];
  if (rows.length < 3 || table.tHead.rows.length > 1 || table.querySelector("[colspan], [rowspan]")) return;
  headings.forEach((heading, column) => {
    if (!heading.textContent.trim()) return;
    const keys = new Map(rows.map((row) => [row, sortKey(row.cells[column].textContent)]));
    const isText = [...keys.values()].filter((key) => typeof key === "string").length > rows.length / 2;
    const turns = isText ? ["ascending", "descending", ""] : ["descending", "ascending", ""];
    const button = document.createElement("button");
    button.className = "sort";
    button.title = "Sort";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const turn = turns[(turns.indexOf(heading.getAttribute("aria-sort") ?? "") + 1) % 3];
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      if (turn) heading.setAttribute("aria-sort", turn);
      const direction = turn === "descending" ? -1 : 1;
      const sorted = turn ? rows.toSorted((a, b) => compareKeys(keys.get(a), keys.get(b), direction)) : rows;
      body.append(...sorted);
    });
  });
}

/** Let a table that is wider than its box fade out where it goes on, and scroll by the keyboard. */
function showMore(table) {
  const update = () => {
    table.classList.toggle("more", table.scrollLeft + table.clientWidth < table.scrollWidth - 2);
    if (table.scrollWidth > table.clientWidth) table.tabIndex = 0;
  };
  table.addEventListener("scroll", update, { passive: true });
  new ResizeObserver(update).observe(table);
}

/** Show a figure as large as it is drawn, in a window that scrolls. */
function enlarge(image) {
  const dialog = document.createElement("dialog");
  dialog.className = "enlarged";
  dialog.setAttribute("aria-label", "The figure, enlarged");
  const close = document.createElement("button");
  close.textContent = "Close";
  close.addEventListener("click", () => dialog.close());
  const copy = new Image();
  copy.src = image.src;
  copy.alt = image.alt;
  dialog.append(close, copy);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** Load each interactive plot, megabytes with its library, when the reader comes near it. */
function loadPlots() {
  const observer = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      target.src = target.dataset.src;
      observer.unobserve(target);
    }
  }, { rootMargin: "150px" });
  document.querySelectorAll("iframe.plot").forEach((frame) => observer.observe(frame));
}

/** Name the buttons that unfold a chapter in the contents, which the theme leaves without a name. */
function nameFolds() {
  document.querySelectorAll("nav summary").forEach((summary) => {
    const chapter = summary.closest("li").querySelector("a").textContent.trim();
    summary.setAttribute("aria-label", `Pages of ${chapter}`);
  });
}

document.addEventListener("DOMContentLoaded", () => {
  loadPlots();
  nameFolds();
  document.querySelectorAll(".bd-article table:has(thead):not(.play table)").forEach(makeSortable);
  document.querySelectorAll(".bd-article table").forEach(showMore);
  document.querySelectorAll(".bd-article a.image-reference").forEach((link) => {
    link.title = "Enlarge";
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      enlarge(link.querySelector("img"));
    });
  });
});
