import type { Transcript } from '../transcript.js';
import { argumentCases, type SchemaInfo } from './arguments.js';
import { byteCases } from './bytes.js';
import { guestCases } from './guest_events.js';
import { lifecycleCases } from './lifecycle.js';
import { migrationCases } from './migration.js';
import { parameterCases } from './parameters.js';
import { queryCases } from './queries.js';

/** What is sent to QEMU for each generated file of transcripts, by QEMU's own schema; the recorder fills in what is received. */
export const CASES: { readonly [file: string]: (schema: readonly SchemaInfo[]) => Transcript[] } = {
  arguments: argumentCases,
  bytes: byteCases,
  'guest-events': guestCases,
  lifecycle: lifecycleCases,
  migration: migrationCases,
  parameters: parameterCases,
  queries: queryCases,
};
