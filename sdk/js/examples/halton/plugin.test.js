import assert from "node:assert/strict";
import test from "node:test";

import { answer, cases } from "@purlin/plugin/testing";

import plugin from "./plugin.js";

for (const one of cases(new URL("../../../halton.json", import.meta.url))) {
  test(one.name, () => assert.deepEqual(answer(plugin, one), one.expect));
}
