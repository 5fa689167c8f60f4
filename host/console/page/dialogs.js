// The dialogs: install and upgrade, where a person ticks what a plugin may do, and removal.

import * as api from "./api.js";
import { el, fill, badge, toast, unique } from "./dom.js";
import { repository, signatureOf } from "./plugins.js";

/** Shows a modal dialog; the browser gives the focus back when it closes. */
function open(title, ...content) {
  const heading = unique("dialog");
  const dialog = el("dialog", { "aria-labelledby": heading }, el("h2", { id: heading }, title), content);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

const cancel = (dialog) => el("button", { type: "button", onclick: () => dialog().close() }, "Cancel");

/**
 * Installs a listed version, or upgrades `plugin` to it.
 * Nothing is granted that was not ticked here or granted before; what is required and not ticked keeps the button off.
 */
export function openRelease(page, { index, listing, version, plugin }) {
  const doing = !plugin ? "Install" : version === plugin.status?.version ? "Change" : "Upgrade";
  const name = el("input", {
    id: unique("name"), value: listing.name, required: true, maxlength: 63, pattern: "[a-z0-9]([a-z0-9\\-]*[a-z0-9])?",
    spellcheck: "false", autocapitalize: "none", title: "Lower-case letters, digits and -",
  });
  const choice = el("select", { id: unique("version") }, listing.versions.map((release) =>
    el("option", { value: release.version, selected: release.version === version },
      release.version + (release.deprecated ? " (deprecated)" : ""))));
  const body = el("div", { class: "release" });
  const left = el("p", { class: "help left", role: "status" });
  const failure = el("div", { role: "alert" });
  const go = el("button", { type: "submit", class: "primary", disabled: true }, doing);
  const form = el("form", { novalidate: false, onsubmit: submit },
    el("div", { class: "fields" },
      !plugin && [el("label", { for: name.id }, "Name"), name],
      el("label", { for: choice.id }, "Version"), choice),
    body, failure, left, el("div", { class: "actions" }, cancel(() => dialog), go));
  const dialog = open(`${doing} ${listing.name}`, form);
  let shown;
  choice.addEventListener("change", load);
  load();
  return dialog;

  async function load() {
    const wanted = { index, name: listing.name, version: choice.value, grants: plugin?.spec.grants ?? [] };
    shown = undefined;
    go.disabled = true;
    fill(failure);
    left.textContent = "";
    fill(body, el("p", { class: "loading" }, "Reading what it asks for…"));
    try {
      const release = await api.release(wanted);
      if (choice.value !== wanted.version) return;
      shown = release;
      drawRelease(release);
    } catch (error) {
      if (page.lost(error)) return dialog.close();
      if (choice.value !== wanted.version) return;
      fill(body, el("div", { class: "notice bad", role: "alert" }, el("p", {}, error.message),
        el("button", { type: "button", onclick: load }, "Try again")));
    }
  }

  function drawRelease(release) {
    const signature = signatureOf(release.signature.reason, release.signature.key);
    const moved = plugin && repository(plugin.spec.image) !== repository(release.reference);
    const known = release.capabilities.filter((one) => one.granted);
    const asked = release.capabilities.filter((one) => !one.granted);
    const list = (title, items) => items.length > 0 && [el("dt", {}, title), el("dd", {}, items.join(", "))];
    fill(body,
      release.description && el("p", {}, release.description),
      el("div", { class: "badges" }, release.stages.map((stage) => badge(stage, "stage")), badge(signature.text, signature.kind)),
      el("p", { class: release.signature.allowed ? "help" : "notice bad" },
        release.signature.allowed ? "" : "The policy refuses it: ", release.signature.message),
      moved && el("p", { class: "notice warn" }, "It comes from another repository than what is installed: ",
        el("code", {}, repository(release.reference)), " instead of ", el("code", {}, repository(plugin.spec.image)), "."),
      el("details", {}, el("summary", {}, "What it is"), el("dl", {},
        el("dt", {}, "Image"), el("dd", {}, el("code", {}, release.reference)),
        el("dt", {}, "Digest"), el("dd", {}, el("code", {}, release.digest)),
        el("dt", {}, "Size"), el("dd", {}, `${Math.ceil(release.size / 1024)} KiB`),
        el("dt", {}, "Contract"), el("dd", {}, `purlin:plugin ${release.wit}`),
        list("Algorithms", release.algorithms), list("Owns", release.owns), list("Emits", release.emits),
        list("Reads", release.reads), list("Makes namespaces", release.namespaces))),
      known.length > 0 && el("div", { class: "known" }, el("h3", {}, "Granted already"),
        el("ul", {}, known.map((one) => el("li", {}, el("code", {}, one.name))))),
      asked.length > 0
        ? el("fieldset", { class: "grants", onchange: count },
          el("legend", {}, plugin ? "Not granted yet: it asks to" : "It asks to"),
          el("p", { class: "help" }, "Nothing is granted that you do not tick. What it may do without these: compute answers, no more."),
          asked.length > 3 && el("button", { type: "button", onclick: tickAll }, `Tick all ${asked.length}`),
          el("ul", {}, asked.map(grant)))
        : el("p", { class: "help" }, plugin ? "It asks for nothing that it was not granted before." : "It asks for nothing."));
    count();
  }

  function grant(one) {
    const box = el("input", { type: "checkbox", id: unique("grant"), "data-grant": one.name, "data-required": !one.optional });
    const reason = unique("reason");
    box.setAttribute("aria-describedby", reason);
    return el("li", {}, box, el("label", { for: box.id }, el("code", {}, one.name), " ",
      badge(one.optional ? "optional" : "required", one.optional ? "" : "warn")),
      el("p", { id: reason, class: "help" }, one.reason || "It gives no reason."));
  }

  function tickAll() {
    for (const box of body.querySelectorAll("[data-grant]")) box.checked = true;
    count();
  }

  function count() {
    const missing = [...body.querySelectorAll("[data-required]")].filter((box) => !box.checked).length;
    const refused = shown && !shown.signature.allowed;
    const present = plugin && shown && plugin.spec.digest === shown.digest && plugin.spec.image === shown.reference
      && ![...body.querySelectorAll("[data-grant]")].some((box) => box.checked);
    go.disabled = !shown || missing > 0 || refused || present;
    left.textContent = present ? "This version is the one that is installed." : refused ? "The policy has to change, or the plugin to be signed, before it can be installed."
      : missing ? `Tick what is required to go on: ${missing} left.` : "";
  }

  // Status changes all the time; what must not have changed since the person looked is the spec.
  function latest() {
    const now = page.installed.get(plugin.metadata.name);
    if (now?.metadata.uid === plugin.metadata.uid && now.metadata.generation === plugin.metadata.generation) return now;
    throw new api.ApiError("The plugin is not what it was when this was opened.", 409, "Conflict");
  }

  async function submit(event) {
    event.preventDefault();
    if (go.disabled) return;
    const release = shown;
    const ticked = [...body.querySelectorAll("[data-grant]")].filter((box) => box.checked).map((box) => box.dataset.grant);
    const spec = { image: release.reference, digest: release.digest, grants: [...(plugin?.spec.grants ?? []), ...ticked] };
    go.disabled = true;
    fill(failure);
    try {
      if (plugin) await api.change(latest(), spec);
      else {
        await api.create({ apiVersion: "purlin.dev/v1alpha1", kind: "Plugin", metadata: { name: name.value.trim() }, spec });
      }
      dialog.close();
      toast(`${plugin ? "Upgrading" : "Installing"} ${plugin?.metadata.name ?? name.value.trim()} ${release.version}`);
    } catch (error) {
      if (page.lost(error)) return dialog.close();
      const help = error.code === 409
        ? plugin ? "Somebody changed it meanwhile. Close this and look again." : "Choose another name, or upgrade the one that is there."
        : "";
      fill(failure, el("p", { class: "notice bad" }, error.message, help && ` ${help}`));
      go.disabled = false;
    }
  }
}

/** Asks once more, and removes a plugin. */
export function openRemove(page, plugin) {
  const { name } = plugin.metadata;
  const kinds = (plugin.status?.ownedKinds ?? []).map((kind) => kind.kind);
  const failure = el("div", { role: "alert" });
  const go = el("button", { type: "submit", class: "danger" }, "Remove");
  const form = el("form", { onsubmit: submit },
    el("p", {}, "It is unloaded, and what it stored is gone."),
    kinds.length > 0 && el("p", { class: "notice warn" }, `Nobody looks after objects of ${kinds.join(", ")} any more until it is installed again.`),
    failure, el("div", { class: "actions" }, cancel(() => dialog), go));
  const dialog = open(`Remove ${name}?`, form);

  async function submit(event) {
    event.preventDefault();
    go.disabled = true;
    try {
      await api.remove(plugin);
      dialog.close();
      toast(`Removing ${name}`);
    } catch (error) {
      if (page.lost(error)) return dialog.close();
      fill(failure, el("p", { class: "notice bad" }, error.message));
      go.disabled = false;
    }
  }
}
