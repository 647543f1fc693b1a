// @ts-check
/** The desk: chapters, the pages of one, one page. The address says which: #chapter or #chapter/page. */

import { live, picture, read, send } from "./asked.js";
import { Cast } from "./cast.js";
import { Changes } from "./changes.js";
import { by, counted, make, tellWrong } from "./dom.js";
import { Hints } from "./hints.js";
import { Palette } from "./palette.js";
import { References } from "./references.js";
import { Viewer } from "./viewer.js";
import { VirtualList } from "./virtual.js";

/** @typedef {import("./asked.js").Chapter} Chapter */
/** @typedef {import("./asked.js").Page} Page */

const LOOK_AGAIN = 20_000; // ms between two looks at a job that is at work
const SILENT = 30 * 60_000; // ms after which a job that says nothing is taken for one that was killed
const LAYERS = ["words", "panels", "areas"];
const viewer = new Viewer(at => hints.clicked(at));
const cast = new Cast(pages => { changes.show(pages); reopen().catch(tellWrong); }, name => hints.choose(name));
const hints = new Hints(viewer, cast, given => recolor(given).catch(tellWrong), look);
const palette = new Palette(pages => changes.show(pages));
const references = new References(pages => changes.show(pages));
const changes = new Changes(reload);
const chapterList = new VirtualList(by("chapter-list", HTMLElement));
const pageGrid = new VirtualList(by("page-grid", HTMLElement));

/** @type {Chapter[]} */
let chapters = [];
/** @type {{id: string, pages: Page[]}} */
let open = { id: "", pages: [] };
/** @type {Page | null} */
let page = null;
let takesHints = false;
let whyNot = "The model is being loaded…";
/** @type {number | undefined} */
let looking;
let turn = 0; // of what is asked for: an answer that comes late is not shown
let drawn = "";

/** Chapters that need somebody come first, then by name. */
const attention = (/** @type {Chapter} */ chapter) => (chapter.status === "done" ? 0 : 2) + (chapter.flagged + chapter.doubted > 0 ? 1 : 0);

async function load() {
  const told = await read("/api/desk");
  const order = new Intl.Collator("en", { numeric: true });
  chapters = told.chapters.sort((/** @type {Chapter} */ a, /** @type {Chapter} */ b) => attention(b) - attention(a) || order.compare(a.rel, b.rel));
  document.title = `Desk: ${told.out}`;
  palette.show(told.palette);
  await cast.load();
  changes.onCluster(told.cluster);
  showProgress(told.progress);
  changes.show(await read("/api/changes"));
}

/**
 * @param {{ended: boolean, updated: string, chapters: number, done: number, pages: number, flagged: number,
 *          pages_per_second: number, seconds_left: number | null} | null} progress
 */
function showProgress(progress) {
  const box = by("at-work", HTMLElement);
  const quiet = progress ? Date.now() - Date.parse(progress.updated) : Infinity;
  box.hidden = !progress || progress.ended || quiet > SILENT;
  if (!progress || box.hidden) return;
  const left = progress.seconds_left === null ? "" : `, about ${Math.ceil(progress.seconds_left / 60)} min left`;
  box.textContent = `A job is at work: ${progress.done} of ${counted(progress.chapters, "chapter")}, ${counted(progress.pages, "page")}, ${progress.flagged} to look at, ${progress.pages_per_second.toFixed(2)} pages/s${left}.`;
  clearTimeout(looking);
  looking = setTimeout(() => load().then(() => { if (!page) showChapters(true); }).catch(tellWrong), LOOK_AGAIN);
}

async function reload() {
  await load();
  await reopen();
}

/** Read what is open again: its hints, or its pages, are others now. */
async function reopen() {
  open = { id: "", pages: [] };
  page = null;
  await follow();
}

function showChapters(stay = false) {
  const wanted = by("find", HTMLInputElement).value.toLowerCase();
  const found = chapters.filter(chapter => chapter.rel.toLowerCase().includes(wanted));
  chapterList.show({ count: found.length, height: 60, width: 0, draw: index => chapterRow(found[index]) }, stay);
  const at = found.findIndex(chapter => chapter.id === open.id);
  if (at >= 0) chapterList.reveal(at);
}

/** @param {Chapter} chapter */
function chapterRow(chapter) {
  const told = [counted(chapter.coloured + chapter.kept + chapter.flagged, "page")];
  if (chapter.flagged) told.push(`${chapter.flagged} flagged`);
  if (chapter.doubted) told.push(`${chapter.doubted} to look at`);
  if (chapter.code) told.push(`${chapter.code}: ${chapter.message}`);
  const status = make("span", { class: `status s-${chapter.status}` }, `${chapter.status} · ${told.join(" · ")}`);
  const row = make("a", { class: "chapter", href: `#${chapter.id}`, title: `${chapter.rel}\n${chapter.message}` }, make("bdi", {}, chapter.rel), status);
  if (chapter.id === open.id) row.setAttribute("aria-current", "true");
  return row;
}

/** @param {Page} shown */
function thumb(shown) {
  const image = make("img", { src: picture(open.id, shown, "preview"), alt: "", loading: "lazy", decoding: "async" });
  const known = shown.code ? `${shown.code}: ${shown.message}` : shown.hints.length ? counted(shown.hints.length, "hint") : "";
  const mark = changes.has(open.id, shown.number) ? "changed, not applied" : [shown.reference && "reference", known].filter(Boolean).join(" · ");
  return make("a", { class: "thumb", href: `#${open.id}/${shown.number}`, title: shown.name }, image, make("bdi", {}, shown.name), make("span", { class: "mark" }, mark));
}

function showPages(stay = false) {
  const flagged = open.pages.filter(each => each.code);
  const pages = [...flagged, ...open.pages.filter(each => !each.code)];
  const chapter = chapters.find(each => each.id === open.id);
  by("chapter-told", HTMLElement).textContent = !chapter
    ? "Choose a chapter."
    : [chapter.rel, counted(pages.length, "page"), flagged.length ? `${flagged.length} to look at first` : "", chapter.message].filter(Boolean).join(" · ");
  pageGrid.show({ count: pages.length, height: 290, width: 170, draw: index => thumb(pages[index]) }, stay);
}

/** Show what the address says. */
async function follow() {
  const [id, number] = location.hash.slice(1).split("/");
  const mine = ++turn;
  const others = id !== open.id;
  if (id && others) {
    const told = await read(`/api/chapters/${encodeURIComponent(id)}`);
    if (mine !== turn) return;
    open = { id, pages: told.pages };
  }
  page = (number !== undefined && open.pages.find(each => each.number === Number(number))) || null;
  const view = page ? "page" : id ? "pages" : "chapters";
  document.body.dataset.view = view;
  const back = by("back", HTMLAnchorElement);
  back.hidden = view === "chapters";
  back.href = view === "page" ? `#${id}` : "#";
  const rel = chapters.find(each => each.id === id)?.rel ?? "";
  by("title", HTMLElement).textContent = page ? `${page.name} · ${rel}` : rel || document.title;
  if (page) return showPage(page);
  showChapters(!others);
  showPages(!others);
}

/** @param {Page} shown */
async function showPage(shown) {
  const after = picture(open.id, shown, "after");
  viewer.show(picture(open.id, shown, "before"), after, shown.width, shown.height);
  forgetDrawn();
  by("page-told", HTMLElement).textContent = [shown.action, shown.code && `${shown.code}: ${shown.message}`, shown.width ? `${shown.width} × ${shown.height}` : ""].filter(Boolean).join(" · ");
  showHints();
  showLayers();
  step(0);
  if (changes.has(open.id, shown.number)) await recolor(null);
}

function showHints() {
  if (!page) return;
  references.show(open.id, page, !takesHints ? whyNot : page.action === "flagged" ? "This page can't be read." : "");
  const allowed = takesHints && page.action === "coloured";
  hints.show(page.hints, allowed);
  for (const id of ["swatches", "cast-names", "picked", "colour", "pick", "undo", "delete", "radius"]) by(id, HTMLElement).inert = !allowed;
  if (!allowed) by("hint-told", HTMLElement).textContent = takesHints ? "This page is not coloured." : whyNot;
}

/**
 * Colour the page again, and show it.
 * @param {import("./asked.js").Hint[] | null} given - kept first; null for those that are kept already
 */
async function recolor(given) {
  if (!page) return;
  const shown = page;
  const mine = ++turn;
  const path = `/api/chapters/${open.id}/${shown.number}`;
  const busy = by("busy", HTMLElement);
  busy.textContent = "Colouring…";
  busy.hidden = false;
  try {
    if (given) {
      shown.hints = given;
      changes.show(await (await send("PUT", `${path}/hints`, { hints: given })).json());
    }
    if (mine !== turn || !live) return;
    const data = await (await send("POST", `${path}/recolor`, {})).blob();
    if (mine !== turn) return;
    forgetDrawn();
    drawn = URL.createObjectURL(data);
    viewer.after.src = drawn;
    const last = given?.at(-1);
    if (last) viewer.reveal(last);
  } finally {
    if (mine === turn) busy.hidden = true;
  }
}

/** While a colour is chosen, the server looks at the page: then it is quick. What goes wrong, `recolor` tells. */
function look() {
  if (page && live) send("POST", `/api/chapters/${open.id}/${page.number}/look`, {}).catch(() => {});
}

function forgetDrawn() {
  by("busy", HTMLElement).hidden = true;
  if (drawn) URL.revokeObjectURL(drawn);
  drawn = "";
}

function showLayers() {
  for (const layer of LAYERS) {
    const image = by(`layer-${layer}`, HTMLImageElement);
    const box = /** @type {HTMLInputElement} */ (document.querySelector(`[data-layer=${layer}]`));
    image.hidden = !box.checked || !page;
    box.closest("fieldset")?.toggleAttribute("hidden", !live);
    if (box.checked && page) image.src = picture(open.id, page, layer);
  }
}

/** @param {number} by_ - pages onward; 0 only shows whether there are more */
function step(by_) {
  const at = open.pages.findIndex(each => each === page);
  const to = open.pages[at + by_];
  by("previous", HTMLButtonElement).disabled = at <= 0;
  by("next", HTMLButtonElement).disabled = at < 0 || at >= open.pages.length - 1;
  if (by_ && to) location.replace(`#${open.id}/${to.number}`);
}

/** @type {Record<string, () => void>} */
const KEYS = {
  ArrowLeft: () => step(-1), ArrowRight: () => step(1), "+": () => viewer.zoom(1.4), "=": () => viewer.zoom(1.4),
  "-": () => viewer.zoom(1 / 1.4), 0: () => viewer.fit(), " ": () => viewer.swap(), Delete: () => hints.delete(),
  Backspace: () => hints.delete(), r: () => references.toggle("chapter"), R: () => references.toggle("series"), Escape: () => { location.hash = open.id; },
};

document.addEventListener("keydown", event => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (!page || document.querySelector("dialog[open]") || target.matches("input[type=search], input[type=text]")) return;
  if (target.matches("input[type=range]") && event.key.startsWith("Arrow")) return;
  if ((event.ctrlKey || event.metaKey) && event.key === "z") hints.undo();
  else if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
  else if (event.key === " " && target.matches("button, input")) return;
  else KEYS[event.key]();
  event.preventDefault();
});
by("previous", HTMLElement).addEventListener("click", () => step(-1));
by("next", HTMLElement).addEventListener("click", () => step(1));
by("find", HTMLElement).addEventListener("input", () => showChapters());
for (const box of document.querySelectorAll("[data-layer]")) box.addEventListener("change", showLayers);
by("before", HTMLElement).addEventListener("error", () => tellWrong("The page in the source can't be shown: is the source where the job found it?"));
addEventListener("hashchange", () => follow().catch(tellWrong));

/** Colours to choose from are there once the model is loaded. */
async function loadSwatches() {
  const told = await read("/api/swatches");
  takesHints = told.hints;
  whyNot = told.why;
  const series = palette.colors.length ? palette.colors.map(color => color.css) : told.swatches;
  by("swatches", HTMLElement).replaceChildren(...series.map((/** @type {string} */ colour) => hints.swatch(colour)));
  showHints();
}

by("pick", HTMLElement).hidden = location.protocol === "file:"; // there a page may not look at its own pictures
load().then(follow).then(loadSwatches).catch(tellWrong);
