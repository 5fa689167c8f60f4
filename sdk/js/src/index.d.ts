/**
 * Write a Purlin plugin in JavaScript or TypeScript.
 *
 * A plugin is a WebAssembly component that serves one stage: a *tuner* says which points a search should try next, a
 * *dialect* translates somebody's Kubernetes kinds into others. The plugin's module exports it as default:
 *
 * ```js
 * import { defineTuner } from "@purlin/plugin";
 * export default defineTuner({ algorithms: ["midpoint"], suggest(search, count) { ... } });
 * ```
 *
 * Rules that a plugin lives by: it is *pure* (time is `context.nowMs`, randomness is {@link Random} from `context.seed`;
 * `Date` and `Math.random` follow the request), it is *stateless* (each call gets a fresh instance), it answers at once
 * (no promises), and it reports what the user must correct by throwing {@link Invalid}. `console` writes to its log.
 */

/** What a pure function cannot know by itself. */
export interface Context {
  /** Unix time in milliseconds. */
  nowMs: number;
  /** The same for every call about the same object; 64 bits. */
  seed: bigint;
  /** `Plugin.spec.config`, parsed. */
  config: Record<string, unknown>;
}

/** One field that the user must correct. */
export interface FieldError {
  /** Path of the field, as `kubectl explain` takes it: `spec.algorithm.settings[0]`. */
  field: string;
  /** The offending value as the user wrote it; empty where the field is missing. */
  value: string;
  /** What is wrong, and what would be right. */
  reason: string;
}

/** Why a call gave no answer. Throw one of the three below; the text is shown to the user. */
export class Fault extends Error {}
/** The user must change the object. Not called again until it changes. */
export class Invalid extends Fault {
  constructor(...errors: FieldError[]);
  readonly errors: FieldError[];
}
/** Something is not ready yet. Called again after the delay; the reason is shown meanwhile. */
export class Retry extends Fault {
  constructor(afterMs: number, reason: string);
  readonly afterMs: number;
}
/** The plugin cannot go on. Called again with the kernel's own backoff. */
export class Failed extends Fault {}

/**
 * Why the host did not do what the plugin asked for. One that a plugin does not catch ends the call: {@link Unavailable}
 * as a {@link Retry}, any other as {@link Failed}.
 */
export class HostError extends Error {}
/** No grant covers it; the text names the grant that would. */
export class Denied extends HostError {}
/** The request makes no sense. */
export class InvalidRequest extends HostError {}
/** Something else was written since the version that the request named. */
export class Conflict extends HostError {}
/** What was asked for is larger than `limit` bytes. */
export class TooLarge extends HostError {
  constructor(limit: number);
  readonly limit: number;
}
/** It cannot be had now. It may be asked for again. */
export class Unavailable extends HostError {}

// Tuners

/** A name, and a value as the user wrote it. */
export interface Setting {
  name: string;
  value: string;
}

/** How probability, or a step, is spread over a range. */
export type Scale = "linear" | "log" | "normal" | "log-normal";

/** The values that one parameter can take. Ranges include both bounds; a step gives `min + k * step`. */
export type Domain =
  | { kind: "float"; min: number; max: number; step?: number; scale: Scale }
  | { kind: "int"; min: bigint; max: bigint; step?: bigint; scale: Scale }
  /** Numbers in an order that has meaning, as the user wrote them. */
  | { kind: "discrete"; values: string[] }
  /** Words without an order. */
  | { kind: "categorical"; values: string[] };

export interface Parameter {
  name: string;
  domain: Domain;
}

export interface Objective {
  metric: string;
  direction: "minimize" | "maximize";
  /** A value of the metric at which the search may end. */
  goal?: number;
  additional: string[];
}

/** The value of one parameter in one trial, as the text that is put into the trial's template. */
export interface Assignment {
  name: string;
  value: string;
}

/** One reading of a metric while a trial ran. */
export interface Measurement {
  metric: string;
  step: number;
  value: number;
}

/** A trial that was asked for earlier. */
export interface Trial {
  id: string;
  assignments: Assignment[];
  outcome: "pending" | "running" | "succeeded" | "stopped-early" | "failed";
  /** The objective's final value, once it is known. */
  objective?: number;
  measurements: Measurement[];
}

/** The state of one search. */
export interface Search {
  context: Context;
  algorithm: string;
  settings: Setting[];
  parameters: Parameter[];
  objective: Objective;
  /** Oldest first; the position of a trial never changes. */
  trials: Trial[];
  maxTrials?: number;
}

/** A point to try: one assignment for each parameter, in the order of the parameters. */
export interface Suggestion {
  assignments: Assignment[];
  labels?: Setting[];
}

/** A plugin that says where a search should look next. */
export interface Tuner {
  /** The algorithms that it answers to, in lower case; the manifest lists the same. */
  algorithms: string[];
  /** Whether the configuration can be used and what the plugin depends on can be reached. Throws a fault where not. */
  check?(context: Context): void;
  /** All that keeps this search from being run. Unless said otherwise, settings. */
  validate?(search: Search): Iterable<FieldError>;
  /** Up to `count` new points, the same for the same search. */
  suggest(search: Search, count: number): Iterable<Suggestion>;
  /** Ids of running trials that are not worth finishing. */
  stop?(search: Search): Iterable<string>;
}

/** Fills in what a tuner leaves out. Takes an object, or an instance of a class. */
export function defineTuner(tuner: Tuner): Required<Tuner> & { stage: "tuner" };
/** The setting of this name and its position, which names it in errors. */
export function findSetting(search: Search, name: string): { index: number; value: string } | undefined;
/** One error for each setting that is not in `known`, or is given twice. */
export function unknownSettings(search: Search, known: string[]): FieldError[];

// Dialects

/** One Kubernetes object, parsed. */
export type KubernetesObject = { apiVersion: string; kind: string; metadata: { name: string; [key: string]: any }; [key: string]: any };

/** Objects that a parent's sync must see although the parent does not own them. */
export interface Selector {
  apiVersion: string;
  kind: string;
  /** Without it: all namespaces for a cluster-scoped parent, and the parent's own otherwise. */
  namespace?: string;
  names?: string[];
  /** In kubectl's syntax: `app=web,tier!=cache`. */
  labels?: string;
}

/** A Kubernetes Event about the parent. */
export interface Event {
  severity?: "normal" | "warning";
  /** UpperCamelCase. */
  reason: string;
  /** One sentence for a person, at most 1024 bytes. */
  message: string;
}

/** What was observed. */
export interface SyncRequest {
  context: Context;
  parent: KubernetesObject;
  children: KubernetesObject[];
  related: KubernetesObject[];
}

/** What should be. */
export interface SyncResponse {
  /** Every child that should exist, with the fields that the plugin decides and no others. */
  children?: KubernetesObject[];
  /** The parent's whole new status; left as it is where there is none. */
  status?: Record<string, unknown>;
  requeueAfterMs?: number;
  events?: Event[];
}

/** A plugin that owns kinds and translates their objects. */
export interface Dialect {
  check?(context: Context): void;
  /** What `sync` must see beside the parent and its children. */
  related?(context: Context, parent: KubernetesObject): Iterable<Selector>;
  /** The desired state, from the observed state. */
  sync(request: SyncRequest): SyncResponse;
  /** The same while the parent is being deleted. Unless said otherwise every child goes. */
  finalize?(request: SyncRequest): SyncResponse;
}

/** Fills in what a dialect leaves out. */
export function defineDialect(dialect: Dialect): Required<Dialect> & { stage: "dialect" };

// Text and randomness

/** Random numbers that can be replayed: SplitMix64, the same sequence in every SDK. Not for secrets. */
export class Random {
  /** A stream is an independent sequence under the same seed. */
  constructor(seed: bigint | number, stream?: bigint | number);
  /** Any 64 bits. */
  bits(): bigint;
  /** A number of [0, 1). */
  unit(): number;
  /** A whole number below `bound`, each with the same probability. */
  below(bound: number): number;
}

/** The shortest decimal that reads back as this number: `0.5`, `64`, `1e-7`. */
export function number(value: number): string;
/** `min + position * step` as text, without the dust of binary arithmetic. */
export function onStep(min: number, step: number, position: number): string;

// Capabilities. Each throws a HostError where the host does not do it.

/** Lines in the kernel's log. */
export const log: Record<"trace" | "debug" | "info" | "warn" | "error", (message: string) => void>;

/** Requests to servers. Capability: `http(METHODS [SCHEME://]HOST[:PORT] [in RANGES])`. */
export const http: {
  send(request: {
    method?: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS";
    url: string;
    headers?: [string, string][];
    body?: Uint8Array | string;
    timeoutMs?: number;
    /** How many redirects to follow, at most 10. */
    redirects?: number;
  }): {
    status: number;
    /** Names in lower case. */
    headers: [string, string][];
    body: Uint8Array;
    url: string;
    text(): string;
    json(): any;
  };
};

/** Secrets of the cluster. Capability: `secret(NAME)` or `secret(NAMESPACE/NAME)`. */
export const secrets: { get(name: string): Map<string, Uint8Array> | undefined };

/** A small store of the plugin's own. Capability: `kv`. Keys are 1 to 253 bytes of `A-Z a-z 0-9 - _ . /`. */
export const kv: {
  get(key: string): { value: Uint8Array; version: bigint } | undefined;
  /** With `expected` only where the present version is that one (0n: only where there is none). */
  set(key: string, value: Uint8Array | string, expected?: bigint): bigint;
  delete(key: string): void;
  keys(prefix?: string): string[];
};

/** Larger content of the plugin's own. Capability: `blob`. */
export const blobs: {
  read(name: string, offset?: number, length?: number): Uint8Array | undefined;
  write(name: string, content: Uint8Array | string): void;
  delete(name: string): void;
  list(prefix?: string): { name: string; size: number }[];
};

/** CloudEvents to whoever listens. Capability: `events(TYPE)`. */
export const events: {
  publish(event: {
    id: string;
    type: string;
    subject?: string;
    datacontenttype?: string;
    data?: Uint8Array | string;
    extensions?: Record<string, string>;
  }): void;
};

/** Calls to the tuner of whichever installed plugin serves an algorithm. Capability: `call(tuner)`. */
export const tuners: {
  validate(search: Search): FieldError[];
  suggest(search: Search, count: number): Suggestion[];
};
