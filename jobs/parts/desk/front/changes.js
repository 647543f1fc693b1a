// @ts-check
/** What was changed and not applied yet, and the run of the job that applies it. */

import { live, read, send } from "./asked.js";
import { by, counted, tellWrong } from "./dom.js";

const LOOK = 700; // ms between two looks at a run

export class Changes {
  /** @param {() => Promise<void>} applied - called when a run has ended */
  constructor(applied) {
    this.applied = applied;
    /** @type {[string, number][]} */
    this.pages = [];
    this.button = by("apply", HTMLButtonElement);
    this.dialog = by("job", HTMLDialogElement);
    this.running = false;
    this.button.addEventListener("click", () => this.apply().catch(tellWrong));
    by("close-job", HTMLElement).addEventListener("click", () => this.dialog.close());
  }

  /** @param {[string, number][]} pages - chapter and number of each page that the next run does again */
  show(pages) {
    this.pages = pages;
    const verb = live ? "Apply" : "Download";
    this.button.textContent = pages.length ? `${verb}${live ? " to" : ","} ${counted(pages.length, "page")}` : verb;
    this.button.disabled = this.running || (live && !pages.length);
  }

  /**
   * @param {string} chapter
   * @param {number} number
   */
  has(chapter, number) {
    return this.pages.some(([of, page]) => of === chapter && page === number);
  }

  /** @param {string} line - that has a cluster do it; "" for none */
  onCluster(line) {
    const told = by("cluster", HTMLElement);
    told.hidden = !line;
    const code = told.querySelector("code");
    if (code) code.textContent = line;
  }

  async apply() {
    await send("POST", "/api/apply", {});
    this.dialog.showModal();
    if (live) return this.follow();
    by("job-told", HTMLElement).textContent = "Put hints.csv, cast.csv and palette.json, as far as they were downloaded, into the folder _mangahue of the output. The next run of colorize.py takes them up.";
  }

  /** Follow the run that is under way, or that has just ended. */
  async follow() {
    this.running = true;
    this.show(this.pages);
    const told = by("job-told", HTMLElement);
    told.textContent = "Running…";
    let run = await read("/api/job");
    while (run && run.code === null) {
      this.write(run.lines);
      await new Promise(resolve => setTimeout(resolve, LOOK));
      run = await read("/api/job");
    }
    this.running = false;
    if (!run) return;
    this.write(run.lines);
    const ends = ["Done.", "It failed; the last lines say why.", "Bad usage; the last lines say why.", "Done in part; the last lines say what is missing."];
    told.textContent = ends[run.code] ?? `It ended with exit code ${run.code}.`;
    await this.applied();
  }

  /** @param {string[]} lines */
  write(lines) {
    const box = by("job-log", HTMLElement);
    box.textContent = lines.join("\n");
    box.scrollTop = box.scrollHeight;
  }
}
