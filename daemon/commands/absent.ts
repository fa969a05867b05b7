/**
 * Commands about what vmhostd has not: they answer truthfully that there is none, as QEMU does of a machine without it. Those that
 * would do something with it, and those whose presence tells clients that it can be had, are not offered.
 */
import { genericError, QmpError } from '../../protocol/qmp_errors.js';
import type { CommandHandlers } from '../qmp/server.js';
import type { CommandTargets } from './targets.js';

const none = (): [] => [];

/** A command that is always refused, in QEMU's words. */
function refused(text: string): () => never {
  return () => {
    throw genericError(text);
  };
}

function noBalloon(): never {
  throw new QmpError('DeviceNotActive', 'No balloon device has been activated');
}

export function absentCommands({ machine }: Pick<CommandTargets, 'machine'>): CommandHandlers {
  return {
    'query-iothreads': none,
    'query-block': none,
    'query-named-block-nodes': none,
    'query-blockstats': none,
    'query-jobs': none,
    'query-block-jobs': none,
    'query-block-exports': none,
    'query-pci': none,
    'query-rx-filter': ({ name }) => (name === undefined ? [] : refused(`invalid net client name: ${name}`)()),
    'query-tpm': none,
    'query-tpm-models': none,
    'query-tpm-types': none,
    'query-mice': none,
    'query-memory-devices': none,
    'query-pr-managers': none,
    'query-acpi-ospm-status': machine ? none : refused('command is not supported, missing ACPI device'),
    'query-vm-generation-id': refused('VM Generation ID device not found'),
    'query-balloon': noBalloon,
    balloon: noBalloon,
    'query-display-options': () => ({ type: 'none' }),
    'query-colo-status': () => ({ mode: 'none', 'last-mode': 'none', reason: 'none' }),
    'query-replay': () => ({ mode: 'none', icount: 0 }),
    'query-sgx': refused(
      machine ? 'No EPC regions defined, SGX not available' : 'SGX is only supported on PC machines',
    ),
    'query-sgx-capabilities': refused('SGX is not enabled in KVM'),
    'query-sev': () => ({
      enabled: false,
      'api-major': 0,
      'api-minor': 0,
      'build-id': 0,
      policy: 0,
      state: 'uninit',
      handle: 0,
    }),
    'query-sev-capabilities': refused(machine ? 'SEV is not enabled in KVM' : 'KVM not enabled'),
    'x-query-jit': refused('JIT information is only available with accel=tcg'),
    'x-query-opcount': refused('Opcode count information is only available with accel=tcg'),
    'x-query-profile': refused('Internal profiler not compiled'),
    'x-query-rdma': () => ({ 'human-readable-text': '' }),
    'x-query-numa': () => ({ 'human-readable-text': '0 nodes\n' }),
    'x-query-usb': refused('USB support not enabled'),
    'x-query-virtio': none,
  };
}
