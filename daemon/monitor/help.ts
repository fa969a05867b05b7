/** `help` and `info` without a word after it. */
import { findHmpCommand, type HmpCommand, type MonitorContext } from './command.js';
import { splitWords } from './scanner.js';

/** Shows one command that `words` name, or all of a table in alphabetical order. */
export function showHelp(commands: readonly HmpCommand[], text: string, { print }: MonitorContext): void {
  const words = splitWords(text);
  if (!words) return;
  let table: readonly HmpCommand[] | undefined = commands;
  let prefix = '';
  for (const name of words) {
    const command: HmpCommand | undefined = findHmpCommand(table, name);
    if (!command) {
      print(`unknown command: '${prefix}${name}'\n`);
      return;
    }
    table = command.children;
    if (!table) {
      print(helpLine(prefix, command));
      return;
    }
    prefix += `${name} `;
  }
  for (const command of [...table].sort((a, b) => (a.name < b.name ? -1 : 1))) print(helpLine(prefix, command));
}

function helpLine(prefix: string, { name, params, help }: HmpCommand): string {
  return `${prefix}${name} ${params} -- ${help}\n`;
}
