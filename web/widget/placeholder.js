// What stands in the place of a list until it is there, or cannot be had.

import { find } from "./markup.js";

export const PLACEHOLDER = `<div class="skeleton" aria-hidden="true">${"<p><i></i><b></b><b></b></p>".repeat(3)}</div>
    <div class="failure" hidden><h3></h3><p></p><button class="choice" data-do="retry"></button></div>`;

const LOADING_FAILED = ["failed_load", "failed_load_text", "retry"];

/**
 * Says what is wrong and what can be done, or that nothing is.
 * @param {ParentNode} root
 * @param {boolean} hasFailed
 * @param {import("./words.js").Words} words
 * @param {string[]} [said] Heading, text, and what can be done.
 */
export function showFailure(root, hasFailed, { say }, said = LOADING_FAILED) {
  const failure = find(root, ".failure", HTMLElement);
  failure.hidden = !hasFailed;
  said.forEach((word, index) => (/** @type {Element} */ (failure.children[index]).textContent = say(word)));
}
