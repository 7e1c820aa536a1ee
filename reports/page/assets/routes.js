// The part of the address behind # says which view is shown: #/, #/grid/NAME, #/number/ADDRESS, #/failures/NAME, #/all.
"use strict";
(() => {
  const views = [...document.querySelectorAll("section.view")];
  const title = document.title;
  // A viewer of artifacts shows the page as a blob in a sandbox, where the address may not change, not even behind #.
  const fixed = location.protocol === "blob:" || location.protocol === "about:";
  let fixedHash = location.hash;
  let first = true;

  function parsed() {
    const [path, query = ""] = (fixed ? fixedHash : location.hash).replace(/^#\/?/, "").split("?");
    const [kind, ...rest] = path.split("/");
    return { kind: kind || "overview", name: bench.decoded(rest.join("/")), query: new URLSearchParams(query) };
  }

  function viewOf({ kind, name }) {
    if (kind !== "grid") return document.getElementById(`view-${kind}`);
    return views.find((view) => view.dataset.grid === name || view.dataset.name === name);
  }

  function drawBoxes(view, name) {
    const place = view.querySelector(".boxes");
    if (!place || place.childElementCount) return;
    const grid = bench.grid(name);
    const draw = (key) => {
      const measure = grid.measures.find((one) => one.key === key);
      place.replaceChildren(bench.plots.boxes(grid, measure));
    };
    const select = view.querySelector(".box-measure");
    select.addEventListener("change", () => draw(select.value));
    draw(select.value);
  }

  function route() {
    const wanted = parsed();
    const all = wanted.kind === "all";
    const view = viewOf(wanted) || document.getElementById("view-overview");
    for (const one of views) one.hidden = all ? one.dataset.dynamic !== undefined : one !== view;
    for (const one of all ? views.filter((shown) => !shown.hidden) : [view]) {
      bench.tables.enhanceAll(one);
      if (one.dataset.name) drawBoxes(one, one.dataset.name);
    }
    if (all) bench.plots.drawAll(document);
    if (wanted.kind === "number") bench.cell.show(view, wanted.name);
    if (wanted.kind === "failures") bench.failures.show(view, wanted.name, wanted.query);
    for (const link of document.querySelectorAll("nav.views a")) {
      const here = link.dataset.view === (all ? "all" : view.id);
      if (here) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
    }
    const heading = view.querySelector("h2");
    document.title = all || view.id === "view-overview" ? title : `${heading.textContent} – ${title}`;
    // A reader who follows a link wants to hear, and see, where it led to. A choice inside a view keeps its place.
    const inside = document.activeElement?.closest(".choices");
    if (!first && !inside) {
      window.scrollTo(0, 0);
      heading.focus({ preventScroll: true });
    }
    first = false;
  }

  // Show the view of a hash.
  bench.go = (hash) => {
    if (!fixed) {
      location.hash = hash;
      return;
    }
    fixedHash = hash;
    route();
  };
  if (fixed) {
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a[href^='#/']");
      if (!link) return;
      event.preventDefault();
      bench.go(link.getAttribute("href"));
    });
  }
  window.addEventListener("hashchange", route);
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    document.querySelector("main").focus();
  });
  route();
})();
