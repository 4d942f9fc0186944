// Light, dark, or as the system has it. No module: it runs before the first paint.
(() => {
  const NAME = "twelvefold.theme";
  const NEXT = { system: "light", light: "dark", dark: "system" };
  const WORDS = { system: "as the system has it", light: "light", dark: "dark" };

  const chosen = () => localStorage.getItem(NAME) ?? "system";

  function show(theme) {
    document.documentElement.dataset.theme = theme;
    for (const button of document.querySelectorAll("[data-does=theme]")) {
      button.setAttribute("aria-label", `Colours: ${WORDS[theme]}. Change`);
      button.title = `Colours: ${WORDS[theme]}`;
    }
  }

  show(chosen());
  document.addEventListener("DOMContentLoaded", () => show(chosen()));
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-does=theme]")) return;
    localStorage.setItem(NAME, NEXT[chosen()]);
    show(chosen());
  });
})();
