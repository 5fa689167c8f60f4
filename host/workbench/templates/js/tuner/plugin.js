// A uniform random search: replace it with yours.

import { Random, defineTuner, number } from "@purlin/plugin";

export default defineTuner({
  algorithms: ["{{name}}"],

  suggest(search, count) {
    return Array.from({ length: count }, (_, index) => {
      // A stream for each trial: asked again, the same trial gets the same point.
      const random = new Random(search.context.seed, search.trials.length + index);
      return { assignments: search.parameters.map(({ name, domain }) => ({ name, value: draw(domain, random) })) };
    });
  },
});

function draw(domain, random) {
  switch (domain.kind) {
    case "float":
      return number(domain.min + random.unit() * (domain.max - domain.min));
    case "int":
      return String(domain.min + BigInt(random.below(domain.max - domain.min + 1n)));
    default:
      return domain.values[random.below(domain.values.length)];
  }
}
