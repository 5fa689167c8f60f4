// Write a Purlin plugin in JavaScript. The documentation is in index.d.ts, which an editor shows.

export { Conflict, Denied, Failed, Fault, HostError, Invalid, InvalidRequest, Retry, TooLarge, Unavailable } from "./faults.js";
export { blobs, events, http, kv, log, secrets, tuners } from "./host.js";
export { Random } from "./random.js";
export { number, onStep } from "./text.js";
export { defineDialect, defineTuner, findSetting, unknownSettings } from "./plugin.js";
