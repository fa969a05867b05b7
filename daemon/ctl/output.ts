import type { QmpEvent } from '../../client/qmp_client.js';
import { encodeJson } from '../../protocol/json_writer.js';

/** A value as vmhostctl prints it: JSON, every integer exact, in lines of one member each or in one line. */
export function jsonText(value: unknown, compact: boolean): string {
  return `${encodeJson(value, { pretty: !compact }).replaceAll('\r\n', '\n')}\n`;
}

/** An event in one line, in the form in which it came. */
export function eventText({ event, data, timestamp }: QmpEvent): string {
  const seconds = Math.floor(timestamp);
  const microseconds = Math.round((timestamp - seconds) * 1e6);
  return jsonText({ timestamp: { seconds, microseconds }, event, data }, true);
}
