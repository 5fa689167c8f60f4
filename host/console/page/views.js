// The two lists: what is installed, and what the indexes have.

import { el, fill, badge, unique } from "./dom.js";
import { condition, matches, offered, repository, signatureOf, state, upgrade } from "./plugins.js";

/** Listings on the page at first, and with each press of "Show more". */
const STEP = 60;

/** The button of an action, which says why it is off where the person lacks a right. */
export function actionButton(page, verb, text, act, attributes = {}) {
  const allowed = page.rights[verb] !== false;
  return el("button", {
    type: "button", ...attributes, disabled: !allowed, onclick: act,
    title: allowed ? undefined : `You lack the right to ${verb} plugins.purlin.dev`,
    "aria-describedby": allowed ? undefined : "rights",
  }, text);
}

const row = (name, ...value) => [el("dt", {}, name), el("dd", {}, value)];
const codes = (items) => items.map((item, at) => [at > 0 && ", ", el("code", {}, item)]);

/** Draws the installed plugins. What was open stays open, and what had the focus keeps it. */
export function drawInstalled(page, box) {
  const all = [...page.installed.values()].sort((a, b) => a.metadata.name.localeCompare(b.metadata.name));
  const shown = all.filter((plugin) => fits(page, {
    texts: [plugin.metadata.name, plugin.spec.image, ...(plugin.spec.grants ?? [])], stages: plugin.status?.stages ?? [],
  }));
  if (!shown.length) {
    fill(box, el("p", { class: "empty" }, all.length
      ? "No installed plugin fits the search."
      : "No plugin is installed. Choose one below, or use `purlin plugin install NAME`."));
    return all.length;
  }
  const open = new Set([...box.querySelectorAll("details[open]")].map((one) => one.dataset.name));
  const focus = box.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  fill(box, el("ul", { class: "list" }, shown.map((plugin) => installed(page, plugin, open.has(plugin.metadata.name)))));
  if (focus) box.querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus();
  return all.length;
}

function fits(page, { texts, stages }) {
  return (!page.stage || stages.includes(page.stage)) && (!page.words || matches(page.words, [...texts, ...stages]));
}

function installed(page, plugin, open) {
  const { name } = plugin.metadata;
  const status = plugin.status ?? {};
  const now = state(plugin);
  const verified = condition(plugin, "Verified");
  const signature = signatureOf(verified?.reason);
  const newer = upgrade(page.catalogue, plugin);
  const title = unique("plugin");
  const taken = status.rolledBack && `Version taken back: ${status.rolledBack.reason}`;
  return el("li", {}, el("article", { "aria-labelledby": title, "data-plugin": name, class: "item" },
    el("div", { class: "head" },
      el("h3", { id: title }, name),
      el("span", { class: "version" }, status.version ?? "version not known yet"),
      badge(now.text, now.kind, now.why),
      badge(signature.text, signature.kind, verified?.message),
      (status.stages ?? []).map((stage) => badge(stage, "stage")),
      (status.refused ?? []).length > 0 && badge(`${status.refused.length} not granted`, "warn")),
    el("div", { class: "actions" },
      newer && actionButton(page, "patch", `Upgrade to ${newer.version}…`,
        () => page.openUpgrade(plugin, newer), { class: "primary", "data-focus": `upgrade ${name}` }),
      actionButton(page, "delete", "Remove…", () => page.openRemove(plugin),
        { "data-focus": `remove ${name}`, "aria-label": `Remove ${name}` })),
    now.kind !== "good" && now.why && el("p", { class: now.kind === "bad" ? "notice bad" : "help" }, now.why),
    taken && el("p", { class: "notice warn" }, taken),
    el("details", { "data-name": name, open }, el("summary", { "data-focus": `details ${name}` }, "Details"),
      el("dl", {},
        row("Image", el("code", {}, plugin.spec.image)),
        row("Digest", el("code", {}, status.digest ?? plugin.spec.digest ?? "not resolved yet")),
        status.serving && status.serving.digest !== status.digest
          && row("Serving", `${status.serving.version} `, el("code", {}, status.serving.digest)),
        status.witVersion && row("Contract", `purlin:plugin ${status.witVersion}`),
        (status.algorithms ?? []).length > 0 && row("Algorithms", codes(status.algorithms)),
        (status.ownedKinds ?? []).length > 0
          && row("Owns", codes(status.ownedKinds.map((kind) => `${kind.group}/${kind.version} ${kind.kind}`))),
        row("Granted", (status.granted ?? []).length ? codes(status.granted) : "nothing"),
        (status.refused ?? []).length > 0 && row("Not granted", codes(status.refused))),
      conditions(status.conditions ?? []))));
}

function conditions(all) {
  if (!all.length) return el("p", { class: "help" }, "The kernel has said nothing about it yet.");
  const head = ["Condition", "Status", "Reason", "Message"].map((name) => el("th", { scope: "col" }, name));
  return el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Conditions" }, el("table", {},
    el("thead", {}, el("tr", {}, head)),
    el("tbody", {}, all.map((one) => el("tr", {},
      el("th", { scope: "row" }, one.type), el("td", {}, one.status), el("td", {}, one.reason), el("td", {}, one.message))))));
}

/** Draws what the indexes have. Signatures are looked at when a listing comes into view. */
export function drawAvailable(page, box) {
  const failed = page.catalogue.filter((one) => one.error);
  const all = page.catalogue.flatMap(({ index, plugins }) => plugins.map((listing) => ({ index, listing })));
  const shown = all.filter(({ listing }) => {
    const newest = newestOf(listing);
    return fits(page, {
      texts: [listing.name, listing.description, ...newest.capabilities.map((one) => one.name)], stages: newest.stages,
    });
  });
  const focus = box.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  fill(box,
    failed.map(({ index, error }) => el("div", { class: "notice bad" },
      el("p", {}, el("strong", {}, "An index cannot be read: "), error),
      el("p", { class: "help" }, "Check that ", el("code", {}, index), " exists and that its registry answers, then read again. ",
        "Which indexes there are, `purlin up --index`, PURLIN_INDEX or ~/.config/purlin/indexes says."))),
    !shown.length && !(failed.length && !all.length) && el("p", { class: "empty" }, all.length
      ? "No plugin in the indexes fits the search."
      : "The indexes list nothing. `purlin plugin index build --push` adds plugins to one."),
    shown.length > 0 && el("ul", { class: "cards" }, shown.slice(0, page.limit).map((item) => listed(page, item))),
    shown.length > page.limit && el("button", {
      type: "button", class: "more", "data-focus": "more", onclick: () => { page.limit += STEP; page.draw(); },
    }, `Show more (${shown.length - page.limit} are left)`));
  if (focus) box.querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus();
  return all.length;
}

drawAvailable.STEP = STEP;

const newestOf = (listing) => listing.versions.find((release) => release.version === listing.newest) ?? listing.versions[0];

function listed(page, { index, listing }) {
  const newest = newestOf(listing);
  const { name } = listing;
  const present = page.installed.get(name);
  const newer = present && upgrade(page.catalogue, present);
  const first = offered(page.catalogue, name)?.index === index;
  const title = unique("listing");
  const signature = el("span", { class: "signature" });
  page.showSignature(signature, { index, name, version: newest.version });
  const asks = newest.capabilities;
  return el("li", {}, el("article", { "aria-labelledby": title, "data-listing": name, class: "card" },
    el("div", { class: "head" }, el("h3", { id: title }, name), el("span", { class: "version" }, newest.version)),
    el("p", { class: "description" }, listing.description || "It says nothing of itself."),
    el("div", { class: "badges" }, newest.stages.map((stage) => badge(stage, "stage")), signature,
      newest.signedBy?.length > 0 && badge(`index: signed by ${newest.signedBy.join(", ")}`, "",
        "What the index says. It is a hint and no proof.")),
    newest.deprecated && el("p", { class: "notice warn" }, "Deprecated: ", newest.deprecated),
    asks.length > 0
      ? el("div", { class: "asks" }, el("p", {}, "Asks for"), el("ul", {}, asks.slice(0, 4).map((one) =>
        el("li", {}, el("code", {}, one.name), one.reason && ` ${one.reason}`)),
        asks.length > 4 && el("li", {}, `and ${asks.length - 4} more`)))
      : el("p", { class: "help" }, "Asks for nothing."),
    el("p", { class: "place" }, el("span", {}, `${listing.versions.length} version${listing.versions.length > 1 ? "s" : ""} in `),
      el("code", {}, repository(index))),
    !first && el("p", { class: "help" }, "An index before this one has the name too; by name alone that one is installed."),
    el("div", { class: "actions" },
      present && (repository(present.spec.image) === repository(newest.reference)
        ? badge(newer ? `${present.status.version} installed` : "Installed", newer ? "" : "good")
        : badge("Name in use", "warn", `The plugin of this name is installed from ${repository(present.spec.image)}`)),
      newer && first && actionButton(page, "patch", `Upgrade to ${newer.version}…`,
        () => page.openUpgrade(present, newer), { class: "primary", "data-focus": `upgrade ${index} ${name}` }),
      present && !newer && first && listing.versions.length > 1 && actionButton(page, "patch", "Other version…",
        () => page.openUpgrade(present, { index, listing, version: present.status?.version }),
        { "data-focus": `change ${index} ${name}`, "aria-label": `Install another version of ${name}` }),
      !present && actionButton(page, "create", "Install…", () => page.openInstall({ index, listing, version: newest.version }),
        { class: "primary", "data-focus": `install ${index} ${name}`, "aria-label": `Install ${name}` }))));
}
