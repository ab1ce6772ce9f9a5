// Noise of one stream: pair i of its numbers is a function of its seed and of i.
// SplitMix64 makes the bits, Box and Muller's transform the numbers, as the engine does.

const MASK = (1n << 64n) - 1n;
const STRIDE = 0x9e3779b97f4a7c15n;
const MIXERS = [[30n, 0xbf58476d1ce4e5b9n], [27n, 0x94d049bb133111ebn]];

function mixed(bits) {
  for (const [places, factor] of MIXERS) bits = ((bits ^ (bits >> places)) * factor) & MASK;
  return bits ^ (bits >> 31n);
}

// A number between 0 and 1, of 32 bits, rounded as float32 is.
function uniform(bits) {
  return Math.fround(Math.fround(bits) + 0.5) * 2 ** -32;
}

export class Noise {
  constructor(seed) {
    this.origin = mixed(BigInt(seed));
    this.position = 0n; // in pairs
  }

  // The next numbers; of an odd count one more is left out.
  draw(count) {
    const numbers = new Float32Array(count);
    for (let i = 0; i < count; i += 2) {
      this.position += 1n;
      const bits = mixed((this.origin + this.position * STRIDE) & MASK);
      const radius = Math.sqrt(-2 * Math.log(uniform(Number(bits >> 32n))));
      const angle = Math.fround(2 * Math.PI * uniform(Number(bits & 0xffffffffn)));
      numbers[i] = radius * Math.cos(angle);
      if (i + 1 < count) numbers[i + 1] = radius * Math.sin(angle);
    }
    return numbers;
  }
}
