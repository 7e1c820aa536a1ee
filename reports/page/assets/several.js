// What was computed from several cells, or from rows of single runs that are no cell's: their numbers, and their rows.
"use strict";
(() => {
  const { element, shown } = bench;
  const { addressParts, addressOf, unknownMeasure, toGrid, provenance, fill } = bench.cell;

  // The cells that the address of several names, as `Places` in reports/ground/addresses.py: parts are compared as
  // they are encoded, * fits every one.
  function findSeveral(address) {
    const { begin, rest, key } = addressParts(address);
    const patterns = rest.split("|").map((pattern) => pattern.split("/"));
    if (patterns.length === 1 && !patterns[0].includes("*")) return null;
    const fitsOne = (pattern, place) => pattern.length === place.length
      && pattern.every((part, index) => part === "*" || part === place[index]);
    const fits = (place) => patterns.some((pattern) => fitsOne(pattern, place));
    for (const grid of bench.report.grids) {
      const cells = grid.cells.filter((cell) => cell.address.startsWith(begin)
        && fits(cell.address.slice(begin.length).split("/")));
      if (!cells.length) continue;
      const places = cells.map((cell) => cell.address.slice(begin.length).split("/"));
      const absent = patterns.filter((pattern) => !places.some((place) => fitsOne(pattern, place)));
      return { grid, cells, key, absent: absent.map((pattern) => pattern.map(bench.decoded).join("/")) };
    }
    return null;
  }

  // The rows of single runs that an address names, as places in the report's `parts`, and those that are not there; null
  // for every other address.
  function findParts(address) {
    const begin = "run:";
    if (!address.startsWith(begin)) return null;
    const named = address.slice(begin.length).split("#")[0].split("|");
    const numbers = named.map((place) => bench.report.parts.indexOf(begin + place));
    return { numbers: numbers.filter((number) => number >= 0),
      absent: named.filter((_, index) => numbers[index] < 0).map(bench.decoded) };
  }

  function notHere(absent) {
    return absent.length ? element("p", { class: "remark" }, `Not on this page: ${absent.join(", ")}.`) : null;
  }

  function showSeveral(view, { grid, cells, key, absent }) {
    const about = grid.measures.find((one) => one.key === key) || grid.measures[0];
    const measures = [about, ...grid.measures.filter((one) => one !== about)].filter((one) => one);
    const printed = measures.filter((one) => cells.some((cell) => cell.published[one.key] != null));
    const number = (cell, measure) => {
      const value = cell.values[measure.key];
      const href = bench.numberLink(addressOf(cell, grid, measure.key));
      return { node: element("a", { href }, value == null ? "–" : shown(value)), order: value ?? "" };
    };
    const table = bench.tables.build({
      id: "several-table", caption: "Every number leads to its runs and cases.",
      columns: [{ title: "Cell", align: "l" }, ...measures.map((measure) => ({ title: measure.heading })),
        ...printed.map((measure) => ({ title: `${measure.name}, published` }))],
      rows: cells.map((cell) => [cell.label, ...measures.map((measure) => number(cell, measure)),
        ...printed.map(({ key: of }) => ({ text: cell.published[of] == null ? "–" : shown(cell.published[of]),
          order: cell.published[of] ?? "" }))]),
    });
    view.querySelector("h2").textContent = cells.length === 1 ? "One cell" : `${cells.length} cells`;
    view.querySelector(".where").replaceChildren(...toGrid(grid));
    fill(view.querySelector(".body"),
      element("p", {}, "The number that led here was computed from the scores of these cells, or from what was published of them."),
      notHere(absent), unknownMeasure(grid, key) ? element("p", { class: "remark" }, unknownMeasure(grid, key)) : null,
      bench.tables.framed(table));
    bench.tables.enhance(table);
  }

  function partTable(content, number) {
    const cell = (value) => ({ text: shown(value), order: value ?? "" });
    const table = bench.tables.build({
      id: `part-table-${number}`, stub: 1,
      caption: "Scores of single cases, their means, standard deviations (SD, n − 1) and medians. (Comparisons of a search are means over patients.)",
      columns: [...content.columns.map((title) => ({ title, align: "l" })), ...content.measures.map((title) => ({ title }))],
      rows: content.cases.map((names, index) => [...names, ...content.values[index].map(cell)]),
    });
    table.append(element("tfoot", {}, ...content.means.map(([title, means]) => element("tr", {},
      element("th", { scope: "row", colspan: content.columns.length, class: "l" }, title),
      ...means.map((value) => element("td", { class: "r" }, shown(value)))))));
    return table;
  }

  async function showParts(view, { numbers, absent }) {
    const body = view.querySelector(".body");
    view.querySelector("h2").textContent = numbers.length === 1 ? "One run" : `${numbers.length} runs`;
    view.querySelector(".where").replaceChildren();
    const reading = element("p", { role: "status" }, "Reading the runs' rows …");
    body.replaceChildren(reading);
    let contents;
    try {
      contents = await Promise.all(numbers.map((number) => bench.load(`runs/${number}`)));
    } catch (error) {
      if (reading.isConnected) body.replaceChildren(element("p", { class: "wrong", role: "alert" }, error.message));
      return;
    }
    if (!reading.isConnected) return;
    const tables = contents.map(partTable);
    fill(body, notHere(absent), ...contents.flatMap((content, index) => [
      element("h3", {}, `Run ${content.run}, ${content.part}${content.reading ? `, read as ${content.reading}` : ""}`),
      ...content.faults.map((fault) => element("p", { class: "wrong", role: "alert" }, fault)),
      bench.tables.framed(tables[index]),
      element("div", { class: "side-by-side" }, ...bench.plots.curves([content])),
      ...provenance([content])]));
    for (const table of tables) bench.tables.enhance(table);
  }

  // Show what an address names, if it is of several cells or of runs; whether it is. The heading is there at once.
  function show(view, address) {
    const rows = findParts(address);
    if (rows?.numbers.length) {
      showParts(view, rows);
      return true;
    }
    const several = rows ? null : findSeveral(address);
    if (several) showSeveral(view, several);
    return several !== null;
  }

  bench.several = { show };
})();
