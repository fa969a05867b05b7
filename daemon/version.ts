import { readFileSync } from 'node:fs';
import type { VersionInfo } from '../schemas/generated/qmp.js';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** This package's version, as in package.json. */
export const VERSION = version;

/** `query-version` and the greeting: the QEMU whose protocol is spoken, and who really speaks. */
export function versionInfo(): VersionInfo {
  return { qemu: { micro: 22, minor: 2, major: 7 }, package: `vmhostd-${VERSION}` };
}
