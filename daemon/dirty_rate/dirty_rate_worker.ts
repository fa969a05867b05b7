/** The thread that measures how fast a guest dirties its memory; it ends with the measurement. */
import { parentPort, workerData } from 'node:worker_threads';
import { GuestRam, PAGE_SIZE } from '../../kvm/guest_ram.js';
import { Vm } from '../../kvm/vm.js';
import { DirtyTracker } from '../migration/dirty_tracker.js';
import type { DirtyRateData, Measured } from './messages.js';
import { PageSamples } from './page_samples.js';

const data = workerData as DirtyRateData;
const stop = new Int32Array(data.stop);
const ram = GuestRam.attach(data.ram);

/** Waits until the time is over. @returns milliseconds since `started`; undefined: main wants no result any more */
function wait(started: number): number | undefined {
  Atomics.wait(stop, 0, 0, Math.max(0, started + data.calcTimeMs - performance.now()));
  if (Atomics.load(stop, 0) !== 0) return undefined;
  return Math.max(data.calcTimeMs, Math.round(performance.now() - started));
}

/** By pages that have changed. */
function sample(): Measured | undefined {
  const started = performance.now();
  const samples = new PageSamples(ram, data.samplePages);
  const elapsedMs = wait(started);
  return elapsedMs === undefined ? undefined : { rate: samples.rate(elapsedMs), elapsedMs };
}

/** By KVM's log of dirty pages: each counts once, however often it was written. */
function log(): Measured | undefined {
  using tracker = new DirtyTracker(Vm.attach(data.vmFd), ram, data.dirtyLogInitiallySet);
  const elapsedMs = wait(performance.now());
  if (elapsedMs === undefined) return undefined;
  const mib = Math.floor((tracker.sync().count() * PAGE_SIZE) / 2 ** 20);
  return { rate: Math.floor((mib * 1000) / elapsedMs), elapsedMs };
}

const measured = data.mode === 'dirty-bitmap' ? log() : sample();
if (measured) parentPort?.postMessage(measured);
