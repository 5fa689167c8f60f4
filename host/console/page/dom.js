// Makes elements. Text becomes text nodes and nothing else: what registries and the API say is never read as markup.

/** An element with attributes, listeners (`onclick: f`) and children; a child is a node, a text, or nothing. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "checked" || name === "value" || name === "selected") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Puts other children into an element. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

export const byId = (id) => document.getElementById(id);

/** A small word in a frame: `kind` is good, bad, warn or nothing. */
export const badge = (text, kind = "", title) => el("span", { class: `badge ${kind}`, title }, text);

let last = 0;
export const unique = (prefix) => `${prefix}-${++last}`;

/** Says something to who cannot see the page. */
export function say(text) {
  byId("said").textContent = text;
}

/** Shows a message that goes away; a failure stays until it is dismissed. */
export function toast(text, kind = "good") {
  const box = el("div", { class: `toast ${kind}`, role: kind === "bad" ? "alert" : undefined }, el("p", {}, text));
  const close = el("button", { type: "button", class: "quiet", "aria-label": "Dismiss", onclick: () => box.remove() }, "×");
  box.append(close);
  byId("toasts").append(box);
  if (kind !== "bad") {
    say(text);
    setTimeout(() => box.remove(), 8000);
  }
}
