// What the page makes of objects and listings: pure functions, no elements.

/** Compares two semantic versions; below zero where `a` comes before `b`. */
export function compareVersions(a, b) {
  const parse = (text) => {
    const [core, ...pre] = text.split("+")[0].split("-");
    return { core: core.split(".").map(Number), pre: pre.join("-") };
  };
  const [x, y] = [parse(a), parse(b)];
  for (let at = 0; at < 3; at++) {
    const difference = (x.core[at] || 0) - (y.core[at] || 0);
    if (difference) return difference;
  }
  if (!x.pre || !y.pre) return (y.pre ? 1 : 0) - (x.pre ? 1 : 0);
  const [left, right] = [x.pre.split("."), y.pre.split(".")];
  for (let at = 0; at < Math.max(left.length, right.length); at++) {
    if (left[at] === undefined) return -1;
    if (right[at] === undefined) return 1;
    const [m, n] = [/^\d+$/.test(left[at]), /^\d+$/.test(right[at])];
    if (m && n && Number(left[at]) !== Number(right[at])) return Number(left[at]) - Number(right[at]);
    if (m !== n) return m ? -1 : 1;
    if (left[at] !== right[at]) return left[at] < right[at] ? -1 : 1;
  }
  return 0;
}

export const condition = (plugin, type) => (plugin.status?.conditions ?? []).find((one) => one.type === type);

/** How a plugin stands: `kind` is good, bad or busy. */
export function state(plugin) {
  if (plugin.metadata.deletionTimestamp) return { kind: "busy", text: "Being removed" };
  const ready = condition(plugin, "Ready");
  const generation = plugin.metadata.generation;
  if (!ready || (ready.observedGeneration ?? generation) < generation || ready.status === "Unknown") {
    return { kind: "busy", text: "Pending", why: ready?.message };
  }
  return ready.status === "True"
    ? { kind: "good", text: "Ready" }
    : { kind: "bad", text: ready.reason || "Not ready", why: ready.message };
}

const SIGNATURES = {
  SignatureValid: ["good", "Signed"],
  SignatureMissing: ["bad", "Not signed"],
  NoMatchingKey: ["bad", "No trusted key"],
  SignatureInvalid: ["bad", "Bad signature"],
  KeyUnusable: ["bad", "Key unusable"],
  SignatureUnavailable: ["warn", "Signature unavailable"],
  NoPolicy: ["warn", "Nobody vouches"],
  PolicyOff: ["", "Not checked"],
};

/** What a reason of the condition `Verified` means, in a few words. */
export function signatureOf(reason, key) {
  const [kind, text] = SIGNATURES[reason] ?? ["warn", reason || "Not looked at yet"];
  return { kind, text: key ? `${text} by ${key}` : text };
}

/** The first index that has a plugin of this name, as the command line has it. */
export function offered(catalogue, name) {
  for (const { index, plugins } of catalogue) {
    const listing = plugins.find((one) => one.name === name);
    if (listing) return { index, listing };
  }
  return undefined;
}

/** The version to upgrade to, where there is one. */
export function upgrade(catalogue, plugin) {
  const installed = plugin.status?.version;
  const found = offered(catalogue, plugin.metadata.name);
  if (!installed || !found?.listing.newest || compareVersions(installed, found.listing.newest) >= 0) return undefined;
  const release = found.listing.versions.find((one) => one.version === found.listing.newest);
  if (release?.digest === plugin.spec.digest) return undefined;
  return { ...found, version: found.listing.newest };
}

/** Registry and repository of a reference, without its version. */
export function repository(reference) {
  const name = reference.split("@")[0];
  const colon = name.lastIndexOf(":");
  return colon > name.lastIndexOf("/") ? name.slice(0, colon) : name;
}

/** Whether all words are somewhere in the texts. */
export function matches(words, texts) {
  const text = texts.join(" ").toLowerCase();
  return words.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}
