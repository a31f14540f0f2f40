/** Light or dark: as the system is set, until the reader says otherwise. */

import { find } from "./elements.js";

type Theme = "light" | "dark";

const STORED = "evs.theme";

/** Bind the button; `onChange` is told whenever colours have changed, also by the system. */
export function bindTheme(onChange: () => void): void {
  const button = find("theme", HTMLButtonElement);
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = remembered();

  const apply = (): void => {
    if (chosen !== null) document.documentElement.dataset["theme"] = chosen;
    const now = chosen ?? (system.matches ? "dark" : "light");
    button.ariaLabel = now === "dark" ? "Use the light theme" : "Use the dark theme";
    button.title = button.ariaLabel;
    onChange();
  };

  button.onclick = () => {
    const now = chosen ?? (system.matches ? "dark" : "light");
    chosen = now === "dark" ? "light" : "dark";
    remember(chosen);
    apply();
  };
  system.addEventListener("change", apply);
  apply();
}

function remembered(): Theme | null {
  try {
    const stored = localStorage.getItem(STORED);
    return stored === "light" || stored === "dark" ? stored : null;
  } catch {
    return null; // storage may be switched off; then the choice lasts as long as the page
  }
}

function remember(theme: Theme): void {
  try {
    localStorage.setItem(STORED, theme);
  } catch {
    return; // as above
  }
}
