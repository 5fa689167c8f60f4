/** Tests of a plugin without WebAssembly. */

/** Runs `run` with stand-ins for host interfaces (`http`, `kv`, ...), in the shape of the contract. */
export function withHost<T>(standIns: Record<string, object>, run: () => T | Promise<T>): Promise<T>;
/** The cases of a JSON file, as `purlin plugin test` runs them. */
export function cases(file: string | URL): Case[];
/** The plugin's answer to a case, in the form of `expect`. */
export function answer(plugin: object, content: Case): unknown;

export interface Case {
  name?: string;
  call: string;
  expect?: unknown;
  [key: string]: unknown;
}
