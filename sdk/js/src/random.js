// SplitMix64, in 64-bit arithmetic. The same sequence in every SDK.

const MASK = (1n << 64n) - 1n;
const STEP = 0x9e3779b97f4a7c15n;

function scramble(bits) {
  bits = ((bits ^ (bits >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
  bits = ((bits ^ (bits >> 27n)) * 0x94d049bb133111ebn) & MASK;
  return bits ^ (bits >> 31n);
}

export class Random {
  #state;

  constructor(seed, stream = 0) {
    const begun = scramble((BigInt(seed) + STEP) & MASK);
    this.#state = scramble((begun + BigInt(stream) * STEP) & MASK);
  }

  bits() {
    this.#state = (this.#state + STEP) & MASK;
    return scramble(this.#state);
  }

  unit() {
    return Number(this.bits() >> 11n) * 2 ** -53;
  }

  below(bound) {
    const limit = BigInt(bound);
    if (limit <= 0n) return 0;
    const uneven = (1n << 64n) % limit;
    for (;;) {
      const product = this.bits() * limit;
      if ((product & MASK) >= uneven) return Number(product >> 64n);
    }
  }
}
