/** docs/qmp.md is what schemas/ say. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { COMMANDS, EVENTS, TYPES } from '../../schemas/generated/qmp.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const committed = readFileSync(join(ROOT, 'docs/qmp.md'), 'utf8');

t.test('the reference is up to date; `npm run docs` makes it so', async (t) => {
  const written = join(t.testdir(), 'qmp.md');
  execFileSync(process.execPath, [join(ROOT, 'schemas/docs.mjs'), written]);
  t.equal(committed, readFileSync(written, 'utf8'));
});

t.test('every command, event and type has its section, and every link leads to one', async (t) => {
  const sections = new Set([...committed.matchAll(/^### (.*)$/gm)].map(([, name]) => name));
  const names = [COMMANDS, EVENTS, TYPES].flatMap((set) => Object.keys(set));
  t.same([...sections].sort(), names.sort());
  const anchors = new Set(names.map((name) => name.toLowerCase()));
  for (const [, anchor] of committed.matchAll(/\]\(#([^)]*)\)/g)) t.ok(anchors.has(anchor as string), anchor);
});
