// Signs in, keeps what is installed and what is on offer up to date, and draws both.

import * as api from "./api.js";
import { byId, el, fill, badge, say } from "./dom.js";
import { openRelease, openRemove } from "./dialogs.js";
import { signatureOf } from "./plugins.js";
import { drawAvailable, drawInstalled } from "./views.js";

const VERBS = ["list", "watch", "create", "patch", "delete"];

const page = {
  installed: new Map(),
  catalogue: [],
  rights: {},
  words: "",
  stage: "",
  limit: drawAvailable.STEP,
  ready: { installed: false, available: false },
  signatures: new Map(),
  draw,
  lost,
  showSignature,
  openInstall: (item) => openRelease(page, item),
  openUpgrade: (plugin, newer) => openRelease(page, { ...newer, plugin }),
  openRemove: (plugin) => openRemove(page, plugin),
};

let session;

api.takeTokenFromAddress();
byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  api.token.set(byId("token").value.trim());
  byId("token").value = "";
  start();
});
byId("sign-out").addEventListener("click", () => signIn(""));
byId("reload").addEventListener("click", () => loadCatalogue(session));
byId("words").addEventListener("input", (event) => { page.words = event.target.value.trim(); page.limit = drawAvailable.STEP; draw(); });
byId("stage").addEventListener("change", (event) => { page.stage = event.target.value; page.limit = drawAvailable.STEP; draw(); });
// A link with a token that is opened in this tab changes nothing but the part behind `#`.
addEventListener("hashchange", () => { api.takeTokenFromAddress(); start(); });
if (api.token.get()) start();
else signIn("");

/** Asks for a token, and forgets the one that was there and what it showed. */
function signIn(why) {
  session?.abort();
  session = undefined;
  api.token.drop();
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  page.installed.clear();
  page.catalogue = [];
  page.signatures.clear();
  fill(byId("installed"));
  fill(byId("available"));
  byId("plugins").hidden = true;
  byId("account").hidden = true;
  byId("sign-in").hidden = false;
  byId("sign-in-why").hidden = !why;
  byId("sign-in-why").textContent = why;
  byId("token").focus();
}

/** Whether a failure means that the token is no longer good; then the page asks for another. */
function lost(error) {
  if (error.code !== 401) return false;
  signIn("The server does not know this token, or it has expired. Run `purlin console` for a new link.");
  return true;
}

async function start() {
  session?.abort();
  const mine = session = new AbortController();
  byId("sign-in").hidden = true;
  byId("plugins").hidden = false;
  fill(byId("problem"));
  page.ready = { installed: false, available: false };
  waiting(byId("installed"), "Reading the plugins…");
  waiting(byId("available"), "Reading the indexes…");
  try {
    const [user, rights] = await Promise.all([api.whoAmI(), api.rights(VERBS)]);
    if (mine !== session) return;
    page.rights = rights;
    byId("user").textContent = user;
    byId("account").hidden = false;
    tellRights(user);
    if (!rights.list) return;
    loadCatalogue(mine);
    follow(mine);
  } catch (error) {
    if (mine !== session || lost(error)) return;
    problem(error.message, start);
    fill(byId("installed"));
    fill(byId("available"));
  }
}

function waiting(box, text) {
  box.setAttribute("aria-busy", "true");
  fill(box, el("p", { class: "loading" }, text));
}

function problem(text, again) {
  fill(byId("problem"), el("div", { class: "notice bad" }, el("p", {}, text),
    again && el("button", { type: "button", onclick: again }, "Try again")));
}

/** Says which rights are missing, and what would give them. */
function tellRights(user) {
  const missing = ["list", "create", "patch", "delete"].filter((verb) => !page.rights[verb]);
  const box = byId("rights");
  box.hidden = missing.length === 0;
  if (!missing.length) return;
  const verbs = missing.join(", ");
  fill(box, page.rights.list ? "You may look and not change everything: " : "You may not see the plugins: ",
    el("strong", {}, user), ` lacks the right to ${verbs} `, el("code", {}, "plugins.purlin.dev"),
    ". Ask an administrator for a ClusterRole with ", missing.length > 1 ? "these verbs." : "this verb.");
  if (!page.rights.list) {
    fill(byId("installed"));
    fill(byId("available"));
  }
}

/** Lists and watches the plugins for as long as the session lasts; after a pause where that fails. */
async function follow(mine) {
  let pause = 1000;
  while (mine === session) {
    try {
      const all = await api.list();
      if (mine !== session) return;
      page.installed = new Map(all.items.map((plugin) => [plugin.metadata.name, plugin]));
      page.ready.installed = true;
      fill(byId("problem"));
      draw();
      pause = 1000;
      if (page.rights.watch) await watchFrom(all.metadata.resourceVersion, mine);
      else await wait(5000);
    } catch (error) {
      if (mine !== session || error.name === "AbortError" || lost(error)) return;
      problem(`${error.message} Trying again in ${pause / 1000} s.`);
      await wait(pause);
      pause = Math.min(pause * 2, 30000);
    }
  }
}

/** Takes in events until the watch ends; an old version means to list anew. */
async function watchFrom(version, mine) {
  let expired = false;
  while (mine === session && !expired) {
    const began = Date.now();
    await api.watch(version, (event) => {
      if (mine !== session) return;
      if (event.type === "ERROR") { expired = true; return; }
      version = event.object.metadata.resourceVersion;
      if (event.type === "BOOKMARK") return;
      const { name } = event.object.metadata;
      if (event.type === "DELETED") page.installed.delete(name);
      else page.installed.set(name, event.object);
      draw();
    }, mine.signal);
    // A server that ends each watch at once must not be asked without a pause.
    if (Date.now() - began < 1000) await wait(1000);
  }
}

const wait = (time) => new Promise((done) => { setTimeout(done, time); });

async function loadCatalogue(mine) {
  byId("reload").disabled = true;
  if (!page.ready.available) waiting(byId("available"), "Reading the indexes…");
  try {
    const { indexes } = await api.catalogue();
    if (mine !== session) return;
    page.catalogue = indexes;
    page.signatures.clear();
    page.ready.available = true;
    listStages();
    draw();
    say("The indexes were read.");
  } catch (error) {
    if (mine !== session || lost(error)) return;
    byId("available").setAttribute("aria-busy", "false");
    fill(byId("available"), el("div", { class: "notice bad", role: "alert" }, el("p", {}, error.message),
      el("button", { type: "button", onclick: () => loadCatalogue(mine) }, "Try again")));
  } finally {
    byId("reload").disabled = false;
  }
}

function listStages() {
  const stages = new Set(page.catalogue.flatMap(({ plugins }) => plugins.flatMap((one) => one.versions.flatMap((v) => v.stages))));
  if (!stages.has(page.stage)) page.stage = "";
  fill(byId("stage"), el("option", { value: "" }, "All"),
    [...stages].sort().map((stage) => el("option", { value: stage, selected: stage === page.stage }, stage)));
}

function draw() {
  if (page.ready.installed) {
    byId("installed").setAttribute("aria-busy", "false");
    byId("installed-count").textContent = drawInstalled(page, byId("installed"));
  }
  if (page.ready.available && page.ready.installed) {
    byId("available").setAttribute("aria-busy", "false");
    byId("available-count").textContent = drawAvailable(page, byId("available"));
  }
}

// Signatures: looked at when seen or nearly, a few at a time, and kept until the indexes are read again.

const queue = [];
let busy = 0;
const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    queue.push(target);
  }
  next();
}, { rootMargin: "1500px 0px" });
const wantedBy = new WeakMap();

function showSignature(box, wanted) {
  const known = page.signatures.get(JSON.stringify(wanted));
  if (known) return fill(box, known());
  fill(box, badge("signature…", "", "Being looked at"));
  wantedBy.set(box, wanted);
  seen.observe(box);
}

async function next() {
  while (busy < 4 && queue.length) {
    const box = queue.shift();
    if (!box.isConnected) continue;
    look(box);
  }
}

async function look(box) {
  const wanted = wantedBy.get(box);
  const mine = session;
  busy += 1;
  let shown;
  try {
    const found = await api.signature(wanted);
    const { kind, text } = signatureOf(found.reason, found.key);
    shown = () => badge(text, found.allowed ? kind : "bad", found.message);
  } catch (error) {
    if (error.code === 401) lost(error);
    shown = () => badge("Signature unavailable", "warn", error.message);
  } finally {
    busy -= 1;
  }
  if (mine !== session) return;
  page.signatures.set(JSON.stringify(wanted), shown);
  if (box.isConnected) fill(box, shown());
  next();
}
