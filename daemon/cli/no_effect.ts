/**
 * Words of QEMU's command line that are accepted and change nothing here, each with the reason. The usage text prints them. A value that is not
 * listed is refused: a script that asks for what vmhostd does not do learns of it.
 */

interface NoEffectKey {
  /** The values that mean nothing; all, if absent. */
  readonly values?: readonly string[];
  readonly why: string;
}

export interface NoEffect {
  /** Why, for an option that takes no argument. */
  readonly why?: string;
  /** The key of a first word without one. */
  readonly implied?: string;
  readonly keys?: Readonly<Record<string, NoEffectKey>>;
}

const OFF = ['off', 'no', 'false'];
const absent = (what: string): NoEffectKey => ({ values: OFF, why: `there is no ${what}` });
const none = (what: string, implied: string): NoEffect => ({
  implied,
  keys: { [implied]: { values: ['none'], why: `there is no ${what}` } },
});
const SANDBOX = 'vmhostd installs no seccomp filter: confine the process from outside';

export const NO_EFFECT: Readonly<Record<string, NoEffect>> = {
  '-enable-kvm': { why: 'KVM is always used' },
  '-nographic': { why: 'there is no display, and the serial port goes where -serial says' },
  '-nodefaults': { why: 'there are no default devices' },
  '-no-user-config': { why: 'no configuration file is read' },
  '-no-acpi': { why: 'there are no ACPI tables' },
  '-no-hpet': { why: 'there is no HPET' },
  '-no-fd-bootchk': { why: 'there is no floppy disk' },
  '-only-migratable': { why: 'every device can be migrated' },
  '-display': none('display', 'type'),
  '-vga': none('display', 'type'),
  '-net': none('network', 'type'),
  '-nic': none('network', 'type'),
  '-parallel': none('parallel port', 'chardev'),
  '-machine': {
    keys: {
      usb: absent('USB'),
      acpi: absent('ACPI table'),
      hpet: absent('HPET'),
      vmport: { values: [...OFF, 'auto'], why: 'there is no VMware port' },
      smm: { values: [...OFF, 'auto'], why: 'there is no firmware that uses SMM' },
      graphics: absent('display'),
      nvdimm: absent('NVDIMM'),
      'dump-guest-core': { values: OFF, why: "guest memory is never part of this process's core dump" },
      'mem-merge': { values: OFF, why: 'guest memory is shared memory, which the kernel does not merge' },
      'kernel-irqchip': { values: ['on'], why: "the kernel's interrupt controllers are always used" },
    },
  },
  '-accel': {
    keys: {
      'kernel-irqchip': { values: ['on'], why: "the kernel's interrupt controllers are always used" },
      thread: { values: ['multi'], why: 'each vCPU has a thread of its own' },
    },
  },
  '-overcommit': {
    keys: {
      'mem-lock': { values: OFF, why: 'guest memory is not locked' },
      'cpu-pm': { values: OFF, why: "a vCPU's idling is the host's time" },
    },
  },
  '-rtc': {
    implied: 'base',
    keys: {
      base: { values: ['utc'], why: 'the clock shows UTC' },
      clock: { values: ['host'], why: 'the clock follows that of the host' },
      driftfix: { values: ['none'], why: 'the periodic timer makes no up for lost ticks' },
    },
  },
  '-boot': {
    implied: 'order',
    keys: {
      strict: { why: 'there are no boot devices: what is booted is what -kernel or -bios names' },
      menu: { values: OFF, why: 'there is no boot menu' },
    },
  },
  '-audiodev': {
    implied: 'driver',
    keys: {
      id: { why: 'there is no sound device that would name it' },
      driver: { values: ['none'], why: 'there is no sound device' },
    },
  },
  '-sandbox': {
    implied: 'enable',
    keys: {
      enable: { why: SANDBOX },
      obsolete: { why: SANDBOX },
      elevateprivileges: { why: SANDBOX },
      spawn: { why: SANDBOX },
      resourcecontrol: { why: SANDBOX },
    },
  },
};

/** The table as words and reasons, for texts. */
export function noEffectWords(): { words: string; why: string }[] {
  return Object.entries(NO_EFFECT).flatMap(([option, { why, implied, keys = {} }]) => [
    ...(why === undefined ? [] : [{ words: option, why }]),
    ...Object.entries(keys).map(([key, { values, why }]) => ({
      words: `${option} ${key === implied ? '' : `${key}=`}${values?.join('|') ?? (key === implied ? key.toUpperCase() : '…')}`,
      why,
    })),
  ]);
}
