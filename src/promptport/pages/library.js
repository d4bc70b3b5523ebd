"use strict";
// Sorts and filters the table of a library; without it the page shows all of it in its order.
(function () {
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const fields = ["words", "model", "task", "kind"].map((id) => document.getElementById(id));
  const count = document.getElementById("count");
  document.getElementById("tools").hidden = false;

  function filter() {
    const [words, ...chosen] = fields.map((field) => field.value);
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const data = row.dataset;
      const fits =
        wanted.every((word) => data.words.includes(word)) &&
        chosen.every((value, i) => !value || data[fields[i + 1].id] === value);
      row.hidden = !fits;
      document.getElementById(data.id).hidden = !fits;
      shown += fits ? 1 : 0;
    }
    count.textContent = `${shown} of ${rows.length} shown.`;
  }

  function value(row, column) {
    const cell = row.cells[column];
    return "sort" in cell.dataset ? cell.dataset.sort : cell.textContent.trim().replace(/^-$/, "");
  }

  function sort(header, column) {
    const rising = header.getAttribute("aria-sort") !== "ascending";
    const numbers = rows.some((row) => "sort" in row.cells[column].dataset);
    const known = rows.filter((row) => value(row, column) !== "");
    const others = rows.filter((row) => value(row, column) === "");
    known.sort((one, other) => {
      const [a, b] = [value(one, column), value(other, column)];
      return (numbers ? a - b : a.localeCompare(b)) * (rising ? 1 : -1);
    });
    body.append(...known, ...others);
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", rising ? "ascending" : "descending");
  }

  Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    button.addEventListener("click", () => sort(header, column));
    header.replaceChildren(button);
  });
  for (const field of fields) field.addEventListener("input", filter);

  function open() {
    const section = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (section && section.tagName === "DETAILS") {
      section.hidden = false;
      section.open = true;
      section.scrollIntoView();
      section.querySelector("summary").focus({ preventScroll: true });
    }
  }
  window.addEventListener("hashchange", open);
  filter();
  open();
})();
