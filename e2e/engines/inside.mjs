// What runs in the page, in whichever engine. None of it can use anything from out here but what is in this file.

/** Every element that matches, also inside of open shadow roots, in the order of the document. */
export function all(selector, root = document) {
  return [...root.querySelectorAll("*")].flatMap((element) => [
    ...(element.matches(selector) ? [element] : []),
    ...(element.shadowRoot ? all(selector, element.shadowRoot) : []),
  ]);
}

/** What a screen reader calls an element, as far as our pages go. */
export function nameOf(element) {
  const labels = (element.getAttribute("aria-labelledby") ?? "").split(" ").filter(Boolean);
  const named = labels.map((id) => element.getRootNode().getElementById(id)?.textContent).join(" ");
  return (element.getAttribute("aria-label") ?? (named || element.textContent)).replace(/\s+/g, " ").trim();
}

/** The element that has the focus, however deep it is. */
export function focused(root = document) {
  const { activeElement } = root;
  return activeElement?.shadowRoot ? focused(activeElement.shadowRoot) : activeElement;
}

/** What the Tab key stops at, in the order of the document. */
export function tabStops() {
  const stops = all("a[href], button, input, select, textarea, summary, [tabindex]");
  return stops.filter((element) => element.tabIndex >= 0 && !element.disabled && element.checkVisibility());
}

/** The rows of the inbox, from top to bottom. */
export function rows() {
  return all("[data-id]").filter((row) => row.checkVisibility());
}

/** Where to press an element, by its selector or by its role and name. Nothing if it is not there. */
export function placeOf({ selector, role, name }) {
  const tags = { button: "button", link: "a[href]", article: "article", textbox: "input" };
  const found = selector ? all(selector) : all(`[role="${role}"], ${tags[role] ?? "none"}`);
  const element = found.find((one) => one.checkVisibility() && (name === undefined || nameOf(one) === name));
  if (!element) return null;
  element.scrollIntoView({ block: "center", behavior: "instant" });
  const { x, y, width, height } = element.getBoundingClientRect();
  return { x: Math.round(x + width / 2), y: Math.round(y + height / 2) };
}

/** The source of all of these, for a script that is about to use them. */
export const SOURCE = [all, nameOf, focused, tabStops, rows, placeOf].join("\n");
