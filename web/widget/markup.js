// What the elements are made of, and how a piece of it is found again.
//
// Invariant: nothing that anybody has published is ever part of markup. It is put into it as text, and an address only
// through `safeAddress`.

/** For pages with `require-trusted-types-for 'script'`. @type {{ createHTML(html: string): string } | undefined} */
let policy;
try {
  policy = /** @type {any} */ (globalThis).trustedTypes.createPolicy("pregon", { createHTML: String });
} catch {
  // The browser has none, the page allows other policies only, or there are two copies of this module.
}

/**
 * @param {string} html Ours alone.
 */
export function fragment(html) {
  const template = document.createElement("template");
  template.innerHTML = policy?.createHTML(html) ?? html;
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
 * Whether a press asks the browser for another tab or window: no router of the page has anything to do with that.
 * @param {Event | undefined} event
 */
export function opensElsewhere(event) {
  return event instanceof MouseEvent && (event.ctrlKey || event.metaKey || event.shiftKey);
}

/** Gives lone carriage returns the meaning that HTML gives them in what the server renders. @param {string} text */
export function lines(text) {
  return text.replace(/\r\n?/g, "\n");
}
