// A number taken apart: the cell's runs, how they were made, and the scores of single cases it is the mean of.
"use strict";
(() => {
  const { element, shown } = bench;
  const single = document.documentElement.dataset.single !== undefined;

  // The place and the measure of an address; a grid's name stands for the launch that `bench why` shows, too.
  function addressParts(address) {
    const [place, key = ""] = address.split("#");
    const colon = place.indexOf(":");
    const name = place.slice(0, colon);
    const begin = `${bench.report.launches[bench.decoded(name)] || name}:`;
    return { begin, rest: place.slice(colon + 1), key: bench.decoded(key) };
  }

  // What is said where an address asks for a measure that the launch was not scored in.
  function unknownMeasure(grid, key) {
    const known = !key || grid.measures.some((one) => one.key === key);
    return known ? "" : `This launch has no scores in ${key}; these are its others.`;
  }

  function find(address) {
    const { begin, rest, key } = addressParts(address);
    for (const [number, grid] of bench.report.grids.entries()) {
      const index = grid.cells.findIndex((cell) => cell.address === begin + rest);
      if (index >= 0) {
        return { number, grid, index, cell: grid.cells[index],
          measure: grid.measures.find((one) => one.key === key) || grid.measures[0], unknown: unknownMeasure(grid, key) };
      }
    }
    return null;
  }

  // The address of a cell's number in a measure.
  function addressOf(cell, grid, key) {
    return key === grid.measures[0].key ? cell.address : `${cell.address}#${encodeURIComponent(key)}`;
  }

  function fill(place, ...children) {
    place.replaceChildren(...children.filter((child) => child));
  }

  // The mean over cases of a fold and seed, over folds, over seeds; what is undefined is left out.
  function means(values, cases, runs) {
    const done = runs.filter((run) => run.state === "done");
    const seeds = [...new Set(done.map((run) => run.seed))];
    const ofRun = (run) => bench.mean([...values.get(run.seed)].filter((_, index) => cases.fold[index] === run.fold));
    const bySeed = seeds.map((seed) => bench.mean(done.filter((run) => run.seed === seed).map(ofRun)));
    return { ofRun, value: bench.mean(bySeed) };
  }

  function bySeed(content, grid, measure) {
    return new Map(grid.seeds.map((seed, index) => [seed, bench.numbers(content.scores[measure.key][index])]));
  }

  // A number beside the table's; with all its digits where it is another one.
  function beside(title, value, printed) {
    const same = bench.same(printed, value);
    const none = value == null || Number.isNaN(value);
    return element("div", {}, element("dt", {}, title),
      element("dd", { class: same ? "big" : "big wrong" }, none ? "–" : same ? shown(printed) : String(Number(value.toPrecision(9))),
        same ? (none ? "" : " ✓ the same") : " ≠ NOT the same"));
  }

  // Of single cases, each the mean of its seeds; what is undefined is left out.
  function spread(values) {
    const seeds = [...values.values()];
    const cases = Array.from(seeds[0] ?? [], (_, index) => bench.mean(seeds.map((scores) => scores[index])))
      .filter((value) => value != null && Number.isFinite(value)).sort((a, b) => a - b);
    const n = cases.length, mean = bench.mean(cases), half = n >> 1;
    return {
      sd: n > 1 ? Math.sqrt(cases.reduce((total, value) => total + (value - mean) ** 2, 0) / (n - 1)) : null,
      median: n ? (n % 2 ? cases[half] : (cases[half - 1] + cases[half]) / 2) : null,
    };
  }

  function summary(found, sum, content, values) {
    const { sd, median } = spread(values);
    const printed = found.cell.values[found.measure.key];
    const { runs } = content;
    const done = runs.filter((run) => run.state === "done").length;
    return element("dl", { class: "number" },
      element("div", {}, element("dt", {}, `${found.measure.title} in the table`),
        element("dd", { class: "big" }, printed == null ? "–" : shown(printed))),
      beside("Computed again here from the rows below", sum.value, printed),
      beside("Computed again from the files when the page was written", content.recomputed[found.measure.key], printed),
      ...[["SD of its cases (n − 1)", sd], ["Median of its cases", median]].map(([title, value]) =>
        element("div", {}, element("dt", {}, title), element("dd", { class: "big" }, value == null ? "–" : shown(value)))),
      element("div", {}, element("dt", {}, "Runs done, of planned"), element("dd", { class: "big" }, `${done}/${runs.length}`)));
  }

  function about(content) {
    const near = content.neighbours.map((one) => element("li", {}, `Other ${one.along} (${one.cells.join(", ")}): `
      + `the configurations differ in ${one.differences.join("; ") || "nothing"}.`));
    return [
      ...content.faults.map((fault) => element("p", { class: "wrong", role: "alert" }, fault)),
      element("ul", { class: "notes" },
        content.published ? element("li", {}, `Published: ${content.published}`) : null,
        ...content.remarks.map((remark) => element("li", {}, remark)), ...near),
    ];
  }

  function runsTable(runs, sum, measure) {
    return bench.tables.build({
      id: "runs-table", caption: "Runs of the cell. The number is the mean over cases within a run, then folds, then seeds.",
      columns: [{ title: "Run", align: "l" }, { title: "Fold" }, { title: "Seed" }, { title: "State", align: "l" },
        { title: measure.title }, { title: "Git commit", align: "l" }, { title: "Device", align: "l" }],
      rows: runs.map((run) => [
        run.reading ? `${run.run}, read as ${run.reading}` : run.run, run.fold, run.seed,
        run.failure ? `${run.state} (${run.failure})` : run.state,
        run.state === "done" ? { text: shown(sum.ofRun(run)), order: sum.ofRun(run) } : "–",
        (run.facts["Git commit"] || "–").slice(0, 12), run.facts.Device || "–"]),
    });
  }

  function casesTable(found, content, cases) {
    const { grid } = found;
    const columns = grid.measures.flatMap((measure) => grid.seeds.map((seed, index) => ({
      title: grid.seeds.length > 1 ? `${measure.heading}, seed ${seed}` : measure.heading,
      values: bench.numbers(content.scores[measure.key][index]),
    })));
    const order = (value) => (Number.isFinite(value) ? value : "");
    const rows = cases.case_id.map((name, index) => [name, cases.patient[index], cases.fold[index],
      ...columns.map(({ values }) => ({ text: shown(values[index]), order: order(values[index]) }))])
      .filter((_, index) => columns.some(({ values }) => values[index] !== Infinity));
    return bench.tables.build({
      id: "cases-table", stub: 1, rows,
      caption: "Scores of single test cases. Undefined: there is nothing to find in the case, so that the score has no value.",
      columns: [{ title: "Case", align: "l" }, { title: "Patient", align: "l" }, { title: "Fold" },
        ...columns.map(({ title }) => ({ title }))],
    });
  }

  // Text, or a link where it is the address of a web page.
  function linked(text) {
    return /^https?:\/\/\S+$/.test(text) ? element("a", { href: text, rel: "noreferrer noopener" }, text) : text;
  }

  function provenance(runs) {
    return runs.map((run) => element("details", { class: "run" },
      element("summary", {}, run.fold == null ? `Run ${run.run}` : `Run ${run.run}, fold ${run.fold}, seed ${run.seed}`),
      run.error ? element("p", { class: "wrong" }, run.error) : null,
      element("dl", { class: "facts" }, ...Object.entries(run.facts).flatMap(([name, value]) =>
        [element("div", {}, element("dt", {}, name), element("dd", {}, name === "MLflow" ? linked(value) : value))])),
      run.config ? element("pre", { tabindex: "0", role: "region", "aria-label": `Configuration of run ${run.run}` }, run.config)
        : null,
      run.pictures.length && single ? element("p", { class: "remark" }, "Its pictures are in the folder of the page, beside its index.html.") : null,
      ...(single ? [] : run.pictures).map((picture) => element("figure", {},
        element("img", { src: picture.file, alt: picture.what, loading: "lazy" }), element("figcaption", {}, picture.what)))));
  }

  function measureChoice(found, onChange) {
    const select = element("select", { id: "number-measure" }, ...found.grid.measures.map((measure) =>
      element("option", { value: measure.key, selected: measure.key === found.measure.key }, measure.title)));
    select.addEventListener("change", () => onChange(select.value));
    return element("p", { class: "choices" }, element("label", { for: "number-measure" }, "Measure "), select);
  }

  function toGrid(grid) {
    return [element("a", { href: `#/grid/${encodeURIComponent(grid.name)}` }, `Table ${grid.table}`), ` – ${grid.name}`];
  }

  async function show(view, address) {
    const body = view.querySelector(".body");
    const heading = view.querySelector("h2");
    view.querySelector("code").textContent = `bench why '${address.replaceAll("'", "'\\''")}'`;
    if (bench.several.show(view, address)) return;
    const found = find(address);
    if (!found) {
      heading.textContent = address;
      view.querySelector(".where").replaceChildren();
      body.replaceChildren(element("p", {}, "This page has no such number: its launch may not have been shown. "
        + "The command above looks it up in the results."));
      return;
    }
    heading.textContent = found.cell.label;
    view.querySelector(".where").replaceChildren(...toGrid(found.grid));
    const reading = element("p", { role: "status" }, "Reading the cell's cases …");
    body.replaceChildren(reading);
    let content, cases;
    try {
      [content, cases] = await Promise.all([bench.load(`${found.number}/${found.index}`), bench.load(`${found.number}/cases`)]);
    } catch (error) {
      if (reading.isConnected) body.replaceChildren(element("p", { class: "wrong", role: "alert" }, error.message));
      return;
    }
    // Meanwhile another number may have been asked for.
    if (!reading.isConnected) return;
    const values = bySeed(content, found.grid, found.measure);
    const sum = means(values, cases, content.runs);
    const tables = [runsTable(content.runs, sum, found.measure), casesTable(found, content, cases)];
    const points = [...values].map(([seed, scores]) => ({
      type: "box", orientation: "h", boxpoints: "all", jitter: 0.5, pointpos: 0, x: [...scores].map((v) => (Number.isFinite(v) ? v : null)),
      text: cases.case_id.map(bench.plots.plain), name: `seed ${seed}`,
      marker: { size: 5, opacity: 0.65 }, line: { width: 1.2 }, hovertemplate: "%{text}: %{x:.2f}<extra></extra>",
    }));
    const curves = bench.plots.curves(content.runs);
    fill(body,
      measureChoice(found, (key) => bench.go(bench.numberLink(addressOf(found.cell, found.grid, key)))),
      found.unknown ? element("p", { class: "remark" }, found.unknown) : null,
      summary(found, sum, content, values),
      ...about(content),
      bench.tables.framed(tables[0]),
      element("h3", {}, "Single cases"),
      bench.plots.figure(() => points, {
        layout: { xaxis: { title: found.measure.title }, showlegend: false, margin: { l: 56, r: 16, t: 4, b: 44 } },
        height: 90 + 64 * values.size,
        label: `${found.measure.name} of single cases, a box a seed; the numbers stand in the table of cases`,
        caption: "Every point is a test case.",
      }),
      bench.tables.framed(tables[1]),
      element("h3", {}, "Training"),
      curves.length ? element("div", { class: "side-by-side" }, ...curves)
        : element("p", {}, "None of the runs has a training history."),
      element("h3", {}, "How it was made"), ...provenance(content.runs));
    bench.tables.enhance(tables[0]);
    bench.tables.enhance(tables[1], { paging: true });
  }

  bench.cell = { show, find, addressParts, addressOf, unknownMeasure, toGrid, provenance, fill };
})();
