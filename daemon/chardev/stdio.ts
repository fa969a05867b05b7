import { type Chardev, PendingInput } from './chardev.js';

const CTRL_C = 3;

/** The daemon's standard input and output. A terminal is put into raw mode, so that the guest gets every key but Ctrl-C. */
export class StdioChardev implements Chardev {
  readonly #input = new PendingInput(process.stdin);

  constructor() {
    if (process.stdin.isTTY) process.stdin.setRawMode(true);
    process.stdin.on('data', (chunk: Buffer) => {
      // Raw mode takes Ctrl-C its meaning; as with QEMU's stdio it ends the daemon.
      if (process.stdin.isTTY && chunk.includes(CTRL_C)) process.kill(process.pid, 'SIGINT');
      else this.#input.arrived(chunk);
    });
    // Nobody reads any more: the output has nowhere to go, as with a closed terminal.
    process.stdout.on('error', () => undefined);
    process.stdin.on('error', () => undefined);
  }

  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => process.stdout.write(bytes, () => resolve()));
  }

  onInput(take: (bytes: Uint8Array) => number): void {
    this.#input.onInput(take);
  }

  resume(): void {
    this.#input.offer();
  }

  async close(): Promise<void> {
    if (process.stdin.isTTY) process.stdin.setRawMode(false);
    process.stdin.destroy();
  }
}
