import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { assembleFirmware } from './firmware.js';
import { GREETING } from './hints.js';
import { mask, withoutOwnMembers } from './mask.js';
import { Peer } from './peer.js';
import { DEFAULT_SERVER, ServerProcess } from './server_process.js';
import { partiesOf, type Step, type Transcript } from './transcript.js';

const CAPABILITIES = '{"execute":"qmp_capabilities"}\n';
const GREETING_MS = 10_000;

/** The servers of a transcript and the connections to them, in a directory of their own. */
export class Stage {
  readonly #program: readonly string[];
  readonly #dir = mkdtempSync(join(tmpdir(), 'vmhostd-play-'));
  readonly #servers = new Map<string, ServerProcess>();
  readonly #peers = new Map<string, Peer>();
  #port = '';

  /** `program`: the server and its first arguments. */
  constructor(program: readonly string[] = DEFAULT_SERVER) {
    this.#program = program;
  }

  get stderr(): string {
    return [...this.#servers.values()].map(({ stderr }) => stderr).join('');
  }

  /** Starts the servers of a transcript. */
  async open(transcript: Transcript): Promise<void> {
    for (const [party, args] of partiesOf(transcript)) {
      const placed = args.map((arg) => this.placed(arg));
      const bios = placed[placed.indexOf('-bios') + 1];
      if (transcript.boot_asm !== undefined && bios) assembleFirmware(transcript.boot_asm, bios);
      const monitor = transcript.mon_opts ?? '';
      const place = { dir: this.#dir, party, args: placed, monitor };
      this.#servers.set(party, await ServerProcess.start(this.#program, place));
    }
  }

  server(party: string): ServerProcess {
    return this.#servers.get(party) as ServerProcess;
  }

  /** The connection to a party that a transcript is about, if it is open. */
  peer(party: string): Peer | undefined {
    return this.#peers.get(`${party}/`);
  }

  /** Does what a step does before anything is received; returns the connection. */
  async begin(transcript: Transcript, step: Step): Promise<Peer> {
    if (step.waitMs !== undefined) await delay(step.waitMs);
    if (step.reconnect) this.leave(transcript, step);
    const key = keyOf(transcript, step);
    const server = this.server(partyOf(transcript, step));
    const peer = this.#peers.get(key) ?? (await this.#connect(transcript, server, step));
    this.#peers.set(key, peer);
    if (step.signal) server.signal(step.signal);
    if (step.stream) await writeStream(this.placed(step.stream.path), step.stream.bytes);
    this.send(step, peer);
    if (step.end) peer.end();
    return peer;
  }

  /** Sends a step's bytes. */
  send(step: Step, peer: Peer): void {
    if (step.send !== null) peer.send(this.placed(step.send), { fd: step.passFd ?? false });
  }

  /** Closes the connection of a step. */
  leave(transcript: Transcript, step: Step): void {
    const key = keyOf(transcript, step);
    this.#peers.get(key)?.destroy();
    this.#peers.delete(key);
  }

  /** A text with this run's directory and port in it. */
  placed(text: string): string {
    return text.replaceAll('@TMP@', this.#dir).replaceAll('@PORT@', this.#port);
  }

  /** A received text as it is compared. */
  seen(text: string): string {
    const port = /"port": "(\d+)"/.exec(text)?.[1];
    if (port !== undefined) this.#port = port;
    return mask(withoutOwnMembers(text.replaceAll(this.#dir, '@TMP@')));
  }

  closeClients(): void {
    for (const peer of this.#peers.values()) peer.destroy();
    this.#peers.clear();
  }

  /** Ends everything, however it goes. */
  async close(): Promise<void> {
    this.closeClients();
    for (const server of this.#servers.values()) await server.kill();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /** Opens a connection; the greeting, and the negotiation, are only left to the steps that show them. */
  async #connect(transcript: Transcript, server: ServerProcess, step: Step): Promise<Peer> {
    const fds = transcript.steps.some(({ passFd }) => passFd);
    const peer = await Peer.open(server.socketPath, { fds });
    const first = step.client === undefined && !step.reconnect;
    if (GREETING.test(step.recv) || step.greets) return peer;
    await peer.take((text) => /(^|\n)\}\r\n$|^\{"QMP.*\r\n$/s.test(text), GREETING_MS);
    if (transcript.negotiated && first) {
      peer.send(CAPABILITIES);
      await peer.take((text) => /\}\r\n$/.test(text), GREETING_MS);
    }
    return peer;
  }
}

/** Messages of one line each, or lines of a message in pretty mode. */
export function linesOf(text: string): number {
  return text.split('\r\n').length - 1;
}

export function partyOf(transcript: Transcript, { party }: Step): string {
  return party ?? (partiesOf(transcript)[0]?.[0] as string);
}

function keyOf(transcript: Transcript, step: Step): string {
  return `${partyOf(transcript, step)}/${step.client ?? ''}`;
}

/** Plays a source that is none. */
function writeStream(path: string, bytes: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once('error', (error) => reject(new Error(`${basename(path)}: ${error.message}`)));
    socket.once('connect', () => {
      socket.removeAllListeners('error').on('error', () => undefined); // the server may close first
      socket.end(Buffer.from(bytes, 'latin1'), () => resolve());
    });
  });
}
