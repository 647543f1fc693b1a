// @ts-check
/** What the page asks its server for. Errors are the server's own words. */

/**
 * @typedef {{id: string, rel: string, status: string, code: string, message: string,
 *            coloured: number, kept: number, flagged: number, doubted: number}} Chapter
 * @typedef {{x: number, y: number, radius: number, colour: string}} Hint - in pixels of the page; colour: as CSS has it,
 *            or a name of the cast
 * @typedef {{name: string, css: string, pages: number}} Named - a name of the cast, and pages with a spot that has it
 * @typedef {{number: number, name: string, action: string, code: string, message: string, width: number,
 *            height: number, version: string, hints: Hint[],
 *            reference: string}} Page - reference: what it is one for: chapter, series, or nothing
 * @typedef {{number: number, name: string, css: string, pages: number}} Color
 */

/** Whether a server is there, which colours pages again and runs the job. */
export const live = true;

const key = document.querySelector("meta[name=desk-key]")?.getAttribute("content") ?? "";

/** @param {Response} answer */
async function whole(answer) {
  if (!answer.ok) throw new Error((await answer.text()) || answer.statusText);
  return answer;
}

/** @param {string} path */
export async function read(path) {
  return (await whole(await fetch(path))).json();
}

/**
 * @param {string} method
 * @param {string} path
 * @param {object} body
 */
export async function send(method, path, body) {
  const headers = { "Content-Type": "application/json", "X-Desk-Key": key };
  return whole(await fetch(path, { method, headers, body: JSON.stringify(body) }));
}

/**
 * The address of a picture.
 * @param {string} chapter
 * @param {Page} page
 * @param {string} kind - before, after, preview, words, panels or areas
 */
export const picture = (chapter, page, kind) => `/pictures/${chapter}/${page.number}/${kind}?v=${page.version}`;
