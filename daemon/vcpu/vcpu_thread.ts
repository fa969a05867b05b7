/** Main's end of a vCPU thread: requests, kicks, and what the thread reports. */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { RUN } from '../../kvm/abi.js';
import { Mapping } from '../../kvm/memory.js';
import { kickThread } from '../../kvm/signals.js';
import type { DeviceActivity, GuestStop, VcpuAnswers, VcpuMessage, VcpuRequest, VcpuThreadData } from './messages.js';
import { VCPU_STATE, WORD } from './words.js';

/** What a vCPU thread may report by itself. */
export interface VcpuListener {
  guestStop(vcpu: number, stop: GuestStop): void;
  activity(of: DeviceActivity): void;
  /** The thread is gone; no request will be answered any more. */
  crashed(vcpu: number, error: Error): void;
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** One vCPU's thread. Made parked; `request({type:'run'})` sets it going. */
export class VcpuThread {
  readonly id: number;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #words: Int32Array;
  readonly #run: Mapping;
  readonly #runBytes: Uint8Array;
  readonly #pending = new Map<number, Pending>();
  readonly #exited: Promise<void>;
  #threadId = 0;
  #nextRequest = 1;
  #ended = false;

  private constructor(data: VcpuThreadData, listener: VcpuListener, ready: (error?: Error) => void) {
    this.id = data.id;
    this.#words = new Int32Array(data.words);
    this.#run = Mapping.ofFd(data.vcpuFd, 4096);
    this.#runBytes = this.#run.view(0, 4096);
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#worker = new Worker(new URL('./vcpu_worker.js', import.meta.url), {
      workerData: { ...data, port: port2 },
      transferList: [port2],
      name: `vcpu-${data.id}`,
    });
    port1.on('message', (message: VcpuMessage) => {
      switch (message.type) {
        case 'ready':
          this.#threadId = message.threadId;
          ready();
          return;
        case 'answer':
          this.#settle(message.request, message.value, message.error);
          return;
        case 'guest-stop':
          if (!this.#ended) listener.guestStop(this.id, message.stop);
          return;
        case 'activity':
          listener.activity(message.of);
          return;
      }
    });
    let failure: Error | undefined;
    this.#worker.on('error', (error: Error) => {
      failure = error;
    });
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        const expected = this.#ended;
        this.#ended = true;
        const error = failure ?? new Error(`the thread of vCPU ${this.id} ended`);
        for (const pending of this.#pending.values()) pending.reject(error);
        this.#pending.clear();
        this.#port.close();
        this.#run[Symbol.dispose]();
        if (!expected) {
          ready(error);
          listener.crashed(this.id, error);
        }
        resolve();
      });
    });
  }

  /** Starts the thread; resolves once it is parked and can take requests. */
  static start(data: VcpuThreadData, listener: VcpuListener): Promise<VcpuThread> {
    return new Promise((resolve, reject) => {
      const thread: VcpuThread = new VcpuThread(data, listener, (error) => (error ? reject(error) : resolve(thread)));
    });
  }

  /** The kernel's thread id. */
  get threadId(): number {
    return this.#threadId;
  }

  get running(): boolean {
    return Atomics.load(this.#words, WORD.STATE) === VCPU_STATE.RUNNING;
  }

  /** Exits to user space so far, modulo 2^32. */
  get exits(): number {
    return Atomics.load(this.#words, WORD.EXITS) >>> 0;
  }

  /**
   * Sends a request and brings the thread out of KVM_RUN, or out of its sleep, to see it.
   * @throws Error with the thread's refusal, or when the thread has ended
   */
  request<R extends VcpuRequest>(request: R): Promise<VcpuAnswers[R['type']]> {
    if (this.#ended) return Promise.reject(new Error(`the thread of vCPU ${this.id} has ended`));
    const id = this.#nextRequest++;
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
    });
    if (request.type === 'quit') this.#ended = true;
    this.#port.postMessage({ request: id, body: request });
    this.#kick();
    return answer as Promise<VcpuAnswers[R['type']]>;
  }

  /** Ends the thread and waits until it is gone. */
  async end(): Promise<void> {
    // That it is gone may be known before its answer is read, and says as much.
    if (!this.#ended) this.request({ type: 'quit' }).catch(() => undefined);
    await this.#exited;
  }

  /** Takes the vCPU out of the guest for `ms`. Requests are served meanwhile, and end it. One that does not run is left alone. */
  sleep(ms: number): void {
    if (this.#ended || !this.running) return;
    Atomics.store(this.#words, WORD.SLEEP_US, Math.round(ms * 1000));
    this.#leaveGuest();
  }

  #kick(): void {
    Atomics.add(this.#words, WORD.WAKE, 1);
    Atomics.notify(this.#words, WORD.WAKE);
    this.#leaveGuest();
  }

  #leaveGuest(): void {
    this.#runBytes[RUN.immediate_exit] = 1;
    if (this.#threadId !== 0) kickThread(this.#threadId);
  }

  #settle(request: number, value: unknown, error: string | undefined): void {
    const pending = this.#pending.get(request);
    this.#pending.delete(request);
    if (error === undefined) pending?.resolve(value);
    else pending?.reject(new Error(error));
  }
}
