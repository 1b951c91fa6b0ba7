// Tables that sort by a click on a heading, and code that can be copied.

/** What a cell sorts by: its first number, or its text. */
function sortKey(cell) {
  const text = cell.textContent.trim();
  const number = parseFloat(text.replaceAll(",", ""));
  return cell.classList.contains("number") ? (Number.isNaN(number) ? -Infinity : number) : text.toLowerCase();
}

function makeSortable(table) {
  const headings = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  headings.forEach((heading, column) => {
    const sort = () => {
      const ascending = heading.getAttribute("aria-sort") !== "ascending";
      for (const each of headings) each.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const compared = (a, b) => {
        const [x, y] = [sortKey(a.cells[column]), sortKey(b.cells[column])];
        return (x < y ? -1 : x > y ? 1 : 0) * (ascending ? 1 : -1);
      };
      body.append(...[...body.rows].sort(compared));
    };
    heading.replaceChildren(html("button", {type: "button", onclick: sort}, heading.textContent));
  });
}

function makeCopyable(code) {
  const button = html("button", {type: "button", onclick: copy}, "Copy");
  async function copy() {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // the browser refuses: leave it marked, ready for a key
      button.textContent = "Marked";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }
  const holder = html("div", {class: "snippet"});
  code.replaceWith(holder);
  holder.append(code, button);
}
