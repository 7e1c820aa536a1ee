// Sorting and filtering: DataTables on the tables that are there.
"use strict";
(() => {
  const { element } = bench;
  const MOST_ROWS = 60;

  // `filters`: each column has a search of its own; else there is one for the table.
  function enhance(table, { paging = false, filters = false } = {}) {
    const stub = Number(table.dataset.stub || 1);
    const align = table.dataset.align || "";
    const types = [...table.tHead.rows[0].cells].map((cell, index) => ({
      targets: index,
      type: index >= stub && (align[index - stub] ?? "r") === "r" ? "num" : "string",
    }));
    const rows = table.tBodies[0].rows.length;
    const paged = paging || rows > MOST_ROWS;
    const made = new DataTable(table, {
      paging: paged,
      pageLength: 25,
      lengthMenu: [10, 25, 50, 100, { label: "all", value: -1 }],
      info: rows > 8,
      searching: rows > 2,
      autoWidth: false,
      order: [],
      columnDefs: types,
      ordering: { indicators: false, handler: false },
      columnControl: filters || paged ? ["order", ["search"]] : ["order"],
      layout: {
        topStart: rows > 8 ? "search" : null,
        topEnd: null,
        bottomStart: paged ? ["info", "paging", "pageLength"] : rows > 8 ? "info" : null,
        bottomEnd: null,
      },
      language: { search: "Filter", searchPlaceholder: "any column", emptyTable: "Nothing to show." },
    });
    made.table().node().paged = paged;
    // A group's name is hidden where the row above has it; after sorting it may not.
    made.on("order", () => table.classList.toggle("sorted", made.order().length > 0));
    return made;
  }

  // A table of texts, numbers and elements. `columns`: {title, align}; a cell: text, {text, order} or {node, order}.
  function build({ id, caption, columns, rows, stub = 1, className = "" }) {
    const head = element("tr", {}, ...columns.map((column) =>
      element("th", { scope: "col", class: column.align || "r" }, column.title)));
    const body = rows.map((row) => element("tr", {}, ...row.map((cell, index) => {
      const content = cell !== null && typeof cell === "object" ? cell : { text: cell };
      const name = index < stub ? "th" : "td";
      return element(name, {
        class: columns[index].align || "r",
        scope: index < stub ? "row" : null,
        "data-order": content.order ?? null,
      }, content.node || String(content.text ?? ""));
    })));
    return element("table", {
      id, class: `printed ${className}`, "data-stub": stub,
      "data-align": columns.slice(stub).map((column) => column.align || "r").join(""),
    }, element("caption", { id: `${id}-title` }, caption), element("thead", {}, head), element("tbody", {}, ...body));
  }

  function framed(table) {
    return element("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-labelledby": `${table.id}-title` },
      table);
  }

  // A view's tables are enhanced when it is looked at for the first time.
  function enhanceAll(view) {
    for (const table of view.querySelectorAll("table.printed:not(.dataTable)")) enhance(table);
  }

  // On paper all rows are seen.
  let lengths = [];
  window.addEventListener("beforeprint", () => {
    lengths = [...document.querySelectorAll("table.dataTable")].filter((table) => table.paged)
      .map((table) => new DataTable.Api(table)).map((api) => [api, api.page.len()]);
    for (const [api] of lengths) api.page.len(-1).draw();
  });
  window.addEventListener("afterprint", () => {
    for (const [api, length] of lengths) api.page.len(length).draw();
  });

  bench.tables = { enhance, enhanceAll, build, framed };
})();
