#!/usr/bin/env node
// Writes the reference of QMP, docs/qmp.md, from the JSON Schemas beside this file (npm run docs). Another file may be named.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadSchemas, refName } from './load.mjs';

const INTRODUCTION = `# QMP reference

<!-- Generated from schemas/ by 'npm run docs'. Do not edit. -->

Commands and events of vmhostd's control socket. They are those of QEMU 7.2 where it has them: names, members, texts and order. What differs is said
with each. The same is told to clients by \`query-qmp-schema\`.

**Types.** Integers are exact to 64 bits. \`int\` is a signed 64-bit integer, \`int8\` … \`uint64\` have the width they say, \`size\` is a \`uint64\` of bytes; of the
unsigned kinds a negative number is taken modulo 2^64. A number with a fraction or an exponent is never an integer. \`any\` is any JSON value. Members marked *optional* may
be left out.

**Errors.** Each is \`{"error": {"class": CLASS, "desc": TEXT}}\`. Besides those listed with the commands (class GenericError unless said):

| what | text |
| --- | --- |
| no such command (class CommandNotFound) | The command X has not been found |
| a command before \`qmp_capabilities\` (class CommandNotFound) | Expecting capabilities negotiation with 'qmp_capabilities' |
| a member that must be there | Parameter 'a.b[0].c' is missing |
| a member that there is not | Parameter 'a.b' is unexpected |
| a value of another type | Invalid parameter type for 'a.b', expected: string |
| a value that an enum does not have | Parameter 'b' does not accept value 'x' |
| an unsigned integer of another type, or out of its kind's range | Parameter 'a' expects uint64 |
| an integer out of its range | Parameter 'a' expects a value between 1 and 99 |
| \`exec-oob\` of a command that is not marked so | The command X does not support OOB |

They are found in this order: members in the order below, each missing or wrong; then unexpected ones; then ranges.
`;

/** The text of docs/qmp.md. `qemu` lists the names of QEMU 7.2's commands and events. */
function render({ commands, events, types }, qemu) {
  const isEvent = (name) => name === name.toUpperCase();
  const absent = qemu.filter((name) => !isEvent(name) && !Object.hasOwn(commands, name)).sort();
  const parts = [INTRODUCTION, '## Commands\n'];
  for (const name of Object.keys(commands).sort()) parts.push(command(name, commands[name], qemu));
  parts.push('## Events\n');
  for (const name of Object.keys(events).sort()) parts.push(event(name, events[name], qemu));
  parts.push('## Types\n');
  for (const name of Object.keys(types).sort()) parts.push(type(name, types[name]));
  parts.push(
    '## Not offered\n',
    `Commands of QEMU 7.2 that vmhostd answers with CommandNotFound:\n\n${absent.map((name) => `- \`${name}\``).join('\n')}\n`,
  );
  return parts.join('\n');
}

function command(name, schema, qemu) {
  const parts = [
    `### ${name}\n`,
    `${schema.description}${schema['x-allow-oob'] ? ' May be executed out of band.' : ''}\n`,
  ];
  parts.push(...notes(schema), ...difference(name, schema, qemu));
  parts.push(...members('Arguments', schema.arguments));
  if (schema.returns) parts.push(`Returns: ${kind(schema.returns)}\n`, ...members('Members', inner(schema.returns)));
  if (schema.errors) {
    const rows = schema.errors.map((error) => `| ${error.class} | ${cell(error.description)} |`);
    parts.push(`| error | when |\n| --- | --- |\n${rows.join('\n')}\n`);
  }
  return parts.join('\n');
}

function event(name, schema, qemu) {
  const parts = [`### ${name}\n`, `${schema.description}\n`, ...notes(schema), ...difference(name, schema, qemu)];
  return [...parts, ...(schema.data ? members('Data', schema.data) : [])].join('\n');
}

function type(name, schema) {
  const parts = [`### ${name}\n`, `${schema.description}\n`, ...notes(schema)];
  if (schema['x-differs']) parts.push(`Differs from QEMU: ${schema['x-differs']}\n`);
  if (schema.oneOf) {
    const rows = schema.oneOf.map((value) => `| \`${value.const}\` | ${remarks(value)} |`);
    parts.push(`| value | |\n| --- | --- |\n${rows.join('\n')}\n`);
  } else if (schema.anyOf) {
    parts.push(`${schema.anyOf.map((branch) => `- ${kind(branch)}: ${branch.description}`).join('\n')}\n`);
  } else if (schema.type === 'object') {
    parts.push(...members('Member', schema));
  } else {
    parts.push(`Is: ${kind(schema)}\n`);
  }
  return parts.join('\n');
}

/** The table of an object's members, if it has any, and what a flat union has more. */
function members(heading, node) {
  const parts = [];
  const properties = Object.entries(node?.properties ?? {});
  if (properties.length) {
    const rows = properties.map(([name, member]) => {
      const optional = node.required?.includes(name) ? '' : ', *optional*';
      const otherwise = member.default === undefined ? '' : `, default \`${JSON.stringify(member.default)}\``;
      return `| \`${name}\` | ${kind(member)}${optional}${otherwise} | ${remarks(member)} |`;
    });
    parts.push(`| ${heading} | type | |\n| --- | --- | --- |\n${rows.join('\n')}\n`);
  }
  const variants = Object.entries(node?.['x-variants'] ?? {});
  if (variants.length) {
    const rows = variants.map(([value, { $ref }]) => `- \`${value}\`: those of ${link(refName($ref))}`);
    parts.push(`Further members, by \`${node['x-discriminator']}\`:\n\n${rows.join('\n')}\n`);
  }
  return parts;
}

/** An object that has no name of its own, and so must be shown where it is. */
const inner = (node) => (node.type === 'array' ? inner(node.items) : node);

const link = (name) => `[${name}](#${name.toLowerCase()})`;

/** A member's type in words. */
function kind(node) {
  if (node.$ref) return link(refName(node.$ref));
  if (node['x-qapi'] === 'any') return 'any';
  if (node.type === 'array') return `list of ${kind(node.items)}`;
  if (node.type !== 'integer') return node.type;
  const { minimum, maximum } = node;
  if (minimum === undefined && maximum === undefined) return node['x-qapi'];
  if (maximum === undefined) return `${node['x-qapi']}, from ${minimum}`;
  return `${node['x-qapi']}, ${minimum === undefined ? '' : `${minimum} `}to ${maximum}`;
}

const cell = (text) => text.replaceAll('|', '\\|');

/** A member's or value's description with all that is to be said of it. */
function remarks(node) {
  const all = [node.description, ...notes(node).map((note) => note.trim())];
  if (node['x-differs']) all.push(`Differs from QEMU: ${node['x-differs']}`);
  return cell(all.join(' '));
}

function notes(node) {
  const features = (node['x-features'] ?? []).map((name) => `Feature: \`${name}\`.\n`);
  return node.deprecated ? ['Deprecated.\n', ...features] : features;
}

/** How a command or event stands to QEMU's. */
function difference(name, schema, qemu) {
  if (!qemu.includes(name)) return ['*Not in QEMU.*\n'];
  return schema['x-differs'] ? [`Differs from QEMU: ${schema['x-differs']}\n`] : [];
}

const root = dirname(fileURLToPath(import.meta.url));
const schemas = loadSchemas(root);
for (const fault of schemas.faults) console.error(`schemas: ${fault}`);
if (schemas.faults.length) {
  process.exitCode = 1;
} else {
  const qemu = JSON.parse(readFileSync(join(root, 'qemu_order.json'), 'utf8'));
  writeFileSync(process.argv[2] ?? join(root, '..', 'docs', 'qmp.md'), render(schemas, qemu));
}
