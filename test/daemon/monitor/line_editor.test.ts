/** Echo and editing of a typed line. The bytes were recorded from QEMU 7.2.22's monitor on a UNIX socket. */
import t from 'tap';
import { type EditorRequest, LineEditor, LineHistory } from '../../../daemon/monitor/line_editor.js';

const L = '\x1b[D';
const K = '\x1b[K';

/** An editor, and what it showed and which lines it gave for what was typed. */
function typist(history = new LineHistory()) {
  let shown = '';
  const requests: EditorRequest[] = [];
  const editor = new LineEditor('(qemu) ', history, (text) => {
    shown += text;
  });
  return {
    editor,
    requests,
    /** What typing this shows. */
    type(keys: string): string {
      shown = '';
      for (const byte of Buffer.from(keys, 'latin1')) {
        const request = editor.feed(byte);
        if (request) requests.push(request);
        if (request?.kind === 'line') editor.showPrompt();
      }
      return shown;
    },
  };
}

t.test('each character shows the line again from its start', async (t) => {
  const { type, requests } = typist();
  t.equal(type('abc'), `a${K}${L}ab${K}${L}${L}abc${K}`);
  t.equal(type('\x7f\x7f'), `${L}${L}${L}ab${K}${L}${L}a${K}`);
  t.equal(type('\x08'), `${L}${K}`);
  t.equal(type('\x15\x03\x00\x0b\x0e\x10'), '', 'other control characters do nothing');
  t.equal(type('\xc3\xa9\n'), `\xc3${K}${L}\xc3\xa9${K}\n(qemu) `, 'bytes are taken as they are');
  t.strictSame(requests, [{ kind: 'line', line: '\xc3\xa9' }]);
});

t.test('the cursor moves, and characters go in and out where it is', async (t) => {
  const { type, requests } = typist();
  t.equal(type('ab\x01x\x05y\n'), `a${K}${L}ab${K}${L}${L}xab${K}${L}${L}\x1b[C\x1b[C${L}${L}${L}xaby${K}\n(qemu) `);
  t.equal(
    type('\x1bOH\x1bOFab\x1b[1~\x1b[3~\x1b[4~\x1bxZ\n'),
    `a${K}${L}ab${K}${L}${L}b${K}${L}\x1b[C${L}bZ${K}\n(qemu) `,
  );
  t.equal(
    type('ab c\x17\x17'),
    `a${K}${L}ab${K}${L}${L}ab ${K}${L.repeat(3)}ab c${K}${L.repeat(4)}ab ${K}${L.repeat(3)}${K}`,
  );
  t.equal(type('a\x04\x1b[D\x04'), `a${K}${L}${K}`);
  t.strictSame(
    requests.map((request) => request.kind === 'line' && request.line),
    ['xaby', 'bZ'],
  );
});

t.test('arrows recall lines, each of which the history has once', async (t) => {
  const history = new LineHistory();
  const { type } = typist(history);
  type('one\ntwo\none\n\n');
  t.strictSame(history.lines, ['two', 'one']);
  t.equal(type('\x1b[A'), `one${K}`);
  t.equal(type('\x1b[A'), `${L.repeat(3)}two${K}`);
  t.equal(type('\x1b[A'), '');
  t.equal(type('\x1b[B\x1b[B\x1b[B'), `${L.repeat(3)}one${K}${L.repeat(3)}${K}`);
  t.equal(type('x\x0c'), `x${K}\x1b[2J\x1b[1;1H(qemu) x${K}`);
  for (let i = 0; i < 100; i++) history.add(String(i));
  t.equal(history.lines.length, 64);
  t.equal(history.lines[63], '99');
});

t.test('completion inserts what is certain and lists the rest', async (t) => {
  const { type, editor, requests } = typist();
  let listed = '';
  const completing = new LineEditor('(qemu) ', new LineHistory(), (text) => {
    listed += text;
  });
  type('in\t');
  t.strictSame(requests, [{ kind: 'complete' }]);
  t.equal(editor.beforeCursor, 'in');
  editor.complete({ words: ['info'], typed: 2 });
  t.equal(editor.beforeCursor, 'info ');
  editor.complete({ words: [], typed: 0 });
  t.equal(editor.beforeCursor, 'info ');
  for (const byte of Buffer.from('info st')) completing.feed(byte);
  listed = '';
  completing.complete({ words: ['stats', 'status'], typed: 2 });
  t.equal(listed, `\nstats     status    \n(qemu) info stat${K}`);
});

t.test('a line ends at 4095 bytes, and echoing a long one costs no more than its length', async (t) => {
  const { type, requests } = typist();
  const echo = type(`${'a'.repeat(6000)}\n`);
  t.equal((requests[0] as { line: string }).line, 'a'.repeat(4095));
  t.ok(echo.length < 300_000, `${echo.length} characters`);
  const lone = type(`${'b'.repeat(300)}c`);
  t.equal(lone.at(-1), 'c');
});
