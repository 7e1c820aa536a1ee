// What the page knows, and what it reads when it is asked for: files beside the page, as scripts, since a browser
// fetches nothing for a file:// page; or, in the page that is a single file, elements of the page itself.
"use strict";
window.bench = (() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const loads = new Map();
  const waiting = new Map();

  function embedded(name) {
    return document.querySelector(`script[data-name="${CSS.escape(name)}"]`);
  }

  function addScript(prepare) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.addEventListener("load", resolve);
      script.addEventListener("error", () => reject(new Error("it cannot be read")));
      prepare(script);
      document.head.append(script);
      if (!script.src) resolve();
    });
  }

  // The content of data/NAME.js, read once.
  function load(name) {
    if (!loads.has(name)) {
      const block = embedded(name);
      loads.set(name, block
        ? Promise.resolve(JSON.parse(block.textContent))
        : new Promise((resolve, reject) => {
          waiting.set(name, resolve);
          addScript((script) => { script.src = `data/${name}.js`; }).catch(() => reject(
            new Error(`data/${name}.js is not beside this page. Open the page in the folder it was written to.`)));
        }));
    }
    return loads.get(name);
  }

  function receive(name, content) {
    waiting.get(name)?.(content);
  }

  // A library that is needed late.
  function library(name) {
    if (!loads.has(name)) {
      const block = embedded(name);
      loads.set(name, addScript((script) => {
        if (block) script.textContent = block.textContent; else script.src = `assets/${name}.js`;
      }));
    }
    return loads.get(name);
  }

  // float64 from base64; NaN is undefined, infinity is not scored.
  function numbers(text) {
    return new Float64Array(Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)).buffer);
  }

  // An element with text and children. Nothing in this page is ever made from a string of markup.
  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === true) made.setAttribute(key, "");
      else if (value !== false && value != null) made.setAttribute(key, value);
    }
    made.append(...children.filter((child) => child != null));
    return made;
  }

  function grid(name) {
    return report.grids.find((one) => one.name === name || one.grid === name);
  }

  function shown(value) {
    if (value == null || Number.isNaN(value)) return "undefined";
    if (value === Infinity) return "–";
    // A tie goes to the even digit, as in the tables; toFixed takes the larger one.
    const hundredths = Math.floor(Math.abs(value) * 100);
    const tie = Number.isInteger(value * 8) && !Number.isInteger(value * 4);
    const size = tie && hundredths % 2 === 0 ? hundredths / 100 : Math.abs(value);
    return `${value < 0 ? "−" : ""}${size.toFixed(2)}`;
  }

  // Whether both are the same number, or both undefined: sums in another order differ in their last bits.
  function same(one, other) {
    const [first, second] = [one, other].map((value) => value ?? NaN);
    if (Number.isNaN(first) || Number.isNaN(second)) return Number.isNaN(first) && Number.isNaN(second);
    return Math.abs(first - second) <= 1e-9 * Math.max(1, Math.abs(first));
  }

  // A part of an address; what is no encoding stands for itself.
  function decoded(text) {
    try { return decodeURIComponent(text); } catch { return text; }
  }

  function mean(values) {
    const known = values.filter((value) => value != null && Number.isFinite(value));
    return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : NaN;
  }

  function numberLink(address) {
    return `#/number/${encodeURIComponent(address)}`;
  }

  return { report, load, receive, library, numbers, element, grid, shown, same, decoded, mean, numberLink };
})();
