import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export const VMHOSTCTL = fileURLToPath(new URL('../../../daemon/vmhostctl.js', import.meta.url));

export interface CtlResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A vmhostctl without a terminal. */
export class CtlProcess {
  readonly ended: Promise<CtlResult>;
  readonly #child: ChildProcess;
  stdout = '';
  stderr = '';

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.#child = spawn(process.execPath, [VMHOSTCTL, ...args], {
      stdio: 'pipe',
      env: { ...process.env, VMHOSTCTL_HISTORY: '', VMHOSTCTL_SOCKET: '', ...env },
    });
    this.#child.stdin?.on('error', () => undefined);
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.ended = once(this.#child, 'close').then(([code]) => ({ code, stdout: this.stdout, stderr: this.stderr }));
  }

  type(text: string): void {
    this.#child.stdin?.write(text);
  }

  endInput(): void {
    this.#child.stdin?.end();
  }

  interrupt(): void {
    this.#child.kill('SIGINT');
  }

  /** Waits until what it wrote to a stream matches. Rejects when it ends before. */
  async prints(pattern: RegExp, stream: 'stdout' | 'stderr' = 'stdout'): Promise<void> {
    while (!pattern.test(this[stream])) {
      const more = once(this.#child[stream] as NodeJS.ReadableStream, 'data').then(() => undefined);
      const end = await Promise.race([more, this.ended]);
      if (end && !pattern.test(this[stream])) throw new Error(`it ended with ${end.code}: ${end.stdout}${end.stderr}`);
    }
  }
}

/** Runs vmhostctl to its end. */
export function vmhostctl(...args: string[]): Promise<CtlResult> {
  const child = new CtlProcess(args);
  child.endInput();
  return child.ended;
}
