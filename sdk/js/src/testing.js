// Tests of a plugin without WebAssembly: case files, and a stand-in for the host.

import { readFileSync } from "node:fs";

import { Failed, Invalid, Retry } from "./faults.js";
import { interfaces } from "./host.js";

export async function withHost(standIns, run) {
  const before = { ...interfaces };
  Object.assign(interfaces, standIns);
  try {
    return await run();
  } finally {
    for (const name of Object.keys(interfaces)) delete interfaces[name];
    Object.assign(interfaces, before);
  }
}

export function cases(file) {
  const content = JSON.parse(readFileSync(file, "utf8"));
  return Array.isArray(content) ? content : [content];
}

export function answer(plugin, content) {
  try {
    return call(plugin, content);
  } catch (error) {
    if (error instanceof Invalid) return { fault: { invalid: error.errors } };
    if (error instanceof Retry) return { fault: { retry: { afterMs: error.afterMs, reason: error.message } } };
    if (error instanceof Failed) return { fault: { failed: error.message } };
    throw error;
  }
}

function call(plugin, content) {
  const { nowMs = 0, seed = 0, config = {}, parent, children = [], related = [] } = content;
  const context = { nowMs, seed: BigInt(seed), config };
  switch (content.call) {
    case "check":
      plugin.check(context);
      return {};
    case "algorithms":
      return { algorithms: [...plugin.algorithms] };
    case "validate":
      return { errors: [...plugin.validate(search(content.search, context))] };
    case "suggest": {
      const points = Array.from(plugin.suggest(search(content.search, context), content.count));
      return { suggestions: points.map(({ assignments, labels = [] }) => (labels.length ? { assignments, labels } : { assignments })) };
    }
    case "stop":
      return { stop: [...plugin.stop(search(content.search, context))] };
    case "related":
      return { selectors: [...plugin.related(context, parent)] };
    case "sync":
    case "finalize": {
      const { children: made = [], events = [], ...rest } = plugin[content.call]({ context, parent, children, related });
      const told = events.map((event) => ({ severity: "normal", ...event }));
      return { children: made, ...rest, ...(told.length ? { events: told } : {}) };
    }
    default:
      throw new TypeError(`a case cannot call ${JSON.stringify(content.call)}`);
  }
}

function search(content, context) {
  return {
    context,
    algorithm: content.algorithm ?? "",
    settings: content.settings ?? [],
    parameters: (content.parameters ?? []).map(({ name, ...rest }) => ({ name, domain: domain(rest) })),
    objective: { metric: "objective", direction: "maximize", additional: [], ...content.objective },
    trials: (content.trials ?? []).map((trial) => ({ assignments: [], outcome: "succeeded", measurements: [], ...trial })),
    maxTrials: content.maxTrials,
  };
}

function domain(content) {
  const [[kind, value]] = Object.entries(content);
  if (Array.isArray(value)) return { kind, values: value };
  const range = { scale: "linear", ...value };
  if (kind === "int") for (const name of ["min", "max", "step"]) if (range[name] !== undefined) range[name] = BigInt(range[name]);
  return { kind, ...range };
}
