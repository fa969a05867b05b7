import { readFileSync } from 'node:fs';

/** The arguments a server was started with; a script with two servers names them. */
export type ServerArguments = readonly string[] | { readonly [party: string]: readonly string[] };

/**
 * One thing a client does, and what it must receive. Strings are latin-1 images of bytes. The members after `party` are of
 * this project's own cases; what a record made elsewhere says in its name or note instead is put into them by hints.ts.
 */
export interface Step {
  /** Null only waits. */
  readonly send: string | null;
  readonly recv: string;
  /** Which server, where there are two. */
  readonly party?: string;
  /** Which connection to the server: each name is a connection of its own, opened when it is first used. */
  readonly client?: string;
  /** Closes the connection once `recv` is there. */
  readonly close?: boolean;
  /** Half-closes the connection right after sending. */
  readonly end?: boolean;
  /** Closes the connection and opens it anew before sending. */
  readonly reconnect?: boolean;
  /** Passes the write end of a pipe, which is read, along with `send`. */
  readonly passFd?: boolean;
  /** Sends the server this signal first. */
  readonly signal?: NodeJS.Signals;
  /** Connects to a socket of the server's migration and writes these bytes, then closes. */
  readonly stream?: { readonly path: string; readonly bytes: string };
  /** Waits so many milliseconds before anything else. */
  readonly waitMs?: number;
  /** The greeting is part of what is received. */
  readonly greets?: boolean;
  /** Only for the recorder: how long nothing more must come. */
  readonly settleMs?: number;
  /** Does not wait for the reply: what comes is part of a later step. */
  readonly hurry?: boolean;
}

/** One recorded conversation with a QMP server: a line of a JSONL file. */
export interface Transcript {
  readonly name: string;
  readonly group?: string;
  readonly steps: readonly Step[];
  readonly qemu_args: ServerArguments;
  /** qmp_capabilities was done before the first step. */
  readonly negotiated?: boolean;
  /** What follows `-mon chardev=mon0,mode=control`. */
  readonly mon_opts?: string;
  /** How the server closed the connection at the end (by party, where there are two). */
  readonly closed?: string | { readonly [party: string]: string };
  /** The server's exit code (by party, where there are two). */
  readonly qemu_exit?: number | { readonly [party: string]: number };
  /** 16-bit code that runs as the firmware. */
  readonly boot_asm?: string;
  readonly note?: string;
  /** Records with the same word share a server and a connection, in the order of the file. */
  readonly session?: string;
  /** Length of what was received, when `recv` is only its beginning. */
  readonly recv_len?: number;
  /** Messages may come in any order. */
  readonly anyOrder?: boolean;
}

type Raw = Omit<Transcript, 'steps'> & { steps?: readonly Step[]; send: string | null; recv: string };

/** Reads the transcripts of a JSONL file. */
export function loadTranscripts(path: string): Transcript[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const { send, recv, ...record } = JSON.parse(line) as Raw;
      return { ...record, steps: record.steps ?? [{ send: send && expand(send), recv }] };
    });
}

/** `<3 times "ab">` stands for `ababab` in a record whose text is too long to be written out. */
function expand(send: string): string {
  return send.replace(/<(\d+) times "([^"]*)">/g, (_all, count: string, text: string) => text.repeat(Number(count)));
}

/** The parties of a transcript and their arguments; a single server is `main`. */
export function partiesOf({ qemu_args }: Transcript): Array<[party: string, args: readonly string[]]> {
  return Array.isArray(qemu_args) ? [['main', qemu_args]] : Object.entries(qemu_args as { [p: string]: string[] });
}

/** A member that is given by party, or for the only one. */
export function ofParty<T>(value: T | { readonly [party: string]: T } | undefined, party: string): T | undefined {
  if (value === undefined || value === null || typeof value !== 'object') return value as T | undefined;
  return (value as { [party: string]: T })[party];
}

/** The name of the command a text executes, if it is one command. */
export function commandOf(send: string | null): string | undefined {
  return /^\s*\{.*?"(?:execute|exec-oob)"\s*:\s*"([^"]*)"/s.exec(send ?? '')?.[1];
}
