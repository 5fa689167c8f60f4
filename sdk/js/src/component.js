// What stands between a plugin and the bindings that componentize-js makes. Imported by the entry that
// `purlin plugin build` writes, and by nothing else.

import { Failed, Fault, HostError, Invalid, Retry, Unavailable } from "./faults.js";
import { interfaces, log } from "./host.js";
import { Random } from "./random.js";

/** When a call is made again that ended because the host could not do something now. */
const RETRY_MS = 5000n;

const RealDate = Date;

/** Makes the host's interfaces reachable, and `console` the plugin's log. */
export function connect(imports) {
  Object.assign(interfaces, imports);
  const line = (write) => (...values) => write(values.map(shown).join(" "));
  globalThis.console = {
    ...globalThis.console,
    trace: line(log.trace),
    debug: line(log.debug),
    log: line(log.info),
    info: line(log.info),
    warn: line(log.warn),
    error: line(log.error),
  };
}

function shown(value) {
  if (typeof value === "string") return value;
  if (value instanceof Error) return `${value}\n${value.stack}`;
  return JSON.stringify(value, (_, one) => (typeof one === "bigint" ? String(one) : one)) ?? String(value);
}

// There is no clock and no randomness but the request's: time stands still while a call runs.
function begin({ nowMs, seed, config }) {
  const now = Number(nowMs);
  globalThis.Date = class extends RealDate {
    constructor(...values) {
      super(...(values.length ? values : [now]));
    }
    static now() {
      return now;
    }
  };
  const random = new Random(seed);
  Math.random = () => random.unit();
  return { nowMs: now, seed, config: JSON.parse(config) };
}

function answer(call) {
  try {
    return call();
  } catch (error) {
    throw fault(error);
  }
}

function fault(error) {
  if (error instanceof Invalid) return { tag: "invalid", val: error.errors };
  if (error instanceof Retry) return { tag: "retry", val: { afterMs: BigInt(error.afterMs), reason: error.message } };
  if (error instanceof Failed) return { tag: "failed", val: error.message };
  if (error instanceof Unavailable) return { tag: "retry", val: { afterMs: RETRY_MS, reason: error.message } };
  if (error instanceof Fault || error instanceof HostError) return { tag: "failed", val: error.message };
  log.error(shown(error));
  return { tag: "failed", val: String(error) };
}

const lifecycle = (plugin) => ({
  check(context) {
    const begun = begin(context);
    answer(() => plugin.check(begun));
  },
});

export function tuner(plugin) {
  return {
    lifecycle: lifecycle(plugin),
    tuner: {
      algorithms: () => [...plugin.algorithms],
      validate: (wire) => [...plugin.validate(fromWire(wire))],
      suggest(wire, count) {
        const search = fromWire(wire);
        return answer(() => Array.from(plugin.suggest(search, count), (point) => ({ labels: [], ...point })));
      },
      stop(wire) {
        const search = fromWire(wire);
        return answer(() => [...plugin.stop(search)]);
      },
    },
  };
}

function fromWire(wire) {
  return {
    ...wire,
    context: begin(wire.context),
    parameters: wire.parameters.map(({ name, domain: { tag, val } }) => ({
      name,
      domain: Array.isArray(val) ? { kind: tag, values: val } : { kind: tag, ...val },
    })),
    trials: wire.trials.map((trial) => ({
      ...trial,
      measurements: trial.measurements.map((one) => ({ ...one, step: Number(one.step) })),
    })),
  };
}

export function dialect(plugin) {
  const sync = (call) => (wire) => {
    const request = {
      context: begin(wire.context),
      parent: JSON.parse(wire.parent),
      children: wire.children.map((child) => JSON.parse(child)),
      related: wire.related.map((one) => JSON.parse(one)),
    };
    return answer(() => response(plugin[call](request)));
  };
  return {
    lifecycle: lifecycle(plugin),
    controller: {
      related(context, parent) {
        const begun = begin(context);
        return answer(() =>
          Array.from(plugin.related(begun, JSON.parse(parent)), (one) => ({ names: [], labels: "", ...one })),
        );
      },
      sync: sync("sync"),
      finalize: sync("finalize"),
    },
  };
}

function response({ children = [], status, requeueAfterMs, events = [] }) {
  return {
    children: children.map((child) => JSON.stringify(child)),
    status: status === undefined ? undefined : JSON.stringify(status),
    requeueAfterMs: requeueAfterMs === undefined ? undefined : BigInt(requeueAfterMs),
    events: events.map((event) => ({ severity: "normal", ...event })),
  };
}
