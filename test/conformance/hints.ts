/**
 * Records made by other recorders tell in their name, note or texts what this project's own cases say in members. This is
 * the only place that reads them so.
 */
import { commandOf, type Step, type Transcript } from './transcript.js';

export const GREETING = /^\{\s*"QMP"/;
const CAPABILITIES = '{"execute":"qmp_capabilities"}\n';
const RETURN = '{"return": {}}\r\n';
/** How long a migration to nowhere may take to fail. */
const FAILS_MS = 300;
/** Groups of records that are single commands of one long session. */
const SESSION_GROUPS: ReadonlySet<string | undefined> = new Set(['query', 'query-none', 'args']);

/** What a party does to a listening migration before it goes on, by the record's name. */
const STREAMS: { readonly [name: string]: string } = {
  'incoming-garbage': 'garbage, which is not a migration stream\n'.repeat(100),
  'incoming-eof': '',
};

/** The transcript with everything said in members. */
export function explicit(record: Transcript): Transcript {
  const steps = addSteps(record).map((step, index, all) => hinted(record, step, index, all));
  const greets = GREETING.test(steps.find((step) => step.client === undefined)?.recv ?? '');
  const session =
    record.session ??
    (record.negotiated === undefined && steps.length === 1 && SESSION_GROUPS.has(record.group)
      ? record.group
      : undefined);
  return {
    ...record,
    steps,
    negotiated: !greets && record.negotiated !== false,
    anyOrder: record.anyOrder ?? /order may vary/.test(record.note ?? ''),
    ...(session === undefined ? {} : { session }),
  };
}

function hinted(record: Transcript, step: Step, index: number, all: readonly Step[]): Step {
  // A recorder that reads a greeting up to its last brace.
  if (GREETING.test(step.recv) && step.recv.endsWith('}')) return { ...step, recv: `${step.recv}\r\n` };
  const last = index === all.length - 1;
  if (index > 0 && GREETING.test(step.recv) && all[index - 1]?.client === step.client)
    return { reconnect: true, ...step };
  if (last && record.name.startsWith('halfclose')) return { end: true, ...step };
  if (index === 0 && record.name === 'sigterm') return { signal: 'SIGTERM', ...step };
  if (index === 0 && record.name === 'sigint') return { signal: 'SIGINT', ...step };
  // Such a migration fails by itself, which its maker waited for.
  const before = all[index - 1];
  if (before && commandOf(before.send) === 'migrate' && before.recv === RETURN && !step.waitMs) {
    return { waitMs: FAILS_MS, ...step };
  }
  if (record.name.startsWith('query-dirty-rate-end') && !step.waitMs) return { waitMs: 1200, ...step };
  if (/^(getfd|add-fd)$/.test(commandOf(step.send) ?? '') && step.recv.startsWith('{"return"')) {
    return { passFd: true, ...step };
  }
  const bytes = STREAMS[record.name];
  if (step.send === null && bytes !== undefined) {
    const uri = all.map(({ send }) => /"unix:([^"]*)"/.exec(send ?? '')?.[1]).find((path) => path !== undefined);
    if (uri !== undefined) return { stream: { path: uri, bytes }, ...step };
  }
  return step;
}

/** What an earlier client did, where the record only shows a later one. */
function addSteps({ name, steps }: Transcript): readonly Step[] {
  const client = 'earlier';
  if (name === 'events-not-replayed') {
    return [
      { client, send: CAPABILITIES, recv: RETURN },
      {
        client,
        send: '{"execute":"stop"}\n',
        recv: `{"timestamp": {"seconds": 0, "microseconds": 0}, "event": "STOP"}\r\n${RETURN}`,
        close: true,
      },
      ...steps,
    ];
  }
  if (name === 'close-without-reading-then-reconnect') {
    return [
      { client, send: CAPABILITIES, recv: RETURN },
      { client, send: '{"execute":"query-commands"}\n'.repeat(20), recv: '', hurry: true, close: true },
      ...steps,
    ];
  }
  return steps;
}
