/* A click, or Enter, on a header sorts the table by that column: numbers by value, the rest as text. */
for (const table of document.querySelectorAll("table.cells, table.classes, table.checks")) {
  const [head, ...rows] = table.rows;
  if (rows.length < 2) continue;
  const value = (row, column) => row.cells[column].textContent.trim();
  const number = (text) => parseFloat(text.replace(/,(?=\d{3})/g, "").replace("−", "-").replace(/^< /, ""));
  const compare = (one, other) => {
    const [a, b] = [number(one), number(other)];
    if (isNaN(a) !== isNaN(b)) return isNaN(a) ? 1 : -1;
    return isNaN(a) ? one.localeCompare(other) : a - b;
  };
  [...head.cells].forEach((cell, column) => {
    const sort = () => {
      const falling = cell.getAttribute("aria-sort") === "ascending";
      for (const other of head.cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", falling ? "descending" : "ascending");
      rows.sort((a, b) => (falling ? -1 : 1) * compare(value(a, column), value(b, column)));
      rows.forEach((row) => row.parentNode.appendChild(row));
    };
    cell.tabIndex = 0;
    cell.title = cell.title || "sort by this column";
    cell.addEventListener("click", sort);
    cell.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
    });
  });
}
