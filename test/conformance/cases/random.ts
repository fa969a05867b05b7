/** Numbers that look random and are the same every time (mulberry32). */
export function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), 1 | state);
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
    return ((z ^ (z >>> 14)) >>> 0) % below;
  };
}

/** One of some. */
export function pick<T>(next: (below: number) => number, from: readonly T[]): T {
  return from[next(from.length)] as T;
}
