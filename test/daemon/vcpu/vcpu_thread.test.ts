import { readdirSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { loadKernel } from '../../../daemon/boot/load_kernel.js';
import { HOST_CPU } from '../../../daemon/machine/cpu_models.js';
import { idleFirmware } from '../../../daemon/machine/firmware.js';
import { Machine, type MachineListener } from '../../../daemon/machine/machine.js';
import type { EntryRegisters, GuestStop } from '../../../daemon/vcpu/messages.js';
import { MIB, noKvm, openDescriptors } from '../../helpers/kvm.js';

const skip = noKvm();
const GUEST = fileURLToPath(new URL('../../../../guest/vmguest.elf', import.meta.url));

/** A machine with the built-in guest, and what it reports. */
class Bench {
  readonly stops: { vcpu: number; stop: GuestStop }[] = [];
  machine!: Machine;
  text = '';
  #watchers: (() => void)[] = [];

  static async start(t: Test, vcpus = 1): Promise<Bench> {
    const bench = new Bench();
    const listener: MachineListener = {
      guestStop: (vcpu, stop) => {
        bench.stops.push({ vcpu, stop });
        bench.#changed();
      },
      serialActivity: () => bench.#drain(),
      warn: () => undefined,
      rtcChanged: () => undefined,
      watchdogExpired: () => undefined,
      vcpuCrashed: (_vcpu, error) => t.fail(error.message),
    };
    bench.machine = await Machine.create(
      {
        ramBytes: 32 * MIB,
        vcpus,
        cpu: HOST_CPU,
        firmware: idleFirmware(),
        devices: { debugExit: { iobase: 0xf4, iosize: 4 } },
      },
      listener,
    );
    t.teardown(() => bench.machine.dispose());
    return bench;
  }

  async boot(cmdline: string): Promise<void> {
    await this.machine.reset(this.entry(cmdline));
    await this.machine.run(false);
  }

  entry(cmdline: string): EntryRegisters {
    const { regs, sregs } = loadKernel({ kernelPath: GUEST, initrdPath: undefined, cmdline, memory: this.machine.ram });
    return { regs, sregs };
  }

  /** Resolves when `ready` holds; looked at after everything the machine reports. */
  until(ready: () => boolean): Promise<void> {
    if (ready()) return Promise.resolve();
    return new Promise((resolve) => {
      const watcher = () => {
        if (!ready()) return;
        this.#watchers = this.#watchers.filter((w) => w !== watcher);
        resolve();
      };
      this.#watchers.push(watcher);
    });
  }

  /** Numbers of the guest's heartbeats so far. */
  beats(): number[] {
    return [...this.text.matchAll(/^HB (\d+) /gm)].map((match) => Number(match[1]));
  }

  #drain(): void {
    const chunk = new Uint8Array(4096);
    for (let n = this.machine.devices.serial.drainTx(chunk); n > 0; n = this.machine.devices.serial.drainTx(chunk)) {
      this.text += Buffer.from(chunk.subarray(0, n)).toString('latin1');
    }
    this.#changed();
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

/** Milliseconds that parking takes, the worst of `times`, with runs of a few ms between. */
async function worstPark(machine: Machine, times: number): Promise<number> {
  let worst = 0;
  for (let i = 0; i < times; i++) {
    const from = performance.now();
    await machine.park();
    worst = Math.max(worst, performance.now() - from);
    await machine.run(true);
    await new Promise((resolve) => setTimeout(resolve, i % 5));
  }
  return worst;
}

for (const [what, cmdline] of [
  ['dirties memory at CPL 3 flat out', 'fill=8 ws=8 rate=max hb=20'],
  ['is halted', 'fill=1 rate=0 hb=20'],
] as const) {
  t.test(`a guest that ${what} is parked well below 100 ms, each time, and goes on after`, { skip }, async (t) => {
    const bench = await Bench.start(t);
    await bench.boot(cmdline);
    await bench.until(() => bench.beats().length >= 2);
    t.equal(bench.machine.vcpus[0]?.running, true);
    const worst = await worstPark(bench.machine, 20);
    t.ok(worst < 100, `parking took ${worst.toFixed(1)} ms at most`);
    const before = bench.beats().length;
    await bench.until(() => bench.beats().length >= before + 3);
    await bench.machine.park();
    t.equal(bench.machine.vcpus[0]?.running, false);
    const exits = bench.machine.vcpus[0]?.exits as number;
    t.ok(exits > 0);
    await new Promise((resolve) => setTimeout(resolve, 60));
    t.equal(bench.machine.vcpus[0]?.exits, exits, 'a parked guest does nothing');
    const beats = bench.beats();
    t.strictSame(
      beats,
      beats.map((_, i) => (beats[0] as number) + i),
      'no heartbeat is lost or doubled',
    );
    t.strictSame(bench.stops, []);
  });
}

t.test('200 parks and runs at random moments, several at once, are all answered', { skip }, async (t) => {
  const bench = await Bench.start(t, 2);
  await bench.boot('fill=4 ws=4 rate=max hb=10');
  await bench.until(() => bench.beats().length >= 1);
  const [vcpu, second] = bench.machine.vcpus;
  if (!vcpu || !second) throw new Error('two vCPUs were asked for');
  const requests = fc.sample(fc.record({ park: fc.boolean(), wait: fc.nat(3), second: fc.boolean() }), 200);
  let answers = 0;
  for (const { park, wait, second: other } of requests) {
    const request = park ? ({ type: 'park' } as const) : ({ type: 'run', resumed: true } as const);
    const target = other ? second : vcpu;
    const answer = target.request(request).then(() => {
      answers++;
    });
    // Half are awaited, half are still under way when the next comes.
    if (wait > 1) await answer;
    else if (wait === 1) await new Promise((resolve) => setImmediate(resolve));
  }
  await bench.machine.run(true);
  t.equal(answers, 200);
  const before = bench.beats().length;
  await bench.until(() => bench.beats().length > before + 1);
  await bench.machine.park();
  t.equal(vcpu.running || second.running, false);
  t.strictSame(bench.stops, []);
});

t.test('saving, loading and resetting a vCPU that runs is refused; the guest runs on', { skip }, async (t) => {
  const bench = await Bench.start(t);
  await bench.boot('fill=1 hb=20');
  await bench.until(() => bench.beats().length >= 1);
  const vcpu = bench.machine.vcpus[0];
  if (!vcpu) throw new Error('no vCPU');
  await t.rejects(vcpu.request({ type: 'save' }), { message: 'vCPU 0 cannot be saved while it runs' });
  await t.rejects(vcpu.request({ type: 'load', state: {} }), { message: 'vCPU 0 cannot be loaded while it runs' });
  await t.rejects(vcpu.request({ type: 'reset' }), { message: 'vCPU 0 cannot be reset while it runs' });
  const before = bench.beats().length;
  await bench.until(() => bench.beats().length > before);
  await vcpu.request({ type: 'park' });
  await t.rejects(vcpu.request({ type: 'load', state: { mp_state: -1 } }), {
    message: 'vcpu-0.mp_state must be an integer from 0 to 4294967295, and is -1',
  });
  const state = JSON.parse(await vcpu.request({ type: 'save' }));
  await vcpu.request({ type: 'load', state });
  const { lapic: _l, msrs: _m, events: _e, ...again } = JSON.parse(await vcpu.request({ type: 'save' }));
  const { lapic, msrs, events, ...first } = state;
  t.strictSame(again, first, 'a parked one is saved, loaded and saved again alike');
  t.ok(lapic && msrs && events);
  await bench.machine.run(true);
  const after = bench.beats().length;
  await bench.until(() => bench.beats().length > after);
});

t.test('a guest that ends itself parks itself and says why, once', { skip }, async (t) => {
  for (const [command, stop] of [
    ['q', { cause: 'debug-exit', code: 33 }],
    ['t', { cause: 'reset', by: 'triple fault' }],
    ['x', { cause: 'reset', by: 'keyboard controller' }],
  ] as const) {
    const bench = await Bench.start(t);
    await bench.boot('fill=1 hb=1000');
    await bench.until(() => bench.text.includes('FILLED'));
    bench.machine.devices.serial.receive(Buffer.from(command));
    await bench.until(() => bench.stops.length > 0);
    t.match(bench.stops, [{ vcpu: 0, stop }], command);
    t.equal(bench.machine.vcpus[0]?.running, false);
    await bench.machine.park();
    t.equal(bench.stops.length, 1);
    await bench.boot('fill=1 hb=20');
    const before = bench.beats().length;
    await bench.until(() => bench.beats().length > before);
    t.pass('and after a reset it boots again');
    await bench.machine.dispose();
  }
});

t.test('two vCPUs are two threads of the process, named in its task list', { skip }, async (t) => {
  const bench = await Bench.start(t, 2);
  const ids = bench.machine.vcpus.map((vcpu) => vcpu.threadId);
  t.equal(new Set(ids).size, 2);
  const tasks = readdirSync('/proc/self/task').map(Number);
  for (const id of ids) t.ok(tasks.includes(id), `${id} is a thread of this process`);
});

t.test(
  'a machine gives back threads and descriptors, also when disposed of twice or while it runs',
  { skip },
  async (t) => {
    // The first worker of a process leaves descriptors of Node's own behind.
    const first = await Bench.start(t);
    await first.machine.dispose();
    const before = openDescriptors();
    const threads = readdirSync('/proc/self/task').length;
    for (let i = 0; i < 3; i++) {
      const bench = await Bench.start(t, 2);
      await bench.boot('fill=1 ws=1 rate=max');
      await Promise.all([bench.machine.dispose(), bench.machine.dispose()]);
      await t.rejects(bench.machine.vcpus[0]?.request({ type: 'park' }) ?? Promise.resolve(), {
        message: 'the thread of vCPU 0 has ended',
      });
      t.equal(bench.machine.vcpus[0]?.running, false);
    }
    t.strictSame(openDescriptors(), before);
    t.equal(readdirSync('/proc/self/task').length, threads);
  },
);

t.test('more vCPUs than this host runs are refused with both numbers', { skip }, async (t) => {
  const before = openDescriptors();
  const nothing = () => undefined;
  const listener: MachineListener = {
    guestStop: nothing,
    serialActivity: nothing,
    warn: nothing,
    rtcChanged: nothing,
    watchdogExpired: nothing,
    vcpuCrashed: nothing,
  };
  await t.rejects(
    Machine.create({ ramBytes: MIB, vcpus: 100_000, cpu: HOST_CPU, firmware: idleFirmware(), devices: {} }, listener),
    {
      message: /^100000 vCPUs are more than this host's KVM runs \(\d+\)$/,
    },
  );
  t.strictSame(openDescriptors(), before);
});
