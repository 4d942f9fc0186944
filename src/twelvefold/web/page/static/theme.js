// The theme: light, dark, or the system's. Not a module, because it runs before the first paint.
(() => {
  const NAME = "twelvefold.theme";
  const NEXT = { system: "light", light: "dark", dark: "system" };

  const current = () => localStorage.getItem(NAME) ?? "system";

  function show(theme) {
    document.documentElement.dataset.theme = theme;
    for (const button of document.querySelectorAll("[data-action=theme]")) {
      button.setAttribute("aria-label", `Theme: ${theme}. Change`);
      button.title = `Theme: ${theme}`;
    }
  }

  show(current());
  document.addEventListener("DOMContentLoaded", () => show(current()));
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-action=theme]")) return;
    localStorage.setItem(NAME, NEXT[current()]);
    show(current());
  });
})();
