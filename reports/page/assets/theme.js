// Light, dark, or as the system has it; remembered where the browser allows it.
"use strict";
(() => {
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const KEY = "bench-theme";

  function stored() {
    // A sandboxed frame has no storage.
    try { return localStorage.getItem(KEY) || "system"; } catch { return "system"; }
  }

  function show(theme) {
    const dark = theme === "dark" || (theme === "system" && system.matches);
    if (theme === "system") delete root.dataset.theme; else root.dataset.theme = theme;
    root.classList.toggle("dark", dark);
    document.dispatchEvent(new Event("bench-theme"));
  }

  let theme = stored();
  show(theme);
  system.addEventListener("change", () => show(theme));
  // Paper is light; what is drawn for it has to know.
  function print(begins) {
    root.classList.toggle("printing", begins);
    show(begins ? "light" : theme);
  }
  window.addEventListener("beforeprint", () => print(true));
  window.addEventListener("afterprint", () => print(false));
  document.addEventListener("DOMContentLoaded", () => {
    root.classList.add("scripted");
    for (const radio of document.querySelectorAll("input[name=theme]")) {
      radio.checked = radio.value === theme;
      radio.addEventListener("change", () => {
        theme = radio.value;
        try { localStorage.setItem(KEY, theme); } catch { /* Then it holds for this visit. */ }
        show(theme);
      });
    }
  });
})();
