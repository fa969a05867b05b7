/**
 * MPLM read literally, one slot at a time over arrays of booleans: the model that the fast policy is compared with.
 */
export interface NaiveSettings {
  firstnondirty: boolean;
  intervaltime: number;
  relaxlivemig: boolean;
  dirtypercents: number;
}

export interface NaiveStep {
  kind: 'send' | 'sync' | 'wait' | 'switchover';
  untilMs?: number;
  /** Pages in the order of their slots. */
  sent: { page: number; dirty: boolean }[];
}

export class NaiveMplm {
  readonly nonDirty: boolean[];
  readonly dirty: boolean[];
  extended = false;
  readonly #settings: NaiveSettings;
  #slot = 0;
  #nonDirtyCursor = 0;
  #dirtyCursor = 0;
  #epoch = 0;
  #epochStartMs = 0;

  constructor(pages: number, settings: NaiveSettings) {
    this.nonDirty = new Array(pages).fill(true);
    this.dirty = new Array(pages).fill(false);
    this.#settings = settings;
  }

  next(nowMs: number, maxPages: number, maxRanges: number): NaiveStep {
    const epochEndMs = this.#epochStartMs + this.#settings.intervaltime * 1000;
    const ended = !this.nonDirty.includes(true);
    if (ended && !this.extended) return { kind: 'switchover', sent: [] };
    if (nowMs >= epochEndMs) return { kind: 'sync', sent: [] };
    if (ended && !this.dirty.includes(true)) return { kind: 'wait', untilMs: epochEndMs, sent: [] };

    const sent: { page: number; dirty: boolean }[] = [];
    const last: Record<string, number> = { true: -2, false: -2 };
    let ranges = 0;
    const send = (page: number, dirty: boolean): boolean => {
      if (last[String(dirty)] !== page - 1) {
        if (ranges === maxRanges) return false;
        ranges++;
      }
      last[String(dirty)] = page;
      sent.push({ page, dirty });
      this.dirty[page] = false;
      this.nonDirty[page] = false;
      return true;
    };

    while (sent.length < maxPages) {
      if (ended) {
        if (!this.dirty.includes(true)) break;
        const page = this.#searchDirty();
        if (!send(page, true)) break;
        this.#dirtyCursor = (page + 1) % this.dirty.length;
        continue;
      }
      if (!this.nonDirty.includes(true)) break;
      if (this.#epoch === 0 && this.#settings.firstnondirty) {
        const page = this.nonDirty.indexOf(true, this.#nonDirtyCursor);
        if (!send(page, false)) break;
        this.#nonDirtyCursor = page + 1;
        continue;
      }
      const dirtySlot = this.#slot >= 100 - this.#settings.dirtypercents;
      if (!(dirtySlot ? this.#useDirtySlot(send) : this.#useNonDirtySlot(send))) break;
      this.#slot = (this.#slot + 1) % 100;
    }
    return { kind: 'send', sent };
  }

  synced(nowMs: number, log: readonly boolean[]): void {
    for (let page = 0; page < log.length; page++) {
      if (!log[page]) continue;
      this.dirty[page] = true;
      this.nonDirty[page] = false;
    }
    this.#epoch++;
    this.#epochStartMs = nowMs;
  }

  #useNonDirtySlot(send: (page: number, dirty: boolean) => boolean): boolean {
    if (this.#settings.relaxlivemig) {
      const page = this.#nonDirtyCursor;
      if (this.nonDirty[page] && !send(page, false)) return false;
      this.#nonDirtyCursor = page + 1;
      return true;
    }
    const page = this.nonDirty.indexOf(true, this.#nonDirtyCursor);
    if (page < 0) return true;
    if (!send(page, false)) return false;
    this.#nonDirtyCursor = page + 1;
    return true;
  }

  #useDirtySlot(send: (page: number, dirty: boolean) => boolean): boolean {
    if (this.#settings.relaxlivemig) {
      const page = this.#dirtyCursor;
      if (this.dirty[page] && !send(page, true)) return false;
      this.#dirtyCursor = (page + 1) % this.dirty.length;
      return true;
    }
    const page = this.#searchDirty();
    if (page < 0) return true;
    if (!send(page, true)) return false;
    this.#dirtyCursor = (page + 1) % this.dirty.length;
    return true;
  }

  #searchDirty(): number {
    const ahead = this.dirty.indexOf(true, this.#dirtyCursor);
    return ahead >= 0 ? ahead : this.dirty.indexOf(true);
  }
}
