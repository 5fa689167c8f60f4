// Halton: points that fill a space evenly, in the order of a low-discrepancy sequence.
//
// What is drawn is defined in docs/halton.md, to the last bit: the four SDKs' examples pass the same vectors.

import { Invalid, Random, defineTuner, findSetting, number, onStep, unknownSettings } from "@purlin/plugin";

const BASES = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53];
const SETTINGS = ["random_state", "skip"];
const MOST = 2 ** 53;

export default defineTuner({
  algorithms: ["halton"],

  validate(search) {
    const errors = unknownSettings(search, SETTINGS);
    for (const name of SETTINGS) {
      const found = findSetting(search, name);
      if (found && whole(found.value) === undefined) {
        const reason = `${name} must be a whole number of 32 bits`;
        errors.push({ field: `spec.algorithm.settings[${found.index}]`, value: found.value, reason });
      }
    }
    const count = search.parameters.length;
    if (count < 1 || count > BASES.length) {
      const reason = `halton searches 1 to ${BASES.length} parameters`;
      errors.push({ field: "spec.parameters", value: String(count), reason });
    }
    search.parameters.forEach(({ domain }, index) => errors.push(...domainErrors(`spec.parameters[${index}]`, domain)));
    return errors;
  },

  suggest(search, count) {
    const errors = this.validate(search);
    if (errors.length) throw new Invalid(...errors);
    const seed = setting(search, "random_state") ?? search.context.seed;
    const skip = setting(search, "skip") ?? 0;
    const shifts = search.parameters.map((_, index) => new Random(seed, index).unit());
    const first = search.trials.length;
    const last = Math.min(first + count, search.maxTrials ?? Infinity);
    const points = [];
    for (let index = first; index < last; index++) {
      const assignments = search.parameters.map(({ name, domain }, dimension) => {
        const unit = inverse(skip + index + 1, BASES[dimension]) + shifts[dimension];
        return { name, value: pick(domain, unit >= 1 ? unit - 1 : unit) };
      });
      points.push({ assignments });
    }
    return points;
  },
});

function setting(search, name) {
  const found = findSetting(search, name);
  return found && whole(found.value);
}

// A whole number of 32 bits, in decimal digits.
function whole(text) {
  const value = /^[0-9]{1,10}$/.test(text) ? Number(text) : NaN;
  return value < 2 ** 32 ? value : undefined;
}

// The digits of `index`, mirrored behind the point.
function inverse(index, base) {
  let [numerator, denominator] = [0, 1];
  while (index > 0) {
    numerator = numerator * base + (index % base);
    denominator *= base;
    index = Math.floor(index / base);
  }
  return numerator / denominator;
}

// The value at a place of [0, 1).
function pick(domain, unit) {
  const { kind, min, max, step, scale, values } = domain;
  switch (kind) {
    case "float": {
      if (step === undefined) return number(between(min, max, scale, unit));
      const steps = (max - min) / step;
      const last = Math.floor(steps + 1e-9 * Math.max(steps, 1));
      return onStep(min, step, position(min, max, step, last, scale, unit));
    }
    case "int": {
      const each = step ?? 1n;
      const last = Number((max - min) / each);
      const at = position(Number(min), Number(max), Number(each), last, scale, unit);
      return String(min + BigInt(at) * each);
    }
    default:
      return values[Math.min(Math.floor(unit * values.length), values.length - 1)];
  }
}

function position(min, max, step, last, scale, unit) {
  if (scale === "linear") return Math.min(Math.floor(unit * (last + 1)), last);
  return Math.min(Math.floor((between(min, max, scale, unit) - min) / step + 0.5), last);
}

function between(min, max, scale, unit) {
  if (scale === "linear") return Math.min(Math.max(min * (1 - unit) + max * unit, min), max);
  // min * (max / min) ** unit, by roots alone: they are exact to the last bit everywhere, powers are not.
  let [value, root] = [min, max / min];
  for (let bit = 0; bit < 32; bit++) {
    root = Math.sqrt(root);
    unit *= 2;
    if (unit >= 1) {
      unit -= 1;
      value *= root;
    }
  }
  return Math.min(Math.max(value, min), max);
}

function domainErrors(path, { kind, min, max, step, scale, values }) {
  const errors = [];
  const add = (name, value, reason) => errors.push({ field: `${path}.${name}`, value, reason });
  if (values) {
    if (values.length === 0) add("list", "", "must have at least one value");
    return errors;
  }
  const text = (value) => (kind === "int" ? String(value) : number(value));
  for (const [name, value] of [["min", min], ["max", max]]) {
    if (!(Math.abs(Number(value)) <= MOST)) add(name, text(value), "must lie within 2^53 of 0");
  }
  if (min > max) add("min", text(min), `must be at most max, which is ${text(max)}`);
  if (step !== undefined && !(step > 0 && step <= MOST)) add("step", text(step), "must be above 0");
  if (scale.endsWith("normal")) add("scale", scale, "halton has no normal scales; use linear or log");
  if (scale === "log" && min <= 0) add("min", text(min), "must be above 0 on the scale log");
  return errors;
}
