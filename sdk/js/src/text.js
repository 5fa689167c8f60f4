// Numbers as text, the same in every SDK.

export function number(value) {
  return String(value === 0 ? 0 : value);
}

function places(value) {
  const [digits, exponent = "0"] = String(value).split("e");
  const fraction = digits.split(".")[1] ?? "";
  return Math.max(0, fraction.length - Number(exponent));
}

export function onStep(min, step, position) {
  const sum = min + position * step;
  return number(Number(sum.toFixed(Math.min(100, Math.max(places(min), places(step))))));
}
