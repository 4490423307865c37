"use strict";
// Search, sort, copy and save. The page shows everything without this script.
(() => {
  const said = document.getElementById("said");
  let saying;
  const say = (text) => {
    said.textContent = text;
    clearTimeout(saying);
    saying = setTimeout(() => { said.textContent = ""; }, 2500);
  };

  // ---------------------------------------------------------------- copying

  const copyByHand = (text) => {
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest(".copy");
    if (!button) return;
    const text = button.dataset.copy;
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      done = copyByHand(text);  // an old browser, or a page without access to the clipboard
      button.focus();
    }
    say(done ? "Copied" : "The browser blocked copying");
  });
  for (const button of document.querySelectorAll(".copy")) button.hidden = false;

  // ---------------------------------------------------------------- saving the JSON

  const download = document.getElementById("download");
  download.hidden = false;
  download.addEventListener("click", () => {
    const text = document.getElementById("result").textContent;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "certhash.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });

  // ---------------------------------------------------------------- searching and sorting

  const worst = ["mismatch", "rejected", "unverifiable", "unseen", "match"];
  const rank = (text) => {
    const index = worst.findIndex((verdict) => text.slice(2).startsWith(verdict));
    return index < 0 ? worst.length : index;
  };

  // The layout of thousands of rows takes a browser a second. So this many are shown at first, and a button shows
  // the rest. Without this script, and on paper, all rows are shown.
  const most = 300;

  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    const form = document.querySelector(`form[data-for="${table.id}"]`);
    const [search, select, output, more] = ["input", "select", "output", "button"].map((name) => form.querySelector(name));
    const rows = Array.from(body.rows);
    const texts = new Map();
    const text = (row) => {
      if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
      return texts.get(row);
    };
    let found = rows;
    let limit = most;

    const show = () => {
      const shown = found.slice(0, limit);
      body.replaceChildren(...shown);
      const number = (count) => count.toLocaleString("en");
      output.textContent = `${number(found.length)} of ${number(rows.length)}`
        + (shown.length < found.length ? `, first ${number(shown.length)} shown` : "");
      more.hidden = shown.length === found.length;
    };
    const filter = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const verdict = select.value;
      found = rows.filter((row) => words.every((word) => text(row).includes(word))
        && (!verdict || Array.from(row.cells).some((cell) => cell.className === verdict)));
      show();
    };
    search.addEventListener("input", filter);
    select.addEventListener("change", filter);
    more.addEventListener("click", () => { limit = Infinity; show(); });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    addEventListener("beforeprint", () => body.replaceChildren(...found));
    addEventListener("afterprint", show);

    const heads = Array.from(table.tHead.rows[0].cells);
    const sort = (head, column) => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const keys = new Map(rows.map((row) => [row, row.cells[column].textContent.trim()]));
      const compare = (a, b) => rank(a) - rank(b) || (a < b ? -1 : Number(a > b));
      const way = descending ? -1 : 1;
      rows.sort((a, b) => way * compare(keys.get(a), keys.get(b)));
      filter();
    };
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(head, column));
    });
    show();
  }

  // A matrix with many columns does not fit on paper: the list of all checks is printed instead.
  const all = document.querySelector(".wide + section details.all");
  if (all) {
    addEventListener("beforeprint", () => { all.open = true; });
    addEventListener("afterprint", () => { all.open = false; });
  }
})();
