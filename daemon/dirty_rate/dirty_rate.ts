/** QMP `calc-dirty-rate` and `query-dirty-rate`. Order of checks and texts: QEMU 7.2's migration/dirtyrate.c. */
import { Worker } from 'node:worker_threads';
import { genericError } from '../../protocol/qmp_errors.js';
import type { CommandArguments, DirtyRateInfo } from '../../schemas/generated/qmp.js';
import type { DaemonLog } from '../log.js';
import type { Machine } from '../machine/machine.js';
import type { DirtyRateData, Measured } from './messages.js';

const CALC_TIME_SECONDS = [1n, 60n] as const;
/** A GiB. */
const SAMPLE_PAGES = [128n, 16384n] as const;
const DEFAULT_SAMPLE_PAGES = 512n;

export interface DirtyRateOptions {
  /** Undefined for `-machine none`. */
  machine: Machine | undefined;
  log: DaemonLog;
  /** Whether a migration runs, which needs the log of dirty pages for itself. */
  migrating: () => boolean;
}

/** A measurement under way. */
interface Measurement {
  readonly mode: DirtyRateInfo['mode'];
  readonly ended: Promise<void>;
  stop(): void;
}

export class DirtyRate {
  readonly #options: DirtyRateOptions;
  #info: DirtyRateInfo = {
    status: 'unstarted',
    'start-time': 0,
    'calc-time': 0,
    'sample-pages': 0,
    mode: 'page-sampling',
  };
  #measurement: Measurement | undefined;

  constructor(options: DirtyRateOptions) {
    this.#options = options;
  }

  query(): DirtyRateInfo {
    return this.#info;
  }

  /** Begins to measure. @throws QmpError in QEMU's words */
  calc(args: CommandArguments<'calc-dirty-rate'>): void {
    const { 'calc-time': calcTime, 'sample-pages': samples = DEFAULT_SAMPLE_PAGES, mode = 'page-sampling' } = args;
    if (this.#measurement) throw genericError('the dirty rate is already being measured.');
    checkRange('calc-time', calcTime, CALC_TIME_SECONDS);
    if (args['sample-pages'] !== undefined && mode === 'dirty-ring') {
      throw genericError('either sample-pages or dirty-ring can be specified.');
    }
    checkRange('sample-pages', samples, SAMPLE_PAGES);
    if (mode === 'dirty-ring') throw genericError('mode dirty-ring is not enabled, use other method instead.');
    if (mode === 'dirty-bitmap' && this.#options.migrating()) {
      throw genericError('mode dirty-bitmap needs the log of dirty pages, which the running migration uses.');
    }
    this.#info = {
      status: 'measuring',
      'start-time': Number(process.hrtime.bigint() / 1_000_000_000n),
      'calc-time': Number(calcTime),
      'sample-pages': Number(samples),
      mode,
    };
    const { machine } = this.#options;
    const calcTimeMs = Number(calcTime) * 1000;
    this.#measurement = machine
      ? this.#measure(machine, { mode, calcTimeMs, samplePages: Number(samples) })
      : this.#measureNothing(mode, calcTimeMs);
  }

  /** A migration begins, and needs the log of dirty pages: a measurement that uses it ends without a result. */
  async releaseLog(): Promise<void> {
    if (this.#measurement?.mode === 'dirty-bitmap') await this.close();
  }

  /** Ends what is under way, without a result. */
  async close(): Promise<void> {
    this.#measurement?.stop();
    await this.#measurement?.ended;
  }

  #measure(machine: Machine, what: Pick<DirtyRateData, 'mode' | 'calcTimeMs' | 'samplePages'>): Measurement {
    const stop = new Int32Array(new SharedArrayBuffer(4));
    const workerData: DirtyRateData = {
      ...what,
      vmFd: machine.vm.fd,
      ram: machine.ram.handle,
      dirtyLogInitiallySet: machine.dirtyLogInitiallySet,
      stop: stop.buffer,
    };
    const worker = new Worker(new URL('./dirty_rate_worker.js', import.meta.url), { workerData, name: 'dirty-rate' });
    let measured: Measured | undefined;
    worker.once('message', (message: Measured) => {
      measured = message;
    });
    worker.once('error', (error: Error) => {
      this.#options.log.error({ err: error }, `the dirty rate could not be measured: ${error.message}`);
    });
    const ended = new Promise<void>((resolve) => {
      worker.once('exit', () => {
        this.#end(measured);
        resolve();
      });
    });
    return {
      mode: what.mode,
      ended,
      stop: () => {
        Atomics.store(stop, 0, 1);
        Atomics.notify(stop, 0);
      },
    };
  }

  /** Of a machine without memory, in the same time. */
  #measureNothing(mode: DirtyRateInfo['mode'], elapsedMs: number): Measurement {
    const rate = mode === 'dirty-bitmap' ? 0 : -1;
    let stop: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => {
      const end = (measured?: Measured) => {
        this.#end(measured);
        resolve();
      };
      const timer = setTimeout(() => end({ rate, elapsedMs }), elapsedMs);
      stop = () => {
        clearTimeout(timer);
        end();
      };
    });
    return { mode, ended, stop };
  }

  #end(measured: Measured | undefined): void {
    this.#measurement = undefined;
    if (!measured) {
      this.#info = { ...this.#info, status: 'unstarted' };
      return;
    }
    const sampled = this.#info.mode === 'page-sampling';
    this.#info = {
      ...this.#info,
      status: 'measured',
      'dirty-rate': measured.rate,
      'calc-time': Math.floor(measured.elapsedMs / 1000),
      ...(sampled ? {} : { 'sample-pages': 0 }),
    };
  }
}

function checkRange(name: string, value: bigint, [min, max]: readonly [bigint, bigint]): void {
  if (value < min || value > max) throw genericError(`${name} is out of range[${min}, ${max}].`);
}
