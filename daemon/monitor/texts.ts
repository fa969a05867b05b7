/** Refusals that only the human monitor gives, in QEMU's words. */
import { genericError, type QmpError } from '../../protocol/qmp_errors.js';

export const hmpError = {
  /** A word that is none of those allowed. */
  invalidValue: (value: string): QmpError => genericError(`invalid parameter value: ${value}`),
} as const;
