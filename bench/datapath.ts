/**
 * How guest pages get fastest from a memfd into a socket, by run length: sendfile(2) from the memfd against sendmsg(2) gathering from the
 * mapping. One thread sends, one receives into another memfd that was populated before. Prints GB/s of payload.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { GuestRam, PAGE_SIZE, type RamHandle } from '../kvm/guest_ram.js';
import { IOV_MAX, IoVector } from '../kvm/iovec.js';
import * as libc from '../kvm/libc_unsafe.js';
import { closeFd } from '../kvm/memory.js';
import {
  acceptFrom,
  finishConnect,
  listenOn,
  MSG_WAITALL,
  POLLIN,
  POLLOUT,
  type SocketAddress,
  setBlocking,
  setNoDelay,
  setSocketBuffers,
  startConnect,
  waitFor,
} from '../kvm/sockets.js';

const RAM_BYTES = 512 * 2 ** 20;
const SOCKET_BYTES = 8 * 2 ** 20;
const BATCH_PAGES = 1024;
const ROUNDS = 5;

/** Receives RAM_BYTES again and again into RAM of its own, until the sender is done. */
function receive(fd: number, ram: RamHandle): void {
  const into = GuestRam.attach(ram);
  for (;;) {
    for (let at = 0; at < RAM_BYTES; at += 4 * 2 ** 20) {
      const n = libc.recv(fd, into.address + at, 4 * 2 ** 20, MSG_WAITALL);
      if (n <= 0) return;
    }
  }
}

type Send = (ram: GuestRam, fd: number, runPages: number) => void;

/** Sends all of RAM once, every run of `runPages` as one element, runs taken alternately from both halves so that none join. */
function runs(runPages: number, visit: (page: number) => void): void {
  const half = RAM_BYTES / PAGE_SIZE / 2;
  for (let page = 0; page < half; page += runPages) {
    visit(page);
    visit(page + half);
  }
}

const offset = new DataView(new ArrayBuffer(8));
const bySendfile: Send = (ram, fd, runPages) =>
  runs(runPages, (page) => {
    offset.setBigInt64(0, BigInt(page * PAGE_SIZE), true);
    for (let left = runPages * PAGE_SIZE; left > 0; ) {
      const n = libc.sendfile(fd, ram.fd, offset, left);
      if (n <= 0) throw new Error(`sendfile: ${n}`);
      left -= n;
    }
  });

const iov = isMainThread ? new IoVector() : undefined;
const bySendmsg: Send = (ram, fd, runPages) => {
  const vector = iov as IoVector;
  vector.clear();
  const flush = () => {
    const rc = vector.sendAll(fd, 0);
    if (rc < 0) throw new Error(`sendmsg: ${rc}`);
    vector.clear();
  };
  runs(runPages, (page) => {
    vector.add(ram.address + page * PAGE_SIZE, runPages * PAGE_SIZE);
    if (vector.count === IOV_MAX || vector.count * runPages >= BATCH_PAGES) flush();
  });
  flush();
};

async function measure(address: SocketAddress, ram: GuestRam, into: GuestRam): Promise<void> {
  const listener = listenOn(address);
  const to = address.kind === 'tcp' ? { ...address, port: listener.port } : address;
  const fd = startConnect(to);
  while (!waitFor(fd, POLLOUT, 100));
  if (finishConnect(fd) !== 0) throw new Error('could not connect');
  setBlocking(fd);
  waitFor(listener.fd, POLLIN, 1000);
  const peer = acceptFrom(listener.fd);
  if (peer === undefined) throw new Error('nobody connected');
  if (address.kind === 'tcp') setNoDelay(fd);
  setSocketBuffers(fd, SOCKET_BYTES, 65536);
  setSocketBuffers(peer, 65536, SOCKET_BYTES);
  const worker = new Worker(new URL(import.meta.url), { workerData: { fd: peer, ram: into.handle } });
  await new Promise((resolve) => worker.once('online', resolve));
  for (const runPages of [1, 4, 8, 16, 64, 256, 1024]) {
    const rates = (send: Send) => {
      const seconds: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const start = process.hrtime.bigint();
        send(ram, fd, runPages);
        seconds.push(Number(process.hrtime.bigint() - start) / 1e9);
      }
      seconds.sort((a, b) => a - b);
      return RAM_BYTES / (seconds[ROUNDS >> 1] as number) / 1e9;
    };
    bySendmsg(ram, fd, runPages);
    const gathered = rates(bySendmsg);
    const referred = rates(bySendfile);
    console.log(
      `${address.kind}\t${runPages}\t${gathered.toFixed(2)}\t${referred.toFixed(2)}\t${(referred / gathered).toFixed(2)}`,
    );
  }
  closeFd(fd);
  await new Promise((resolve) => worker.once('exit', resolve));
  closeFd(peer);
  closeFd(listener.fd);
}

if (isMainThread) {
  const directory = mkdtempSync(join(tmpdir(), 'vmhostd-datapath-'));
  using ram = GuestRam.create(RAM_BYTES);
  using into = GuestRam.create(RAM_BYTES);
  for (const r of [ram, into]) r.populate(0, r.pages);
  console.log('socket\tpages a run\tsendmsg GB/s\tsendfile GB/s\tratio');
  await measure({ kind: 'tcp', host: '127.0.0.1', port: 0 }, ram, into);
  await measure({ kind: 'unix', path: join(directory, 's') }, ram, into);
  rmSync(directory, { recursive: true });
} else {
  const { fd, ram } = workerData as { fd: number; ram: RamHandle };
  receive(fd, ram);
}
