// Puts the pictures into markup.

import drawings from "./drawings.js";

/** @typedef {Exclude<keyof typeof drawings, "empty">} Drawing */

/** @param {Drawing} name @param {string} [classes] */
export function drawing(name, classes = "drawing") {
  return `<svg class="${classes}" viewBox="0 0 40 40" aria-hidden="true"><path d="${drawings[name]}"/></svg>`;
}

/** Draws another picture in its place. @param {Element} svg @param {Drawing} name */
export function redraw(svg, name) {
  svg.querySelector("path")?.setAttribute("d", drawings[name]);
}
