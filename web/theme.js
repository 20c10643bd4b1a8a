// Light or dark: as the system has it, until the reader says otherwise.

class Theme {
  constructor(button, onChange) {
    Object.assign(this, { button, onChange, chosen: null });
    this.system = matchMedia("(prefers-color-scheme: dark)");
    this.system.addEventListener("change", () => this.apply());
    button.addEventListener("click", () => this.toggle());
    this.apply();
  }

  get dark() {
    return this.chosen ?? this.system.matches;
  }

  toggle() {
    this.chosen = !this.dark;
    this.apply();
  }

  apply() {
    document.documentElement.dataset.theme = this.dark ? "dark" : "light";
    this.button.textContent = this.dark ? "Light" : "Dark";
    this.onChange();
  }
}
