// What the elements are made of, and how a piece of it is found again.
//
// Invariant: nothing that anybody has published is ever part of markup. It is put into it as text, and an address only
// through `safeAddress`.

import drawings from "./drawings.js";

/** @typedef {Exclude<keyof typeof drawings, "empty">} Drawing */

/**
 * @param {string} html Ours alone.
 */
export function fragment(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

/**
 * @template {Element} T
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => T} type
 */
export function find(root, selector, type) {
  const element = root.querySelector(selector);
  if (element instanceof type) return element;
  throw new Error(`there is no ${selector}`);
}

/**
 * An address that may become a link: the same rule as in page.html.
 * @param {string | undefined} url
 */
export function safeAddress(url) {
  return url && /^(?:https?:\/\/|mailto:|\/(?![/\\]))[^\t\n\r]*$/i.test(url) ? url : undefined;
}

/**
 * A picture that may be shown. One from elsewhere would tell a stranger who reads what and when.
 * @param {string | undefined} url
 * @param {string} server
 */
export function safePicture(url, server) {
  const address = safeAddress(url);
  if (!address) return undefined;
  const { href, origin } = new URL(address, location.href);
  return [location.origin, new URL(server, location.href).origin].includes(origin) ? href : undefined;
}

/** Gives lone carriage returns the meaning that HTML gives them in what the server renders. @param {string} text */
export function lines(text) {
  return text.replace(/\r\n?/g, "\n");
}


/** @param {Drawing} name @param {string} [classes] */
export function drawing(name, classes = "drawing") {
  return `<svg class="${classes}" viewBox="0 0 40 40" aria-hidden="true"><path d="${drawings[name]}"/></svg>`;
}

/** Draws another picture in its place. @param {Element} svg @param {Drawing} name */
export function redraw(svg, name) {
  svg.querySelector("path")?.setAttribute("d", drawings[name]);
}
