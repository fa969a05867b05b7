import type { Transcript } from '../transcript.js';

/** What is sent to QEMU for each generated file of transcripts; the recorder fills in what is received. */
export const CASES: { readonly [file: string]: () => Transcript[] } = {};
