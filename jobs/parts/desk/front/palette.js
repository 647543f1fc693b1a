// @ts-check
/** The palette of the series: its colours, the pages that use one, and what becomes of them with another. */

import { live, picture, read, send } from "./asked.js";
import { by, counted, make, tellWrong } from "./dom.js";

/** @typedef {import("./asked.js").Color} Color */
/** @typedef {import("./asked.js").Page} Page */

const PAUSE = 300; // ms without another change, before pages are coloured

export class Palette {
  /** @param {(changes: [string, number][]) => void} kept - told of the pages that the next run does again */
  constructor(kept) {
    this.kept = kept;
    this.dialog = by("palette", HTMLDialogElement);
    this.value = by("color-value", HTMLInputElement);
    /** @type {Color[]} */
    this.colors = [];
    /** @type {Color | null} */
    this.chosen = null;
    /** @type {{image: HTMLImageElement, chapter: string, page: Page}[]} */
    this.examples = [];
    this.turn = 0;
    by("open-palette", HTMLElement).addEventListener("click", () => this.dialog.showModal());
    by("close-palette", HTMLElement).addEventListener("click", () => this.dialog.close());
    by("keep-color", HTMLElement).addEventListener("click", () => this.keep().catch(tellWrong));
    this.value.addEventListener("input", () => {
      by("keep-color", HTMLButtonElement).disabled = false;
      clearTimeout(this.waiting);
      if (live) this.waiting = setTimeout(() => this.preview().catch(tellWrong), PAUSE);
    });
  }

  /** @param {Color[]} colors */
  show(colors) {
    this.colors = colors;
    by("open-palette", HTMLElement).hidden = !colors.length;
    by("colors", HTMLElement).replaceChildren(...colors.map(color => this.button(color)));
  }

  /** @param {Color} color */
  button(color) {
    const swatch = make("i", {});
    swatch.style.background = color.css;
    const pages = make("span", { class: "soft" }, counted(color.pages, "page"));
    const pressed = String(this.chosen?.number === color.number);
    const made = make("button", { type: "button", "aria-pressed": pressed }, swatch, make("span", {}, color.name), pages);
    made.addEventListener("click", () => this.choose(color).catch(tellWrong));
    return made;
  }

  /** @param {Color} color */
  async choose(color) {
    this.chosen = color;
    const turn = ++this.turn;
    this.show(this.colors);
    this.value.value = color.css;
    by("color-name", HTMLElement).textContent = color.name;
    by("color-edit", HTMLElement).hidden = false;
    by("keep-color", HTMLButtonElement).disabled = true;
    by("color-told", HTMLElement).textContent = "";
    by("examples", HTMLElement).replaceChildren();
    this.examples = [];
    const found = await read(`/api/palette/${color.number}`);
    const examples = [];
    for (const [chapter, number] of found) {
      const pages = (await read(`/api/chapters/${chapter}`)).pages;
      const page = /** @type {Page} */ (pages.find((/** @type {Page} */ each) => each.number === number));
      const image = make("img", { src: picture(chapter, page, "after"), alt: page.name });
      examples.push({ image, chapter, page });
    }
    if (turn !== this.turn) return;
    this.examples = examples;
    by("examples", HTMLElement).replaceChildren(...examples.map(example => example.image));
    if (!found.length) by("color-told", HTMLElement).textContent = "No page uses it.";
  }

  edits() {
    return { palette: { [String(this.chosen?.number)]: this.value.value } };
  }

  /** Show the examples with the colour that is chosen now. */
  async preview() {
    const turn = ++this.turn;
    const told = by("color-told", HTMLElement);
    told.textContent = "Colouring…";
    for (const { image, chapter, page } of this.examples) {
      const answer = await send("POST", `/api/chapters/${chapter}/${page.number}/recolor`, this.edits());
      const data = await answer.blob();
      if (turn !== this.turn) return;
      URL.revokeObjectURL(image.src);
      image.src = URL.createObjectURL(data);
    }
    told.textContent = "";
  }

  async keep() {
    const { chosen } = this;
    if (!chosen) return;
    const answer = await send("PUT", "/api/palette", this.edits());
    chosen.css = this.value.value;
    by("keep-color", HTMLButtonElement).disabled = true;
    this.show(this.colors);
    this.kept(await answer.json());
    by("color-told", HTMLElement).textContent = live ? "Kept. Apply does the pages that use it again." : "Kept for the download.";
  }
}
