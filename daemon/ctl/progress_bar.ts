/** A migration's progress from `query-migrate`: one line rewritten on a terminal, a line a second elsewhere. */
import type { MigrationInfo } from '../../client/qmp_client.js';
import { count, mebibytes, seconds } from './units.js';

/** Of the bar: with it the whole line fits a terminal of 80 columns. */
const WIDTH = 16;
const PLAIN_INTERVAL_MS = 1000;

/** Where the text goes: `process.stdout`, or what a test has in its place. */
export interface Output {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** An answer of a migration that has begun. */
type Shown = MigrationInfo & Required<Pick<MigrationInfo, 'ram'>>;

function shown(info: MigrationInfo): info is Shown {
  return info.ram !== undefined;
}

const ENDS: readonly (string | undefined)[] = ['completed', 'failed', 'cancelled'];

export class ProgressBar {
  readonly #out: Output;
  #open = false;
  #lastPlainMs = Number.NEGATIVE_INFINITY;
  #lastBytes = 0;
  #lastTimeMs = 0;
  #rate = 0;

  constructor(out: Output) {
    this.#out = out;
  }

  /** Shows one answer of `query-migrate`. @param nowMs of any steady clock */
  show(info: MigrationInfo, nowMs: number): void {
    if (!shown(info)) return;
    this.#measure(info.ram.transferred, info['total-time'] ?? 0);
    const text = this.#line(info);
    if (this.#out.isTTY) {
      // Carriage return, the line, and erase what an earlier, longer one left behind it. A line that wraps cannot be rewritten.
      this.#out.write(`\r${text.slice(0, (this.#out.columns ?? 80) - 1)}\x1b[K`);
      this.#open = true;
    } else if (nowMs - this.#lastPlainMs >= PLAIN_INTERVAL_MS || ENDS.includes(info.status)) {
      this.#lastPlainMs = nowMs;
      this.#out.write(`${text}\n`);
    }
  }

  /** Ends the line, so that what follows begins on its own. */
  end(): void {
    if (this.#open) this.#out.write('\n');
    this.#open = false;
  }

  #measure(bytes: number, timeMs: number): void {
    if (timeMs <= this.#lastTimeMs) return;
    const rate = ((bytes - this.#lastBytes) * 1000) / (timeMs - this.#lastTimeMs);
    this.#rate = this.#lastTimeMs === 0 ? rate : 0.7 * this.#rate + 0.3 * rate;
    this.#lastBytes = bytes;
    this.#lastTimeMs = timeMs;
  }

  #line(info: Shown): string {
    const { status, ram, mplm } = info;
    const done = status === 'completed';
    const share = done ? 1 : shareDone(info);
    const bar = '#'.repeat(Math.floor(share * WIDTH)).padEnd(WIDTH, '.');
    const percent = String(Math.floor(share * 100)).padStart(3);
    const time = seconds(info['total-time'] ?? 0);
    const rate = ENDS.includes(status) ? '' : `, ${mebibytes(this.#rate)}/s`;
    const policy = mplm
      ? `epoch ${mplm.epoch}: ${count(mplm['dirty-pages'])} dirty`
      : `pass ${ram['dirty-sync-count']}`;
    const stage = done ? 'done' : status === 'active' ? policy : status;
    return `  [${bar}] ${percent} %  ${time}  ${mebibytes(ram.transferred)}${rate}  ${stage}`;
  }
}

/**
 * How far a migration is, from 0 to 1. With MPLM the share of pages that left the non-dirty set: it only grows, and at 1 the live stage ends.
 * Elsewhere the share of memory that is not waiting to be sent, which shrinks when the guest writes.
 */
function shareDone({ ram, mplm }: Shown): number {
  if (ram.total === 0) return 0;
  const waiting = mplm ? mplm['non-dirty-pages'] * ram['page-size'] : ram.remaining;
  return Math.max(0, 1 - waiting / ram.total);
}
