// Where one cell is better than another by most, case by case, with pictures.
"use strict";
(() => {
  const { element, shown } = bench;

  function select(id, label, options, chosen) {
    const made = element("select", { id }, ...options.map(([value, text]) =>
      element("option", { value, selected: value === chosen }, text)));
    return [element("div", {}, element("label", { for: id }, label), made), made];
  }

  function defaults(grid, measure) {
    const known = grid.cells.map((cell, index) => [index, cell.values[measure.key]]).filter(([, value]) => value != null);
    known.sort((one, other) => (measure.higher ? other[1] - one[1] : one[1] - other[1]));
    const best = known.length ? known[0][0] : 0;
    return [best, known.length > 1 ? known[known.length - 1][0] : best];
  }

  function overSeeds(content, measure, n) {
    const seeds = content.scores[measure.key].map(bench.numbers);
    return Array.from({ length: n }, (_, index) => bench.mean(seeds.map((values) => values[index])));
  }

  // The pictures of a cell by case; none where they are not beside the page.
  async function pictures(number, cell, content) {
    if (!content.thumbnails.length) return {};
    return bench.load(`${number}/${cell}-thumbnails`).catch(() => ({}));
  }

  function thumbnail(found, what) {
    if (!found) return element("span", { class: "none" }, "no picture");
    return element("img", { src: `data:image/png;base64,${found}`, alt: what, class: "thumbnail" });
  }

  function compared(first, second, measure) {
    const sign = measure.higher ? 1 : -1;
    return first.map((value, index) => ({ index, first: value, second: second[index], ahead: sign * (value - second[index]) }))
      .filter((row) => Number.isFinite(row.ahead))
      .sort((one, other) => other.ahead - one.ahead);
  }

  function table(rows, { names, seen, cases, measure }) {
    const pictured = seen.some((one) => Object.keys(one).length);
    const what = (name, index) => `Coronal projection of ${cases.case_id[index]}: ${name}`;
    return bench.tables.build({
      id: "failures-table", className: "failures",
      caption: `${measure.title} case by case, where A is ahead by most first.${pictured ? " Pictures: blue true positives, "
        + "orange missed, red false positives; the patient's right is on the left." : ""}`,
      columns: [{ title: "Case", align: "l" }, { title: "A ahead by" }, { title: "A" }, { title: "B" },
        ...(pictured ? [{ title: "A, from the front", align: "c" }, { title: "B, from the front", align: "c" }] : []),
        { title: "Patient", align: "l" }, { title: "Fold" }],
      rows: rows.map((row) => [cases.case_id[row.index], { text: shown(row.ahead), order: row.ahead },
        { text: shown(row.first), order: row.first }, { text: shown(row.second), order: row.second },
        ...(pictured ? [0, 1].map((side) => ({
          node: thumbnail(seen[side][row.index], what(names[side], row.index)), order: "" })) : []),
        cases.patient[row.index], cases.fold[row.index]]),
    });
  }

  function scatter(rows, cases, measure) {
    const ends = rows.flatMap((row) => [row.first, row.second]);
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    return bench.plots.figure(() => [{
      type: "scatter", mode: "markers", x: rows.map((row) => row.second), y: rows.map((row) => row.first),
      text: rows.map((row) => bench.plots.plain(cases.case_id[row.index])), marker: { size: 6, opacity: 0.7 },
      hovertemplate: "%{text}: A %{y:.2f}, B %{x:.2f}<extra></extra>",
    }], {
      layout: { xaxis: { title: `B: ${measure.title}` }, yaxis: { title: `A: ${measure.title}` }, showlegend: false,
        shapes: [{ type: "line", x0: low, y0: low, x1: high, y1: high, line: { width: 1, dash: "dot", color: "#888" } }] },
      label: `${measure.name} of A over that of B, a point a case; the numbers stand in the table`,
      caption: "Every point is a test case, the mean over seeds; on the dotted line both are equal.", height: 340,
    });
  }

  async function show(view, name, query) {
    const body = view.querySelector(".body");
    const grids = bench.report.grids.filter((grid) => grid.measures.length);
    const grid = bench.grid(name) || grids[0];
    if (!grid || !grid.measures.length) {
      body.replaceChildren(element("p", {}, "No launch has a scored case yet."));
      return;
    }
    const number = bench.report.grids.indexOf(grid);
    const measure = grid.measures.find((one) => one.key === query.get("measure")) || grid.measures[0];
    const [best, worst] = defaults(grid, measure);
    const index = (key, other) => {
      const found = grid.cells.findIndex((cell) => cell.address === query.get(key));
      return found >= 0 ? found : other;
    };
    const cells = [index("a", best), index("b", worst)];
    const names = cells.map((cell) => grid.cells[cell].label);
    const options = grid.cells.map((cell) => [cell.address, cell.label]);
    const [gridPart, gridSelect] = select("failures-grid", "Launch", grids.map((one) => [one.name, `Table ${one.table} (${one.name})`]), grid.name);
    const [measurePart, measureSelect] = select("failures-measure", "Measure", grid.measures.map((one) => [one.key, one.title]), measure.key);
    const [firstPart, firstSelect] = select("failures-a", "A", options, options[cells[0]][0]);
    const [secondPart, secondSelect] = select("failures-b", "B", options, options[cells[1]][0]);
    const swap = element("button", { type: "button" }, "Swap A and B");
    const go = (first, second) => {
      const query = new URLSearchParams({ measure: measureSelect.value, a: first, b: second });
      bench.go(gridSelect.value === grid.name ? `#/failures/${encodeURIComponent(grid.name)}?${query}`
        : `#/failures/${encodeURIComponent(gridSelect.value)}`);
    };
    for (const one of [gridSelect, measureSelect, firstSelect, secondSelect]) {
      one.addEventListener("change", () => go(firstSelect.value, secondSelect.value));
    }
    swap.addEventListener("click", () => go(secondSelect.value, firstSelect.value));
    const focused = document.activeElement?.id;
    const result = element("div", { role: "status" }, "Reading …");
    body.replaceChildren(element("div", { class: "choices" }, gridPart, measurePart, firstPart, secondPart, swap), result);
    if (focused) document.getElementById(focused)?.focus();
    let contents, cases, seen;
    try {
      [cases, ...contents] = await Promise.all([bench.load(`${number}/cases`), ...cells.map((cell) => bench.load(`${number}/${cell}`))]);
      seen = await Promise.all(cells.map((cell, side) => pictures(number, cell, contents[side])));
    } catch (error) {
      result.replaceChildren(element("p", { class: "wrong", role: "alert" }, error.message));
      return;
    }
    const n = cases.case_id.length;
    const [first, second] = contents.map((content) => overSeeds(content, measure, n));
    const rows = compared(first, second, measure);
    const count = (holds) => rows.filter((row) => holds(row.ahead)).length;
    const made = table(rows, { names, seen, cases, measure });
    result.replaceChildren(...[
      element("p", {}, element("b", {}, "A"), " ", element("a", { href: bench.numberLink(grid.cells[cells[0]].address) }, names[0]),
        ` is better in ${count((x) => x > 0)} cases, `, element("b", {}, "B"), " ",
        element("a", { href: bench.numberLink(grid.cells[cells[1]].address) }, names[1]),
        ` in ${count((x) => x < 0)}; equal in ${count((x) => x === 0)}; not defined for both in ${n - rows.length}.`),
      seen.every((one) => !Object.keys(one).length)
        ? element("p", { class: "remark" }, bench.report.thumbnails) : null,
      bench.tables.framed(made), rows.length ? scatter(rows, cases, measure) : null].filter(Boolean));
    bench.tables.enhance(made, { paging: true });
  }

  bench.failures = { show };
})();
