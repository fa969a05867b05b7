/**
 * The layers, by the import graph of the sources: daemon → kvm, protocol, schemas, client; client → protocol, schemas;
 * kvm → schemas; protocol → schemas. FFI stays in kvm's files named unsafe; the process, threads and the log in daemon.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import ts from 'typescript';

/** What each layer may import besides itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  daemon: ['kvm', 'protocol', 'schemas', 'client'],
  client: ['protocol', 'schemas'],
  kvm: ['schemas'],
  protocol: ['schemas'],
  schemas: [],
};

/** Packages that belong to one place. */
const HOMES: readonly { specifier: RegExp; allowed: (path: string) => boolean; where: string }[] = [
  {
    specifier: /^koffi($|\/)/,
    allowed: (path) => /^kvm\/(.*\/)?[^/]*_unsafe\.ts$/.test(path),
    where: 'kvm/*_unsafe.ts',
  },
  { specifier: /^(node:)?worker_threads$/, allowed: (path) => path.startsWith('daemon/'), where: 'daemon/' },
  { specifier: /^(node:)?process$/, allowed: (path) => path.startsWith('daemon/'), where: 'daemon/' },
  { specifier: /^pino($|\/)/, allowed: (path) => path.startsWith('daemon/'), where: 'daemon/' },
];

/** What is wrong with a set of sources, by path from the repository's root: one sentence for each fault. */
function violations(files: ReadonlyMap<string, string>): string[] {
  const faults: string[] = [];
  for (const [path, text] of files) {
    const layer = path.slice(0, path.indexOf('/'));
    const { specifiers, computed, usesProcess } = inspect(path, text);
    for (const specifier of specifiers) {
      for (const home of HOMES)
        if (home.specifier.test(specifier) && !home.allowed(path))
          faults.push(`${path} imports ${specifier}, which only ${home.where} may`);
      if (!specifier.startsWith('.') && !specifier.startsWith('/')) continue;
      const target = normalize(join(dirname(path), specifier));
      const targetLayer = target.split('/')[0]!;
      if (targetLayer !== layer && !MAY_IMPORT[layer]!.includes(targetLayer))
        faults.push(`${path} imports ${target}, which ${layer}/ may not`);
    }
    if (computed) faults.push(`${path} imports a path that is computed, which cannot be checked`);
    if (usesProcess && layer !== 'daemon') faults.push(`${path} uses process, which only daemon/ may`);
  }
  return faults;
}

/** The modules that a source imports in any form, and whether it uses the global `process`. */
function inspect(path: string, text: string): { specifiers: string[]; computed: boolean; usesProcess: boolean } {
  const specifiers: string[] = [];
  let computed = false;
  let usesProcess = false;
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier)
      specifiers.push((node.moduleSpecifier as ts.StringLiteral).text);
    else if (
      ts.isImportTypeNode(node) &&
      ts.isLiteralTypeNode(node.argument) &&
      ts.isStringLiteral(node.argument.literal)
    )
      specifiers.push(node.argument.literal.text);
    else if (ts.isExternalModuleReference(node) && ts.isStringLiteral(node.expression))
      specifiers.push(node.expression.text);
    else if (ts.isCallExpression(node) && isLoader(node.expression)) {
      const argument = node.arguments[0];
      if (argument && ts.isStringLiteralLike(argument)) specifiers.push(argument.text);
      else computed = true;
    } else if (ts.isIdentifier(node) && node.text === 'process' && isGlobalUse(node)) usesProcess = true;
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true));
  return { specifiers, computed, usesProcess };
}

function isLoader(callee: ts.Expression): boolean {
  return callee.kind === ts.SyntaxKind.ImportKeyword || (ts.isIdentifier(callee) && callee.text === 'require');
}

/** `process` as a value, or as `globalThis.process`; not a member, a key or a parameter that happens to be called so. */
function isGlobalUse(node: ts.Identifier): boolean {
  const parent = node.parent;
  if (ts.isPropertyAccessExpression(parent) && parent.name === node)
    return ts.isIdentifier(parent.expression) && /^(globalThis|global)$/.test(parent.expression.text);
  const declares = (parent as Partial<ts.NamedDeclaration>).name === node;
  return !declares && !ts.isTypeReferenceNode(parent) && !ts.isQualifiedName(parent) && !isParameter(node);
}

/** Whether a function around the identifier has a parameter of its name. */
function isParameter(node: ts.Identifier): boolean {
  for (let outer: ts.Node = node.parent; outer; outer = outer.parent)
    if (ts.isFunctionLike(outer) && outer.parameters.some((p) => ts.isIdentifier(p.name) && p.name.text === node.text))
      return true;
  return false;
}

/** The repository's root: the nearest folder above this file with a package.json (the compiled test lies deeper). */
function repositoryRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}

function sources(): Map<string, string> {
  const root = repositoryRoot();
  const files = new Map<string, string>();
  for (const layer of Object.keys(MAY_IMPORT)) {
    if (!existsSync(join(root, layer))) continue;
    for (const entry of readdirSync(join(root, layer), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !/\.[mc]?ts$/.test(entry.name)) continue;
      const path = join(entry.parentPath, entry.name);
      files.set(relative(root, path), readFileSync(path, 'utf8'));
    }
  }
  return files;
}

t.test('no source imports upward, and FFI, process, threads and log stay where they belong', async (t) => {
  const files = sources();
  t.ok(files.size > 10, `${files.size} sources were found`);
  t.same(violations(files), []);
});

t.test('every kind of fault is caught', async (t) => {
  const bad: [path: string, text: string, fault: RegExp][] = [
    [
      'kvm/vm.ts',
      "import { run } from '../daemon/run.js';",
      /kvm\/vm\.ts imports daemon\/run\.js, which kvm\/ may not/,
    ],
    ['kvm/a/b.ts', "import type { Q } from '../../protocol/q.js';", /imports protocol\/q\.js/],
    ['protocol/q.ts', "export * from '../kvm/kvm.js';", /imports kvm\/kvm\.js/],
    ['protocol/q.ts', "type A = import('../client/c.js').A;", /imports client\/c\.js/],
    ['schemas/s.ts', "const p = await import('../protocol/p.js');", /imports protocol\/p\.js/],
    ['client/c.ts', "import '../kvm/kvm.js';", /imports kvm\/kvm\.js/],
    ['daemon/d.ts', "import { harness } from '../test/harness.js';", /imports test\/harness\.js/],
    ['daemon/d.ts', "import x = require('../bench/x.js');", /imports bench\/x\.js/],
    ['kvm/kvm.ts', "import koffi from 'koffi';", /koffi, which only kvm\/\*_unsafe\.ts may/],
    ['daemon/libc_unsafe.ts', "import koffi from 'koffi';", /koffi/],
    ['kvm/k.ts', "import { Worker } from 'node:worker_threads';", /node:worker_threads, which only daemon\/ may/],
    ['client/c.ts', "import { Worker } from 'worker_threads';", /worker_threads/],
    ['protocol/p.ts', "import { pino } from 'pino';", /pino/],
    ['client/c.ts', "import process from 'node:process';", /node:process/],
    ['client/c.ts', 'if (process.env.DEBUG) debug();', /client\/c\.ts uses process/],
    ['kvm/k.ts', 'const p = globalThis.process;', /uses process/],
    ['kvm/k.ts', 'const f = (x: number) => process.kill(x);', /uses process/],
    ['kvm/k.ts', 'const name = `../daemon/x.js`; await import(name);', /computed/],
  ];
  for (const [path, text, fault] of bad) {
    const faults = violations(new Map([[path, text]]));
    t.equal(faults.length, 1, text);
    t.match(faults[0], fault);
  }
});

t.test('what is allowed passes', async (t) => {
  const good: [path: string, text: string][] = [
    ['daemon/a/b.ts', "import { Kvm } from '../../kvm/kvm.js'; import '../../client/c.js'; process.exit(0);"],
    ['daemon/a.ts', "import { Worker } from 'node:worker_threads'; import pino from 'pino';"],
    ['client/c.ts', "import { p } from '../protocol/p.js'; import '../schemas/s.js'; import net from 'node:net';"],
    ['kvm/libc_unsafe.ts', "import koffi from 'koffi'; import '../schemas/s.js'; import './errors.js';"],
    ['protocol/p.ts', "// import '../daemon/x.js'; process.exit()\nconst text = \"import '../kvm/k.js'\";"],
    ['kvm/k.ts', 'export const tgkill = (process: number): number => raw.tgkill(process);'],
    ['protocol/p.ts', 'interface S { process: number } export const f = (s: S) => s.process;'],
  ];
  for (const [path, text] of good) t.same(violations(new Map([[path, text]])), [], text);
});
