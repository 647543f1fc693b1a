// @ts-check
/** The cast: colours that have a name. A spot may give the name in the place of a colour; one change is for all spots. */

import { live, read, send } from "./asked.js";
import { by, counted, folded, make, tellWrong } from "./dom.js";

/** @typedef {import("./asked.js").Named} Named */

export class Cast {
  /**
   * @param {(changes: [string, number][]) => void} kept - told of the pages that the next run does again, after a name
   *   was given another colour, or was removed
   * @param {(name: string) => void} chosen - told of a name that is chosen for a spot
   */
  constructor(kept, chosen) {
    this.kept = kept;
    this.chosen = chosen;
    this.dialog = by("cast", HTMLDialogElement);
    /** @type {Named[]} */
    this.names = [];
    by("open-cast", HTMLElement).addEventListener("click", () => this.open().catch(tellWrong));
    by("close-cast", HTMLElement).addEventListener("click", () => this.dialog.close());
  }

  async load() {
    this.show(await read("/api/cast"));
  }

  async open() {
    await this.load();
    by("cast-told", HTMLElement).textContent = "";
    this.dialog.showModal();
  }

  /** @param {Named[]} names */
  show(names) {
    this.names = names;
    by("open-cast", HTMLElement).hidden = !names.length;
    by("cast-names", HTMLElement).replaceChildren(...names.map(named => this.chip(named)));
    by("cast-list", HTMLElement).replaceChildren(...names.map(named => this.row(named)));
  }

  /**
   * A colour that a hint gives, as CSS has it.
   * @param {string} colour
   */
  css(colour) {
    return this.named(colour)?.css ?? colour;
  }

  /** @param {string} colour - of a hint: whether it is a name */
  has(colour) {
    return Boolean(this.named(colour));
  }

  /** @param {string} colour - of a hint, which may write a name in another Unicode form */
  named(colour) {
    return this.names.find(each => each.name === folded(colour));
  }

  /** @param {Named} named */
  chip(named) {
    const swatch = make("i", {});
    swatch.style.background = named.css;
    const made = make("button", { type: "button" }, swatch, make("bdi", {}, named.name));
    made.addEventListener("click", () => this.chosen(named.name));
    return made;
  }

  /** @param {Named} named */
  row(named) {
    const value = make("input", { type: "color", value: named.css });
    value.addEventListener("change", () => this.put(named.name, value.value).catch(tellWrong));
    const remove = make("button", { type: "button", "aria-label": `Remove ${named.name}` }, "Remove");
    remove.addEventListener("click", () => this.put(named.name, "").catch(tellWrong));
    const label = make("label", { class: "field" }, value, make("bdi", {}, named.name));
    return make("div", { class: "bar" }, label, make("span", { class: "soft" }, counted(named.pages, "page")), remove);
  }

  /**
   * Give a name its colour.
   * @param {string} name
   * @param {string} colour - "": its spots keep the colour that they have, without the name
   */
  async put(name, colour) {
    const isNew = !this.has(name);
    const answer = await (await send("PUT", "/api/cast", { name, colour })).json();
    this.show(answer.cast);
    if (isNew) return;
    this.kept(answer.changes);
    by("cast-told", HTMLElement).textContent = live ? "Kept. Apply does its pages again." : "Kept for the download.";
  }
}
