// Before anything is painted: the theme that was chosen, else the system's.
(function () {
  try {
    var chosen = localStorage.getItem("operon.theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch (_) {
    // Storage may be blocked; then the system decides.
  }
})();
