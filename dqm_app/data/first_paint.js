// before the first paint, so that a dark page never flashes white
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem("dqm-theme"); } catch { /* storage is off: follow the system */ }
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = chosen ?? (dark ? "dark" : "light");
})();
