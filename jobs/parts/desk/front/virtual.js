// @ts-check
/** A list of any length, of which only the rows that can be seen are in the document. */

/**
 * @typedef {{count: number, height: number, width: number, draw: (index: number) => HTMLElement}} Rows
 *   height: of a row; width: the least of a cell, 0 for one cell in a row
 */

export class VirtualList {
  /** @param {HTMLElement} box - scrolls; holds the list alone */
  constructor(box) {
    this.box = box;
    this.room = document.createElement("div");
    this.room.className = "room";
    box.replaceChildren(this.room);
    /** @type {Rows} */
    this.rows = { count: 0, height: 1, width: 0, draw: () => document.createElement("div") };
    /** @type {Map<number, HTMLElement>} */
    this.drawn = new Map();
    box.addEventListener("scroll", () => this.update(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(box);
  }

  /**
   * Show these rows.
   * @param {Rows} rows
   * @param {boolean} [stay] - keep the place that the list is scrolled to
   */
  show(rows, stay = false) {
    this.rows = rows;
    if (!stay) this.box.scrollTop = 0;
    this.layout();
  }

  layout() {
    const wide = this.box.clientWidth;
    this.columns = this.rows.width ? Math.max(1, Math.floor(wide / this.rows.width)) : 1;
    this.room.style.height = `${Math.ceil(this.rows.count / this.columns) * this.rows.height}px`;
    for (const cell of this.drawn.values()) cell.remove();
    this.drawn.clear();
    this.update();
  }

  update() {
    const { count, height } = this.rows;
    const columns = this.columns ?? 1;
    const first = Math.max(0, Math.floor(this.box.scrollTop / height) - 1) * columns;
    const last = Math.min(count, (Math.ceil((this.box.scrollTop + this.box.clientHeight) / height) + 1) * columns);
    for (const [index, cell] of this.drawn) {
      if (index >= first && index < last) continue;
      cell.remove();
      this.drawn.delete(index);
    }
    for (let index = first; index < last; index++) {
      if (this.drawn.has(index)) continue;
      const cell = this.rows.draw(index);
      cell.classList.add("row");
      cell.style.height = `${height}px`;
      cell.style.top = `${Math.floor(index / columns) * height}px`;
      cell.style.left = `${(index % columns) * 100 / columns}%`;
      cell.style.width = `${100 / columns}%`;
      this.drawn.set(index, cell);
      this.room.append(cell);
    }
  }

  /**
   * Scroll so that a row can be seen.
   * @param {number} index
   */
  reveal(index) {
    const top = Math.floor(index / (this.columns ?? 1)) * this.rows.height;
    const { scrollTop, clientHeight } = this.box;
    if (top < scrollTop || top + this.rows.height > scrollTop + clientHeight) this.box.scrollTop = top - clientHeight / 3;
  }
}
