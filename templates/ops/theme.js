// The colours of the operators' page. A classic script that runs before anything is drawn. The choice is stored; without one the
// page follows the system's, also when that changes.
{
  const KEY = "switchboard.ops.theme",
    darkSystem = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => localStorage.getItem(KEY);
  const apply = () => {
    document.documentElement.dataset.theme = chosen() ?? (darkSystem.matches ? "dark" : "light");
    document.dispatchEvent(new Event("theme"));
  };
  globalThis.theme = {
    chosen,
    next() {
      const next = { null: "light", light: "dark", dark: null }[chosen()];
      if (next) localStorage.setItem(KEY, next);
      else localStorage.removeItem(KEY);
      apply();
    },
  };
  darkSystem.addEventListener("change", apply);
  addEventListener("storage", ({ key }) => {
    if (key === KEY) apply();
  });
  apply();
}
