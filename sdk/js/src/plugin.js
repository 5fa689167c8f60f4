// What a plugin is made of, with what it leaves out filled in.

export function defineTuner(tuner) {
  return {
    check() {},
    validate: (search) => unknownSettings(search, []),
    stop: () => [],
    ...bound(tuner),
    stage: "tuner",
  };
}

export function defineDialect(dialect) {
  return { check() {}, related: () => [], finalize: () => ({}), ...bound(dialect), stage: "dialect" };
}

// The methods of an instance of a class are not its own properties.
function bound(plugin) {
  const found = { ...plugin };
  for (const name of ["check", "validate", "suggest", "stop", "related", "sync", "finalize"]) {
    if (typeof plugin[name] === "function") found[name] = plugin[name].bind(plugin);
  }
  return found;
}

export function findSetting(search, name) {
  const index = search.settings.findIndex((setting) => setting.name === name);
  return index < 0 ? undefined : { index, value: search.settings[index].value };
}

export function unknownSettings(search, known) {
  const errors = [];
  const seen = new Set();
  search.settings.forEach(({ name, value }, index) => {
    let reason;
    if (!known.includes(name)) {
      reason = known.length
        ? `${search.algorithm} has no setting ${name}; it has ${known.join(", ")}`
        : `${search.algorithm} has no settings; remove ${name}`;
    } else if (seen.has(name)) {
      reason = `${name} is set twice; keep one`;
    } else {
      seen.add(name);
      return;
    }
    errors.push({ field: `spec.algorithm.settings[${index}]`, value, reason });
  });
  return errors;
}
