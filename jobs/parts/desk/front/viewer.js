// @ts-check
/** One page, before and after: divider, zoom, pan, by mouse, finger and keyboard. */

import { by } from "./dom.js";

const MOST = 12; // times the size of the page, and more for a tiny one
const CLICK = 5; // pixels that a pointer may move in a click

/** @typedef {{x: number, y: number}} Point */

export class Viewer {
  /** @param {(at: Point) => void} clicked - told of a click, in pixels of the page */
  constructor(clicked) {
    this.clicked = clicked;
    this.stage = by("stage", HTMLElement);
    this.sheet = by("sheet", HTMLElement);
    this.before = by("before", HTMLImageElement);
    this.after = by("after", HTMLImageElement);
    this.divider = by("divider", HTMLElement);
    this.slide = by("split", HTMLInputElement);
    this.width = this.height = 1;
    this.scale = 1;
    this.left = this.top = 0;
    this.fitted = true;
    this.split = 0.5;
    /** @type {Map<number, Point>} */
    this.pointers = new Map();
    this.moved = 0;
    this.listen();
  }

  /**
   * Show a page.
   * @param {string} before
   * @param {string} after
   * @param {number} width - of the page, in pixels
   * @param {number} height
   */
  show(before, after, width, height) {
    this.before.src = before;
    this.after.src = after;
    this.size(width, height);
    this.fit();
  }

  /**
   * @param {number} width
   * @param {number} height
   */
  size(width, height) {
    this.width = width || 1;
    this.height = height || 1;
    this.sheet.style.width = `${this.width}px`;
    this.sheet.style.height = `${this.height}px`;
  }

  /** The whole page, as large as the stage allows. */
  fit() {
    const { clientWidth, clientHeight } = this.stage;
    this.fitted = true;
    this.scale = Math.min(clientWidth / this.width, clientHeight / this.height) || 1;
    this.left = (clientWidth - this.width * this.scale) / 2;
    this.top = (clientHeight - this.height * this.scale) / 2;
    this.place();
  }

  /**
   * @param {number} factor
   * @param {Point} [about] - stays where it is, in pixels of the stage; the middle if none is given
   */
  zoom(factor, about) {
    const at = about ?? { x: this.stage.clientWidth / 2, y: this.stage.clientHeight / 2 };
    const fit = Math.min(this.stage.clientWidth / this.width, this.stage.clientHeight / this.height);
    const scale = Math.min(Math.max(MOST, 4 * fit), Math.max(Math.min(fit, 1) / 2, this.scale * factor));
    this.left = at.x - (at.x - this.left) * scale / this.scale;
    this.top = at.y - (at.y - this.top) * scale / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.place();
  }

  /** @param {number} split - 0: all after, 1: all before */
  divide(split) {
    this.split = Math.min(1, Math.max(0, split));
    this.slide.value = String(Math.round(this.split * 1000));
    by("swap", HTMLElement).setAttribute("aria-pressed", String(this.split === 1));
    this.place();
  }

  /** Before alone, or back to what was seen. */
  swap() {
    if (this.split === 1) return this.divide(this.earlier ?? 0.5);
    this.earlier = this.split;
    this.divide(1);
  }

  /**
   * Where a pointer is, in pixels of the page.
   * @param {{clientX: number, clientY: number}} event
   * @returns {Point}
   */
  pageAt(event) {
    const box = this.stage.getBoundingClientRect();
    return { x: (event.clientX - box.left - this.left) / this.scale, y: (event.clientY - box.top - this.top) / this.scale };
  }

  /**
   * The colour that is seen at a point of the coloured page; null outside of it.
   * @param {Point} at
   */
  colourAt({ x, y }) {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height || !this.after.naturalWidth) return null;
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 1;
    const drawing = canvas.getContext("2d");
    if (!drawing) return null;
    const across = this.after.naturalWidth / this.width;
    drawing.drawImage(this.after, Math.floor(x * across), Math.floor(y * across), 1, 1, 0, 0, 1, 1);
    const [red, green, blue] = drawing.getImageData(0, 0, 1, 1).data;
    return `#${[red, green, blue].map(level => level.toString(16).padStart(2, "0")).join("")}`;
  }

  /**
   * Show all of the coloured page, if the divider hides this point of it.
   * @param {Point} at
   */
  reveal({ x }) {
    if (x < (this.split * this.stage.clientWidth - this.left) / this.scale) this.divide(0);
  }

  place() {
    this.sheet.style.transform = `translate(${this.left}px, ${this.top}px) scale(${this.scale})`;
    this.sheet.style.setProperty("--inverse", String(1 / this.scale));
    const line = this.split * this.stage.clientWidth;
    const hidden = Math.min(this.width, Math.max(0, (line - this.left) / this.scale));
    this.after.style.clipPath = `inset(0 0 0 ${hidden}px)`;
    this.divider.style.left = `${line}px`;
  }

  listen() {
    const { stage } = this;
    stage.addEventListener("pointerdown", event => this.down(event));
    stage.addEventListener("pointermove", event => this.move(event));
    stage.addEventListener("pointerup", event => this.up(event));
    stage.addEventListener("pointercancel", event => { this.pointers.delete(event.pointerId); this.moved = CLICK * 2; });
    stage.addEventListener("wheel", event => {
      event.preventDefault();
      const box = stage.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY / 400), { x: event.clientX - box.left, y: event.clientY - box.top });
    }, { passive: false });
    this.slide.addEventListener("input", () => this.divide(Number(this.slide.value) / 1000));
    for (const [id, act] of /** @type {const} */ ([
      ["fit", () => this.fit()], ["larger", () => this.zoom(1.4)], ["smaller", () => this.zoom(1 / 1.4)],
      ["swap", () => this.swap()],
    ])) by(id, HTMLElement).addEventListener("click", act);
    this.after.addEventListener("load", () => {
      if (this.width === 1) { this.size(this.after.naturalWidth, this.after.naturalHeight); this.fit(); }
    });
    new ResizeObserver(() => (this.fitted ? this.fit() : this.place())).observe(stage);
  }

  /** @param {PointerEvent} event */
  down(event) {
    if (event.button !== 0) return;
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (this.pointers.size === 1) {
      this.moved = 0;
      this.dividing = event.target instanceof Element && event.target.closest("#divider") !== null;
    }
  }

  /** @param {PointerEvent} event */
  move(event) {
    const last = this.pointers.get(event.pointerId);
    if (!last) return;
    const now = { x: event.clientX, y: event.clientY };
    const step = { x: now.x - last.x, y: now.y - last.y };
    const box = this.stage.getBoundingClientRect();
    if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1] ?? last;
      const factor = Math.hypot(now.x - other.x, now.y - other.y) / (Math.hypot(last.x - other.x, last.y - other.y) || 1);
      this.left += step.x / 2;
      this.top += step.y / 2;
      this.zoom(factor, { x: (now.x + other.x) / 2 - box.left, y: (now.y + other.y) / 2 - box.top });
      this.moved = CLICK * 2;
    }
    this.pointers.set(event.pointerId, now);
    if (this.pointers.size === 2) return;
    this.moved += Math.hypot(step.x, step.y);
    if (this.moved < CLICK) return;
    if (this.dividing || this.fitted) return this.divide((now.x - box.left) / this.stage.clientWidth);
    this.left += step.x;
    this.top += step.y;
    this.place();
  }

  /** @param {PointerEvent} event */
  up(event) {
    const alone = this.pointers.size === 1 && this.pointers.delete(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (alone && this.moved < CLICK && !this.dividing) this.clicked(this.pageAt(event));
  }
}
