// @ts-check
/** The hints of the page that is shown: set by a click and a colour, moved, sized, deleted, taken back. */

import { by, folded, make, tellWrong } from "./dom.js";

/** @typedef {import("./asked.js").Hint} Hint */
/** @typedef {import("./viewer.js").Point} Point */

/**
 * What an input of a colour can show.
 * @param {string} css
 */
const hexOf = css => (/^#[0-9a-f]{6}$/i.test(css) ? css : "#808080");
const SIZE = 0.012; // of a page's longer side: radius of a new hint

export class Hints {
  /**
   * @param {import("./viewer.js").Viewer} viewer
   * @param {import("./cast.js").Cast} cast
   * @param {(hints: Hint[]) => void} changed - told of all hints after each change
   * @param {() => void} opened - called when a spot waits for its colour
   */
  constructor(viewer, cast, changed, opened) {
    this.viewer = viewer;
    this.cast = cast;
    this.opened = opened;
    this.changed = changed;
    this.marks = by("marks", HTMLElement);
    this.radius = by("radius", HTMLInputElement);
    this.colour = by("colour", HTMLInputElement);
    this.name = by("cast-name", HTMLInputElement);
    this.picking = false;
    /** @type {Hint[]} */
    this.hints = [];
    /** @type {Hint[][]} */
    this.earlier = [];
    /** @type {number} */
    this.selected = -1;
    /** @type {Point | null} */
    this.open = null; // a spot that waits for its colour
    this.allowed = false;
    this.listen();
  }

  /**
   * Show the hints of another page.
   * @param {Hint[]} hints
   * @param {boolean} allowed - whether the page takes hints
   */
  show(hints, allowed) {
    this.hints = hints;
    this.allowed = allowed;
    this.earlier = [];
    this.selected = -1;
    this.open = null;
    this.draw();
  }

  /**
   * A click on the page.
   * @param {Point} at
   */
  clicked(at) {
    if (this.picking) {
      const colour = this.viewer.colourAt(at);
      if (colour) this.picked(colour);
      return;
    }
    const { width, height } = this.viewer;
    if (!this.allowed || at.x < 0 || at.y < 0 || at.x >= width || at.y >= height) return;
    this.selected = -1;
    this.open = at;
    this.draw();
    this.opened();
  }

  /**
   * Give the open spot, or the selected hint, a colour.
   * @param {string} colour - #rrggbb, or a name of the cast
   */
  choose(colour) {
    this.colour.value = hexOf(this.cast.css(colour));
    if (this.open) {
      const radius = Math.max(3, Math.round(SIZE * Math.max(this.viewer.width, this.viewer.height)));
      const { x, y } = this.open;
      this.open = null;
      this.selected = this.hints.length;
      this.set([...this.hints, { x: Math.round(x * 10) / 10, y: Math.round(y * 10) / 10, radius, colour }]);
    } else if (this.selected >= 0) {
      this.alter({ colour });
    }
  }

  /** Give the colour of the selected hint the name that was typed: other spots may have it, too. */
  async give() {
    const name = folded(this.name.value);
    const index = this.selected;
    const hint = this.hints[index];
    if (!hint || !name) return;
    if (!this.cast.has(name)) await this.cast.put(name, hint.colour);
    if (this.hints[index] !== hint) return;
    this.selected = index;
    this.name.value = "";
    this.choose(name);
  }

  /** Delete the selected hint, or give up the open spot. */
  delete() {
    if (this.open) {
      this.open = null;
      this.draw();
    } else if (this.selected >= 0) {
      const left = this.hints.filter((_, index) => index !== this.selected);
      this.selected = -1;
      this.set(left);
    }
  }

  undo() {
    const before = this.earlier.pop();
    if (!before) return;
    this.hints = before;
    this.selected = -1;
    this.open = null;
    this.draw();
    this.changed(this.hints);
  }

  /** @param {Partial<Hint>} part - of the selected hint */
  alter(part) {
    this.set(this.hints.map((hint, index) => (index === this.selected ? { ...hint, ...part } : hint)));
  }

  /** @param {Hint[]} hints */
  set(hints) {
    this.earlier.push(this.hints);
    this.hints = hints;
    this.draw();
    this.changed(hints);
  }

  /** @param {string} colour - was picked from a page */
  picked(colour) {
    const swatches = by("picked", HTMLElement);
    if (![...swatches.children].some(swatch => swatch.getAttribute("title") === colour)) {
      swatches.prepend(this.swatch(colour));
    }
    this.pick(false);
    this.choose(colour);
  }

  /** @param {boolean} picking - whether the next click picks a colour from the page */
  pick(picking) {
    this.picking = picking;
    by("pick", HTMLElement).setAttribute("aria-pressed", String(picking));
    this.draw();
  }

  /** @param {string} colour */
  swatch(colour) {
    const made = make("button", { type: "button", title: colour, "aria-label": `colour ${colour}` });
    made.style.background = colour;
    made.addEventListener("click", () => this.choose(colour));
    return made;
  }

  draw() {
    const marks = this.hints.map((hint, index) => this.mark(hint, index));
    if (this.open) {
      const open = make("span", { class: "hint open" });
      open.style.left = `${this.open.x}px`;
      open.style.top = `${this.open.y}px`;
      marks.push(open);
    }
    this.marks.replaceChildren(...marks);
    const chosen = this.hints[this.selected];
    by("undo", HTMLButtonElement).disabled = !this.earlier.length;
    by("delete", HTMLButtonElement).disabled = !chosen && !this.open;
    this.radius.disabled = !chosen;
    if (chosen) this.radius.value = String(chosen.radius);
    if (chosen) this.colour.value = hexOf(this.cast.css(chosen.colour));
    by("naming", HTMLElement).hidden = !chosen || this.cast.has(chosen.colour);
    if (this.allowed) by("hint-told", HTMLElement).textContent = this.told();
  }

  told() {
    if (this.picking) return "Click a colour on this page or another.";
    if (this.open) return "Now choose a colour.";
    const chosen = this.hints[this.selected];
    if (chosen && this.cast.has(chosen.colour)) return `It has the colour of ${chosen.colour}. Another one is for this spot alone; under Cast it is changed for all.`;
    if (chosen) return "Choose another colour, drag the spot, or delete it.";
    return this.hints.length ? "Click a spot that has the wrong colour, or one of the marks." : "Click a spot that has the wrong colour.";
  }

  /**
   * @param {Hint} hint
   * @param {number} index
   * @returns {HTMLElement}
   */
  mark(hint, index) {
    const pressed = String(index === this.selected);
    const mark = make("button", { type: "button", class: "hint", "aria-pressed": pressed, "aria-label": `spot ${index + 1}, ${hint.colour}` });
    mark.style.background = this.cast.css(hint.colour);
    mark.style.left = `${hint.x}px`;
    mark.style.top = `${hint.y}px`;
    mark.addEventListener("pointerdown", event => this.drag(event, mark, index));
    mark.addEventListener("click", event => { // by keyboard; the mouse has selected it already
      if (event.detail === 0) { this.selected = index; this.open = null; this.draw(); }
    });
    return mark;
  }

  /**
   * @param {PointerEvent} event
   * @param {HTMLElement} mark
   * @param {number} index
   */
  drag(event, mark, index) {
    event.stopPropagation();
    event.preventDefault();
    mark.setPointerCapture(event.pointerId);
    const from = this.viewer.pageAt(event);
    const hint = this.hints[index];
    /** @type {Point | null} */
    let to = null;
    /** @param {PointerEvent} moved */
    const move = moved => {
      const at = this.viewer.pageAt(moved);
      if (!to && Math.hypot(at.x - from.x, at.y - from.y) * this.viewer.scale < 4) return;
      to = {
        x: Math.min(this.viewer.width - 1, Math.max(0, hint.x + at.x - from.x)),
        y: Math.min(this.viewer.height - 1, Math.max(0, hint.y + at.y - from.y)),
      };
      mark.style.left = `${to.x}px`;
      mark.style.top = `${to.y}px`;
    };
    const end = () => {
      mark.removeEventListener("pointermove", move);
      this.open = null;
      this.selected = index;
      if (to) this.alter({ x: Math.round(to.x * 10) / 10, y: Math.round(to.y * 10) / 10 });
      else this.draw();
    };
    mark.addEventListener("pointermove", move);
    mark.addEventListener("pointerup", end, { once: true });
    mark.addEventListener("pointercancel", end, { once: true });
  }

  listen() {
    by("undo", HTMLElement).addEventListener("click", () => this.undo());
    by("delete", HTMLElement).addEventListener("click", () => this.delete());
    by("pick", HTMLElement).addEventListener("click", () => this.pick(!this.picking));
    this.colour.addEventListener("change", () => this.choose(this.colour.value));
    by("naming", HTMLElement).addEventListener("submit", event => {
      event.preventDefault();
      this.give().catch(tellWrong);
    });
    this.radius.addEventListener("change", () => this.alter({ radius: Number(this.radius.value) }));
  }
}
