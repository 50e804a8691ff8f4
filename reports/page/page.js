// Click a heading to sort by it, numbers from high to low first; empty cells stay last.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th");
    const table = button.closest("table");
    const place = heading.cellIndex;
    const body = table.tBodies[0];
    const numeric = heading.classList.contains("number");
    const before = heading.getAttribute("aria-sort");
    const rising = before ? before === "descending" : !numeric;
    const key = (row) => {
      const cell = row.cells[place];
      if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
      const text = (cell.querySelector("summary") ?? cell).textContent.trim();
      return text === "" ? null : text;
    };
    const rows = [...body.rows].map((row) => [key(row), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      const order = typeof a === "number" && typeof b === "number"
        ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
      return rising ? order : -order;
    });
    body.append(...rows.map(([, row]) => row));
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
  });
}
