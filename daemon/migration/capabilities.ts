/** Migration capabilities: those implemented are listed and switched; QEMU 7.2's others are known by name and refused. */
import { genericError, type QmpError, texts } from '../../protocol/qmp_errors.js';
import type { MigrationCapability, MigrationCapabilityStatus } from '../../schemas/generated/qmp.js';

/** In the order of QEMU's enum, which is the order it lists them in. */
const IMPLEMENTED = [
  'auto-converge',
  'events',
  'return-path',
  'pause-before-switchover',
  'late-block-activate',
  'validate-uuid',
] as const satisfies readonly MigrationCapability[];
export type Capability = (typeof IMPLEMENTED)[number];

/** What QEMU says where it, or its host, lacks one (migrate_caps_check); to the rest it has no other words than to an unknown name. */
const QEMU_WORDS: { readonly [name in MigrationCapability]?: string } = {
  'postcopy-ram': 'Postcopy is not supported',
  'background-snapshot': 'Background-snapshot is not supported by host kernel',
  'zero-copy-send': 'Zero copy only available for non-compressed non-TLS multifd migration',
  'postcopy-preempt': 'Postcopy preempt requires postcopy-ram',
};

export class Capabilities {
  readonly #on = new Set<MigrationCapability>();

  has(capability: Capability): boolean {
    return this.#on.has(capability);
  }

  list(): MigrationCapabilityStatus[] {
    return IMPLEMENTED.map((capability) => ({ capability, state: this.#on.has(capability) }));
  }

  /** Switches several, or none. Switching off what is not implemented is no change. @throws QmpError */
  set(changes: readonly MigrationCapabilityStatus[]): void {
    for (const { capability, state } of changes) {
      if (state && !(IMPLEMENTED as readonly MigrationCapability[]).includes(capability)) throw refusal(capability);
    }
    for (const { capability, state } of changes) {
      if (state) this.#on.add(capability);
      else this.#on.delete(capability);
    }
  }
}

function refusal(capability: MigrationCapability): QmpError {
  return genericError(QEMU_WORDS[capability] ?? texts.notAccepted('capability', capability));
}
