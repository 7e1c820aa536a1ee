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

  // float32 from base64; NaN is undefined, infinity is not scored.
  function numbers(text) {
    return new Float32Array(Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)).buffer);
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
    return value === Infinity ? "–" : value.toFixed(2).replace("-", "−");
  }

  function mean(values) {
    const known = values.filter((value) => value != null && Number.isFinite(value));
    return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : NaN;
  }

  function numberLink(address) {
    return `#/number/${encodeURIComponent(address)}`;
  }

  return { report, load, receive, library, numbers, element, grid, shown, mean, numberLink };
})();
