/** Members of vmhostd's own among QEMU's: by the command whose reply has them. */
export const OWN_MEMBERS = ['mplm'] as const;

const ZERO = '$10';
const NUMBER = '-?\\d+(?:\\.\\d+)?(?:e[+-]\\d+)?';

/** Members whose numbers differ from run to run, wherever they are. */
const VOLATILE = [
  'seconds',
  'microseconds',
  'thread-id',
  'setup-time',
  'downtime',
  'total-time',
  'expected-downtime',
  'start-time',
  'dirty-rate',
  'cpu-throttle-percentage',
].join('|');

/** What `info migrate` and `info status` print about time and memory. */
const HMP_VOLATILE = [
  'total time',
  'expected downtime',
  'downtime',
  'setup',
  'transferred ram',
  'throughput',
  'remaining ram',
  'total ram',
  'duplicate',
  'skipped',
  'normal',
  'normal bytes',
  'dirty sync count',
  'dirty pages rate',
  'multifd bytes',
  'pages-per-second',
  'precopy ram',
  'downtime ram',
  'postcopy ram',
].join('|');

type Rule = readonly [pattern: RegExp, replacement: string | ((text: string) => string)];

const RULES: readonly Rule[] = [
  // The version and its package; spaces differ in pretty mode.
  [/("(?:micro|minor|major)":\s*)\d+/g, ZERO],
  [/("package":\s*)"[^"]*"/g, '$1""'],
  [/("return": ")\d+\.\d+\.\d+[^"\\]*(\\r\\n")/g, '$1VERSION$2'],
  // Counters of a migration's memory, and its total, which counts the firmware in QEMU.
  [/"(?:ram|xbzrle-cache|compression)": \{[^{}]*\}/g, (text) => text.replace(new RegExp(`(: )${NUMBER}`, 'g'), ZERO)],
  [new RegExp(`("name": "[^"]*", "value": )(?:${NUMBER}|\\[[^\\]]*\\])`, 'g'), ZERO],
  [/("port": )"\d+"/g, '$1"@PORT@"'],
  [/(unix:@TMP@\/)[^/",]*(,server=on)/g, '$1mon0$2'],
  [new RegExp(`((?:^|\\\\n|")(?:${HMP_VOLATILE}): )[\\d.]+`, 'gm'), ZERO],
  [/("event": "RTC_CHANGE", "data": \{"offset": )-?\d+/g, ZERO],
];

/** Replaces what differs from run to run. It is applied to what is expected and to what is received alike. */
export function mask(text: string): string {
  let masked = text.replace(new RegExp(`("(?:${VOLATILE})":\\s*)${NUMBER}`, 'g'), ZERO);
  for (const [pattern, replacement] of RULES) masked = masked.replace(pattern, replacement as string);
  return repeatsOnce(masked);
}

/**
 * How many passes a migration makes, and how often a guest that writes its clock all the time is reported, is a matter of
 * speed: passes after the second are left out, and equal RTC_CHANGE events in a row count once.
 */
function repeatsOnce(text: string): string {
  const lines = text.split('\r\n');
  return lines
    .filter(
      (line, i) =>
        !/"MIGRATION_PASS", "data": \{"pass": (?:[3-9]|\d\d+)\}/.test(line) &&
        !(line.includes('"RTC_CHANGE"') && lines[i - 1] === line),
    )
    .join('\r\n');
}

/** Takes vmhostd's own members out of a reply, by name. */
export function withoutOwnMembers(text: string): string {
  return OWN_MEMBERS.reduce(withoutMember, text);
}

function withoutMember(text: string, name: string): string {
  let rest = text;
  for (let start = rest.indexOf(`"${name}": `); start >= 0; start = rest.indexOf(`"${name}": `)) {
    let end = endOfValue(rest, start + name.length + 4);
    // The separator goes with it: the one before, or the one after the first member.
    if (rest.startsWith(', ', start - 2)) start -= 2;
    else if (rest.startsWith(', ', end)) end += 2;
    rest = rest.slice(0, start) + rest.slice(end);
  }
  return rest;
}

/** Where the JSON value that begins at `start` ends. */
function endOfValue(text: string, start: number): number {
  let depth = 0;
  let quoted = false;
  for (let i = start; i < text.length; i++) {
    const char = text[i] as string;
    if (quoted) {
      if (char === '\\') i++;
      else if (char === '"') quoted = false;
      if (!quoted && depth === 0) return i + 1;
    } else if (char === '"') quoted = true;
    else if (char === '{' || char === '[') depth++;
    else if (char === '}' || char === ']') {
      if (depth === 0) return i;
      if (--depth === 0) return i + 1;
    } else if (depth === 0 && char === ',') return i;
  }
  return text.length;
}
