/** A stepped clock is noticed when it is off by this much, in milliseconds. */
const TOLERANCE_MS = 2;

/** Microseconds since the epoch. Finer than Date.now(), and follows the system clock when that is set. */
export function wallClockMicroseconds(): number {
  const coarse = Date.now();
  const fine = performance.timeOrigin + performance.now();
  return Math.floor((Math.abs(fine - coarse) > TOLERANCE_MS ? coarse : fine) * 1000);
}
