// @ts-check
/** The page that is shown as a reference: for its chapter, for the series, or for nothing. */

import { by, tellWrong } from "./dom.js";
import { live, send } from "./asked.js";

/** @typedef {import("./asked.js").Page} Page */

const REACHES = /** @type {const} */ (["chapter", "series"]);
const MARKED = "A reference: Apply does the pages that look like it again. It stays as it is now, whatever becomes of the page.";
const PLAIN = "Pages that look like this one may follow its colours.";

export class References {
  /** @param {(changes: [string, number][]) => void} changed - told of the pages that the next run does again */
  constructor(changed) {
    this.changed = changed;
    this.chapter = "";
    /** @type {Page | null} */
    this.page = null;
    this.allowed = false;
    this.busy = false;
    by("marking", HTMLElement).hidden = !live;
    for (const reach of REACHES) by(`mark-${reach}`, HTMLElement).addEventListener("click", () => this.toggle(reach));
  }

  /**
   * Show the state of another page.
   * @param {string} chapter
   * @param {Page} page
   * @param {string} whyNot - why it can't be a reference; "" where it can
   */
  show(chapter, page, whyNot) {
    this.chapter = chapter;
    this.page = page;
    this.allowed = !whyNot;
    this.draw(whyNot);
  }

  /** @param {"chapter" | "series"} reach - marks the page for it, or takes this mark back */
  toggle(reach) {
    const { chapter, page } = this;
    if (!page || !this.allowed || this.busy || !live) return;
    this.set(chapter, page, page.reference === reach ? "" : reach).catch(tellWrong);
  }

  /**
   * @param {string} chapter
   * @param {Page} page
   * @param {string} reach
   */
  async set(chapter, page, reach) {
    this.busy = true;
    this.draw(reach ? "The model looks at the page…" : "");
    try {
      const answer = await send("PUT", `/api/chapters/${chapter}/${page.number}/reference`, { for: reach });
      page.reference = reach;
      this.changed(await answer.json());
    } finally {
      this.busy = false;
      this.draw("");
    }
  }

  /** @param {string} told - instead of what the mark says */
  draw(told) {
    const mark = this.page?.reference ?? "";
    by("mark-told", HTMLElement).textContent = told || (mark ? MARKED : PLAIN);
    for (const reach of REACHES) {
      const button = by(`mark-${reach}`, HTMLButtonElement);
      button.setAttribute("aria-pressed", String(mark === reach));
      button.disabled = !this.allowed || this.busy;
    }
  }
}
