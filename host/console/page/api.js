// The Kubernetes API and the console's own, both as the person whose token this tab holds.

const KEY = "purlin-token";
const PLUGINS = "/apis/purlin.dev/v1alpha1/plugins";
const MANAGER = "fieldManager=purlin-console";

/** A refusal or a failure, in the server's words. */
export class ApiError extends Error {
  constructor(message, code, reason) {
    super(message);
    this.code = code;
    this.reason = reason;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  drop: () => sessionStorage.removeItem(KEY),
};

/** Takes the token out of the address, so that neither the history nor a copied address has it. */
export function takeTokenFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return;
  history.replaceState(null, "", location.pathname);
  if (given.trim()) token.set(given.trim());
}

async function send(method, path, body, kind = "application/json", signal) {
  const headers = { Authorization: `Bearer ${token.get()}`, Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = kind;
  let answer;
  try {
    answer = await fetch(path, {
      method, headers, signal, cache: "no-store", credentials: "omit", redirect: "error",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer. Is `purlin up` still running?", 0, "Unreachable");
  }
  if (answer.ok) return answer;
  let status = {};
  try { status = await answer.json(); } catch { /* Not every refusal has a body. */ }
  throw new ApiError(status.message || `The server answered ${answer.status}.`, answer.status, status.reason);
}

const json = async (...request) => (await send(...request)).json();

/** Who the token stands for. */
export async function whoAmI() {
  const review = await json("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
    { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" });
  return review.status?.userInfo?.username ?? "";
}

/** Which of the verbs on plugins the person may use. */
export async function rights(verbs) {
  const ask = async (verb) => {
    const review = await json("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {
      apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview",
      spec: { resourceAttributes: { group: "purlin.dev", resource: "plugins", verb } },
    });
    return [verb, review.status?.allowed === true];
  };
  return Object.fromEntries(await Promise.all(verbs.map(ask)));
}

export const list = () => json("GET", PLUGINS);

export const create = (object) => json("POST", `${PLUGINS}?${MANAGER}`, object);

/** Changes the spec, if nobody else changed the object since it was seen. */
export const change = (plugin, spec) => json("PATCH", `${PLUGINS}/${encodeURIComponent(plugin.metadata.name)}?${MANAGER}`,
  { metadata: { resourceVersion: plugin.metadata.resourceVersion }, spec }, "application/merge-patch+json");

/** Deletes this object, not one that was made under its name meanwhile. */
export const remove = (plugin) => json("DELETE", `${PLUGINS}/${encodeURIComponent(plugin.metadata.name)}`,
  { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid: plugin.metadata.uid } });

/** Calls `seen` with each event after `version`, until the server ends the watch or `signal` does. */
export async function watch(version, seen, signal) {
  const query = new URLSearchParams({ watch: "true", resourceVersion: version, allowWatchBookmarks: "true" });
  const answer = await send("GET", `${PLUGINS}?${query}`, undefined, undefined, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    let read;
    try {
      read = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      return; // The connection broke; the next request tells whether the server is gone.
    }
    const { done, value } = read;
    if (done) return;
    text += value;
    const lines = text.split("\n");
    text = lines.pop();
    for (const line of lines) if (line) seen(JSON.parse(line));
  }
}

export const catalogue = () => json("GET", "api/catalogue");

/** What a listed version says of itself, and which of its requests `grants` cover. */
export const release = (wanted) => json("POST", "api/release", wanted);

export const signature = (wanted) => json("POST", "api/signature", wanted);
