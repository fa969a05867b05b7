import { readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Lines that are kept from one shell to the next. */
export const HISTORY_LINES = 1000;

/** Where they are kept: VMHOSTCTL_HISTORY, which may be empty for nowhere, or a file in the home directory. */
export function historyPath(env: { VMHOSTCTL_HISTORY?: string | undefined }): string | undefined {
  return (env.VMHOSTCTL_HISTORY ?? join(homedir(), '.vmhostctl_history')) || undefined;
}

/** The lines of earlier shells, the latest first; none where there is no such file yet. */
export function loadHistory(path: string | undefined): string[] {
  if (path === undefined) return [];
  try {
    return readFileSync(path, 'utf8').split('\n').filter(Boolean).toReversed().slice(0, HISTORY_LINES);
  } catch {
    return [];
  }
}

/** Keeps the lines. A history that cannot be written is not worth a word: the shell worked all the same. */
export function saveHistory(path: string | undefined, latestFirst: readonly string[]): void {
  if (path === undefined) return;
  try {
    const lines = latestFirst.slice(0, HISTORY_LINES).toReversed();
    writeFileSync(path, lines.map((line) => `${line}\n`).join(''), { mode: 0o600 });
  } catch {
    return;
  }
}
