// The contract's variants `fault` and `host-error`, as errors.

export class Fault extends Error {
  get name() {
    return this.constructor.name;
  }
}

export class Invalid extends Fault {
  constructor(...errors) {
    if (errors.length === 0) throw new TypeError("Invalid needs at least one field error");
    super(errors.map((error) => `${error.field}: ${error.reason}`).join("; "));
    this.errors = errors;
  }
}

export class Retry extends Fault {
  constructor(afterMs, reason) {
    super(reason);
    this.afterMs = afterMs;
  }
}

export class Failed extends Fault {}

export class HostError extends Error {
  get name() {
    return this.constructor.name;
  }
}

export class Denied extends HostError {}
export class InvalidRequest extends HostError {}
export class Conflict extends HostError {}
export class Unavailable extends HostError {}

export class TooLarge extends HostError {
  constructor(limit) {
    super(`larger than ${limit} bytes`);
    this.limit = limit;
  }
}
