// Box plots, curves and scatter plots: Plotly, read when the first plot comes into sight, in the page's colours.
"use strict";
(() => {
  const { element } = bench;
  // Wong, Points of view: Color blindness, Nature Methods 2011; on dark paper lighter ones first.
  const LIGHT = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
  const DARK = ["#56B4E9", "#E69F00", "#2CC59A", "#E295BF", "#FF8A3D", "#F0E442"];
  // In pixels: what fits between the margins of A4 and of US letter. A plot is as wide as it was drawn.
  const PAPER = 680;
  const drawn = new Set();

  function palette() {
    return document.documentElement.classList.contains("dark") ? DARK : LIGHT;
  }

  // Plotly reads its texts as markup.
  function plain(text) {
    return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  }

  function colour(name) {
    const probe = element("span", { class: `probe-${name}`, hidden: true });
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  function layoutOf(layout) {
    const ink = colour("ink");
    const line = colour("line");
    const axis = (given = {}) => ({
      gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, fixedrange: false,
      ...given, title: given.title ? { text: given.title, standoff: 8 } : undefined,
    });
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", colorway: palette(),
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink },
      margin: { l: 56, r: 16, t: 8, b: 44 }, hoverlabel: { font: { size: 12 } },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      width: document.documentElement.classList.contains("printing") ? PAPER : undefined,
      ...layout, xaxis: axis(layout.xaxis), yaxis: axis(layout.yaxis),
    };
  }

  async function draw(place, traces, layout, onClick) {
    await bench.library("plotly");
    if (!place.isConnected) return;
    place.textContent = "";
    await Plotly.newPlot(place, traces(palette()), layoutOf(layout), { displayModeBar: false, responsive: true });
    if (onClick) place.on("plotly_click", (event) => onClick(event.points[0]));
    drawn.add(place);
  }

  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) entry.target.draw();
    }
  }, { rootMargin: "200px" });

  // A figure whose plot is drawn when it comes near. `traces` is asked for them with the colours of the day; `label` says what it shows to who cannot see it.
  function figure(traces, { layout = {}, label, caption, height = 320, onClick } = {}) {
    const place = element("div", { class: "plot", role: "img", "aria-label": label });
    place.draw = () => {
      near.unobserve(place);
      return draw(place, traces, { ...layout, height }, onClick);
    };
    near.observe(place);
    return element("figure", { class: "drawn" }, place, element("figcaption", {}, caption));
  }

  document.addEventListener("bench-theme", () => {
    for (const place of drawn) {
      if (place.isConnected) place.draw(); else drawn.delete(place);
    }
  });

  // The boxes of all cells of a launch in one measure; a box leads to its cell.
  function boxes(grid, measure) {
    const cells = grid.cells.filter((cell) => cell.boxes[measure.key]).reverse();
    const column = (index) => cells.map((cell) => cell.boxes[measure.key][index]);
    const box = (colours) => ({
      type: "box", orientation: "h", y: cells.map((cell) => plain(cell.label)), name: "",
      lowerfence: column(0), q1: column(1), median: column(2), q3: column(3), upperfence: column(4),
      line: { width: 1.2, color: colours[0] }, fillcolor: `${colours[0]}38`, whiskerwidth: 0.5,
    });
    const means = (colours) => ({
      type: "scatter", mode: "markers", y: cells.map((cell) => plain(cell.label)), x: cells.map((cell) => cell.values[measure.key]), name: "mean",
      marker: { symbol: "diamond", size: 6, color: colours[1] },
      hovertemplate: "%{y}: %{x:.2f}<extra>mean</extra>",
    });
    return figure((colours) => [box(colours), means(colours)], {
      layout: { xaxis: { title: measure.title }, showlegend: false, margin: { l: 56, r: 16, t: 4, b: 44 } },
      height: 70 + Math.max(cells.length, 2) * (cells.length > 30 ? 17 : 26),
      label: `Box plots of ${measure.name} by cell. The same numbers stand in the table of cells.`,
      caption: `${measure.title} of single test cases, means over seeds: quartiles, whiskers to the farthest case within 1.5 `
        + "interquartile ranges; the diamond is the cell's mean. A box leads to its cell.",
      onClick: (point) => {
        const cell = cells.find((one) => plain(one.label) === point.y);
        if (cell) bench.go(bench.numberLink(cell.address));
      },
    });
  }

  function curves(runs) {
    const named = runs.filter((run) => run.curves.steps.length);
    const several = named.length > 1;
    const traces = (wanted) => named.flatMap((run) => Object.entries(run.curves.series)
      .filter(([name]) => name.startsWith("val_") === wanted)
      .map(([name, values]) => ({
        type: "scatter", mode: wanted ? "lines+markers" : "lines", connectgaps: true, x: run.curves.steps, y: values,
        name: plain(several ? `${name}, fold ${run.fold}, seed ${run.seed}` : name), line: { width: 1.4 }, marker: { size: 5 },
      })));
    const figures = [];
    if (traces(false).length) {
      figures.push(figure(() => traces(false), {
        layout: { xaxis: { title: "Optimiser step" }, yaxis: { title: "Loss", type: "log" } },
        label: "Training losses over optimiser steps", caption: "Training losses, unweighted, by name; a name switches its curve.",
      }));
    }
    if (traces(true).length) {
      figures.push(figure(() => traces(true), {
        layout: { xaxis: { title: "Optimiser step" }, yaxis: { title: "Validation" } },
        label: "Validation scores over optimiser steps", caption: "On the validation part of the training patients.",
      }));
    }
    return figures;
  }

  // Those that have not come into sight: on paper everything does.
  function drawAll(within) {
    for (const place of within.querySelectorAll(".plot")) {
      if (!drawn.has(place) && place.checkVisibility()) place.draw();
    }
  }
  window.addEventListener("beforeprint", () => drawAll(document));

  bench.plots = { figure, drawAll, boxes, curves, plain };
})();
