// @ts-check
/** In the static form: the same answers, from what was written into the page. Changes are downloaded as files. */

import { folded } from "./dom.js";

/**
 * @typedef {import("./asked.js").Hint} Hint
 * @typedef {import("./asked.js").Named} Named
 * @typedef {import("./asked.js").Page} Page
 */

/** Whether a server is there, which colours pages again and runs the job. */
export const live = false;

const told = JSON.parse(document.getElementById("desk-data")?.textContent ?? "{}");
/** @type {Map<string, [string, number]>} */
const edited = new Map();
/** @type {Set<number>} */
const recolored = new Set();
let recast = false;

/** @param {string} path */
export async function read(path) {
  const [, , what, which] = path.split("/");
  if (what === "chapters") return told.chapters[which];
  if (what === "palette") return told.examples[which];
  if (what === "changes") return [...edited.values()];
  if (what === "cast") return castNow();
  return what === "job" ? null : told[what];
}

/**
 * @param {string} method
 * @param {string} path
 * @param {any} body
 */
export async function send(method, path, body) {
  const [, , what, chapter, number] = path.split("/");
  if (what === "chapters") setHints(chapter, Number(number), body.hints);
  if (what === "palette") setColors(body.palette);
  if (what === "cast") {
    setCast(body.name, body.colour);
    return new Response(JSON.stringify({ cast: castNow(), changes: [...edited.values()] }));
  }
  if (what === "apply") {
    if (edited.size || recast) download("hints.csv", "text/csv", hintFile());
    if (recast) download("cast.csv", "text/csv", castFile());
    if (recolored.size) download("palette.json", "application/json", JSON.stringify(told.palette, null, 1));
  }
  return new Response(JSON.stringify([...edited.values()]));
}

/**
 * @param {string} chapter
 * @param {Page} page
 * @param {string} kind
 */
export const picture = (chapter, page, kind) => `pictures/${chapter}/${page.number}-${kind}.jpg`;

/**
 * @param {string} chapter
 * @param {number} number
 * @param {Hint[]} hints
 */
function setHints(chapter, number, hints) {
  const page = told.chapters[chapter].pages.find((/** @type {Page} */ each) => each.number === number);
  told.hints[page.hint_name] = hints;
  edited.set(page.hint_name, [chapter, number]);
}

/** @param {Record<string, string>} colors */
function setColors(colors) {
  for (const [number, css] of Object.entries(colors)) {
    told.palette.colors[Number(number)].ab = abOf(css);
    recolored.add(Number(number));
  }
}

/** @returns {Named[]} */
function castNow() {
  /** @type {Hint[][]} */
  const pages = Object.values(told.hints);
  return told.cast.map((/** @type {Named} */ each) => ({ ...each, pages: pages.filter(hints => hints.some(hint => folded(hint.colour) === each.name)).length }));
}

/**
 * @param {string} name
 * @param {string} colour - "": the name is removed, and its spots keep their colour
 */
function setCast(name, colour) {
  if (CSS.supports("color", name)) throw new Error(`${name} is a colour itself; give another name, such as ${name} of Aiko`);
  const known = told.cast.find((/** @type {Named} */ each) => each.name === name);
  const has = (/** @type {Hint} */ hint) => folded(hint.colour) === name;
  for (const [id, chapter] of Object.entries(told.chapters)) {
    for (const page of chapter.pages) if (told.hints[page.hint_name]?.some(has)) edited.set(page.hint_name, [id, page.number]);
  }
  if (!colour) {
    for (const hints of Object.values(told.hints)) for (const hint of hints) if (has(hint)) hint.colour = known.css;
    for (const chapter of Object.values(told.chapters)) for (const page of chapter.pages) page.hints = told.hints[page.hint_name] ?? page.hints;
    told.cast = told.cast.filter((/** @type {Named} */ each) => each !== known);
  } else if (known) known.css = colour;
  else told.cast.push({ name, css: colour, pages: 0 });
  recast = true;
}

const castFile = () => csv([["name", "colour"], ...told.cast.map((/** @type {Named} */ each) => [each.name, each.css])]);

function hintFile() {
  const lines = [["page", "x", "y", "radius", "colour"]];
  for (const [name, hints] of Object.entries(told.hints)) {
    for (const { x, y, radius, colour } of /** @type {Hint[]} */ (hints)) lines.push([name, `${x}`, `${y}`, `${radius}`, colour]);
  }
  return csv(lines);
}

/** @param {string[][]} lines */
const csv = lines => lines.map(cells => cells.map(cell => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",") + "\n").join("");

/**
 * ab of CIELAB (D65) of an sRGB colour (IEC 61966-2-1).
 * @param {string} css - #rrggbb
 */
function abOf(css) {
  const [red, green, blue] = [1, 3, 5].map(at => {
    const level = parseInt(css.slice(at, at + 2), 16) / 255;
    return level <= 0.04045 ? level / 12.92 : ((level + 0.055) / 1.055) ** 2.4;
  });
  const [x, y, z] = [
    (0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047,
    0.2126729 * red + 0.7151522 * green + 0.072175 * blue,
    (0.0193339 * red + 0.119192 * green + 0.9503041 * blue) / 1.08883,
  ].map(value => (value > 216 / 24389 ? Math.cbrt(value) : (24389 / 27 * value + 16) / 116));
  return [500 * (x - y), 200 * (y - z)];
}

/**
 * @param {string} name
 * @param {string} type
 * @param {string} text
 */
function download(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
}
