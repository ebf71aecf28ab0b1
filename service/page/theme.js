// Before the first paint, so that nothing flashes.
(() => {
  const NAME = "ctr-monitor.theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try {
    chosen = localStorage.getItem(NAME);
  } catch { /* Storage may be forbidden; the system's theme is used. */ }
  const isDark = () => (chosen ? chosen === "dark" : system.matches);

  function show() {
    if (chosen) root.dataset.theme = chosen;
    const button = document.getElementById("theme");
    if (button) button.textContent = isDark() ? "Light" : "Dark";
    if (button) button.title = `Change to the ${isDark() ? "light" : "dark"} theme`;
  }

  show();
  document.addEventListener("DOMContentLoaded", () => {
    show();
    document.getElementById("theme").addEventListener("click", () => {
      chosen = isDark() ? "light" : "dark";
      try {
        localStorage.setItem(NAME, chosen);
      } catch { /* Then it holds for this visit. */ }
      show();
    });
  });
  system.addEventListener("change", show);
})();
