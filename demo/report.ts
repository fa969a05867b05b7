/** What the demo says before and after, for a reader who never saw such a migration. */
import { count, mebibytes, seconds } from '../daemon/ctl/units.js';
import type { MigrationInfo, MplmEpoch } from '../schemas/generated/qmp.js';
import { type Outcome, PLAN } from './scenario.js';
import { table } from './table.js';

export function introduction(): string {
  const written = Math.round((PLAN.pagesPerSecond * 4096) / 2 ** 20);
  return [
    `A virtual machine with ${PLAN.ramMib} MiB of memory moves, while it runs, from one vmhostd process to another over TCP. It keeps`,
    `rewriting ${PLAN.hotMib} MiB of its ${PLAN.fillMib} MiB of data at ${count(PLAN.pagesPerSecond)} pages of 4 KiB a second: ${written} MiB/s, more than the ${PLAN.linkMibPerSecond} MiB/s that`,
    'the migration may use. Classic pre-copy, which sends what was written meanwhile again and again until little is left,',
    'would never end. Memory-bounded pre-copy (MPLM) does. It sends memory in epochs and looks after each at what the guest',
    'wrote; as soon as every page was either sent or written, it pauses the guest, sends the pages written last and the state',
    'of the machine, and the guest goes on at the other side. The bar shows the share of pages that were sent or written.',
  ].join('\n');
}

/** The summary of a demo that went well. */
export function report({ info, beats, verifiedPages }: Outcome): string {
  const { ram, mplm } = info as MigrationInfo & Required<Pick<MigrationInfo, 'ram' | 'mplm'>>;
  const pages = ram.total / ram['page-size'];
  const sent = ram.normal + ram.duplicate;
  const bound = Math.ceil((pages * 100) / (100 - mplm.dirtypercents)) + pages;
  const rows: [string, string][] = [
    [
      'guest',
      `heartbeats ${beats.first} to ${beats.last}, none lost or repeated; from ${beats.lastOnSource + 1} on at the destination`,
    ],
    ['memory', `${count(verifiedPages)} pages verified by the guest: each holds what was last written to it`],
    ['total time', seconds(info['total-time'] ?? 0)],
    ['downtime', `${info.downtime} ms, in which the guest stood still:`],
    ['', breakdown(mplm['downtime-breakdown'])],
    [
      'bytes sent',
      `${mebibytes(ram.transferred)}; ${mebibytes(ram['downtime-bytes'])} of them while the guest was paused`,
    ],
    ['pages sent', `${count(ram.normal)} with their data, ${count(ram.duplicate)} as "all zero"`],
    [
      '',
      `${count(sent)} in all; at most ${count(bound)} whatever the guest does (${count(pages)} pages, dirtypercents ${mplm.dirtypercents})`,
    ],
    ['buffers', `at most ${mebibytes(mplm.buffer.peak)} at once; the bound was ${mebibytes(mplm.buffer.bound)}`],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return [
    'The guest now runs on the destination.',
    '',
    ...rows.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`),
    '',
    `The live stage, in epochs of at most ${mplm.intervaltime} s; all columns but the time count pages:`,
    '',
    epochs(mplm.epochs ?? []),
    '',
    '  unwritten: not sent yet, and not written by the guest since the migration began (the non-dirty set); none left ends the stage.',
    '  written: by the guest since then, and to be sent, or sent again (the dirty set); what is left of it is sent in the pause.',
  ].join('\n');
}

/** The steps of a pause in the order they are made; an object's members have none. */
const STEPS: readonly (readonly [member: string, words: string])[] = [
  ['pause', 'pause the vCPUs'],
  ['last-sync', 'last look at what was written'],
  ['pages', 'last pages'],
  ['state', 'state of the machine'],
  ['load', 'load it there'],
  ['resume', 'resume there'],
];

function breakdown(steps: { readonly [member: string]: number } = {}): string {
  const known = STEPS.filter(([member]) => member in steps);
  const others = Object.keys(steps).filter((member) => !known.some(([name]) => name === member));
  return [...known, ...others.map((member) => [member, member] as const)]
    .map(([member, words]) => `${words} ${(steps[member] as number).toFixed(1)}`)
    .join(', ');
}

function epochs(records: readonly MplmEpoch[]): string {
  const head = ['epoch', 'time', 'unwritten sent', 'written sent', 'newly written', 'unwritten left', 'written left'];
  const rows = records.map((epoch) => [
    String(epoch.epoch),
    seconds(epoch['elapsed-ms']),
    ...(['non-dirty-pages-sent', 'dirty-pages-sent', 'new-dirty-pages', 'non-dirty-pages', 'dirty-pages'] as const).map(
      (member) => count(epoch[member]),
    ),
  ]);
  return table(head, rows).replaceAll(/^/gm, '  ');
}
