import { PAGE_SIZE } from '../../kvm/guest_ram.js';
import type { Hello } from '../../protocol/migration_stream.js';
import type { Machine } from '../machine/machine.js';

/** What a peer must have alike. */
export function machineDescription(machine: Machine): Hello['machine'] {
  return {
    vcpus: machine.vcpus.length,
    ramBytes: machine.ram.ramBytes,
    pageSize: PAGE_SIZE,
    firmware: machine.options.firmware.digest,
    devices: machine.devices.versions(),
  };
}
