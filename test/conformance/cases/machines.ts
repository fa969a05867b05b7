/** Arguments of the servers that transcripts are recorded with. */
export const NONE: readonly string[] = ['-machine', 'none', '-nodefaults', '-display', 'none'];

export const PC: readonly string[] = [
  ...['-machine', 'pc,usb=off', '-accel', 'kvm', '-cpu', 'qemu64,-svm', '-m', '32', '-nodefaults', '-display', 'none'],
  ...['-name', 'golden', '-uuid', '11111111-2222-3333-4444-555555555555'],
];

/** The text of a command. */
export function command(execute: string, args?: object): string {
  return `${JSON.stringify({ execute, ...(args ? { arguments: args } : {}) })}\n`;
}
