"use strict";
(() => {
  const live = document.getElementById("live");
  const ORDER = new Intl.Collator("en", { numeric: true });

  // A head becomes a button; a cell is sorted by what it says for that, or by its text. What has no value stays at the end.
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    const key = (row, at) => { const cell = row.cells[at]; return cell.dataset.sort ?? cell.textContent.trim(); };
    heads.forEach((th, at) => {
      if (th.classList.contains("drawn")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...th.childNodes);
      th.append(button);
      th.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const rows = [...body.rows], numbers = rows.every((row) => key(row, at) === "" || Number.isFinite(Number(key(row, at))));
        const now = th.getAttribute("aria-sort"), up = now === "none" ? !numbers : now === "descending";
        rows.sort((a, b) => {
          const x = key(a, at), y = key(b, at);
          if (x === "" || y === "") return (x === "") - (y === "");
          return (numbers ? Number(x) - Number(y) : ORDER.compare(x, y)) * (up ? 1 : -1);
        });
        body.append(...rows);
        for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
        th.setAttribute("aria-sort", up ? "ascending" : "descending");
        live.textContent = `Sorted by ${button.textContent}, ${up ? "smallest" : "largest"} first`;
      });
    });
  }

  // What is printed is open.
  let shut = [];
  addEventListener("beforeprint", () => { shut = [...document.querySelectorAll("details.of-arm:not([open])")]; shut.forEach((node) => { node.open = true; }); });
  addEventListener("afterprint", () => { shut.forEach((node) => { node.open = false; }); });
})();
