// What a plugin can ask of the host. `interfaces` is filled in by the component's entry with what the manifest asks for,
// in the shape that the bindings have, and by `testing.js` with stand-ins; what is in neither is denied.

import { Conflict, Denied, Failed, Invalid, InvalidRequest, Retry, TooLarge, Unavailable } from "./faults.js";

export const interfaces = {};

const FORMS = {
  tuners: "call(tuner)",
  http: "http(METHODS HOST)",
  secrets: "secret(NAME)",
  kv: "kv",
  blobs: "blob",
  events: "events(TYPE)",
};

function ask(name, call, ...values) {
  const found = interfaces[name];
  if (!found) throw new Denied(`this plugin does not ask for ${FORMS[name]}; add it to \`capabilities\` in plugin.yaml`);
  try {
    return found[call](...values);
  } catch (error) {
    throw name === "tuners" ? fault(error) : hostError(error);
  }
}

// What the bindings throw has the variant either as its payload or is it.
function variant(error) {
  const found = error?.payload ?? error;
  return typeof found?.tag === "string" ? found : undefined;
}

function hostError(error) {
  const found = variant(error);
  switch (found?.tag) {
    case "denied":
      return new Denied(found.val);
    case "invalid":
      return new InvalidRequest(found.val);
    case "conflict":
      return new Conflict(found.val);
    case "too-large":
      return new TooLarge(Number(found.val));
    case "unavailable":
      return new Unavailable(found.val);
    default:
      return error;
  }
}

function fault(error) {
  const found = variant(error);
  switch (found?.tag) {
    case "invalid":
      return new Invalid(...found.val);
    case "retry":
      return new Retry(Number(found.val.afterMs), found.val.reason);
    case "failed":
      return new Failed(found.val);
    default:
      return error;
  }
}

const encode = (content) => (typeof content === "string" ? new TextEncoder().encode(content) : content);

function write(level) {
  return (message) => {
    if (interfaces.log) interfaces.log.write(level, String(message));
    else console.error(`${level}: ${message}`);
  };
}

export const log = {
  trace: write("trace"),
  debug: write("debug"),
  info: write("info"),
  warn: write("warn"),
  error: write("error"),
};

export const http = {
  send({ method = "GET", url, headers = [], body = new Uint8Array(), timeoutMs, redirects = 0 }) {
    const answer = ask("http", "send", {
      method: method.toLowerCase(),
      url,
      headers: headers.map(([name, value]) => ({ name, value })),
      body: encode(body),
      timeoutMs,
      redirects,
    });
    return {
      status: answer.status,
      url: answer.url,
      body: answer.body,
      headers: answer.headers.map(({ name, value }) => [name, value]),
      text: () => new TextDecoder().decode(answer.body),
      json: () => JSON.parse(new TextDecoder().decode(answer.body)),
    };
  },
};

export const secrets = {
  get(name) {
    const entries = ask("secrets", "get", name);
    return entries && new Map(entries.map(({ key, value }) => [key, value]));
  },
};

export const kv = {
  get: (key) => ask("kv", "get", key),
  set: (key, value, expected) => ask("kv", "set", key, encode(value), expected),
  delete: (key) => ask("kv", "delete", key),
  keys: (prefix = "") => ask("kv", "keys", prefix),
};

export const blobs = {
  read: (name, offset = 0, length = 1 << 20) => ask("blobs", "read", name, BigInt(offset), length),
  write: (name, content) => ask("blobs", "write", name, encode(content)),
  delete: (name) => ask("blobs", "delete", name),
  list: (prefix = "") => ask("blobs", "list", prefix).map(({ name, size }) => ({ name, size: Number(size) })),
};

export const events = {
  publish({ id, type, subject, datacontenttype, data = new Uint8Array(), extensions = {} }) {
    ask("events", "publish", {
      id,
      type,
      subject,
      datacontenttype,
      data: encode(data),
      extensions: Object.entries(extensions).map(([name, value]) => ({ name, value })),
    });
  },
};

export const tuners = {
  validate: (search) => ask("tuners", "validate", toWire(search)),
  suggest: (search, count) => ask("tuners", "suggest", toWire(search), count),
};

function toWire(search) {
  const { context } = search;
  return {
    ...search,
    context: { nowMs: BigInt(context.nowMs), seed: context.seed, config: JSON.stringify(context.config) },
    parameters: search.parameters.map(({ name, domain }) => {
      const { kind, values, ...range } = domain;
      return { name, domain: { tag: kind, val: values ?? range } };
    }),
    trials: search.trials.map((trial) => ({
      ...trial,
      measurements: trial.measurements.map((one) => ({ ...one, step: BigInt(one.step) })),
    })),
  };
}
