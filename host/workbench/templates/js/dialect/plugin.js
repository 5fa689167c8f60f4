// Makes a ConfigMap of each Greeting: replace it with yours.

import { Invalid, defineDialect } from "@purlin/plugin";

export default defineDialect({
  sync({ parent }) {
    const who = parent.spec?.who ?? "";
    if (!who) throw new Invalid({ field: "spec.who", value: "", reason: "say whom to greet" });
    const greeting = `Hello, ${who}!`;
    const child = {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: parent.metadata.name },
      data: { greeting },
    };
    return { children: [child], status: { greeting } };
  },
});
