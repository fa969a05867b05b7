/** The chardevs of the command line. */
import { glibHashOrder } from '../../protocol/glib_hash_order.js';
import type { ChardevInfo } from '../../schemas/generated/qmp.js';
import type { ChardevOption } from '../cli/chardev_options.js';
import type { DaemonLog } from '../log.js';
import { CharDevice } from './char_device.js';

export class Chardevs {
  readonly #devices = new Map<string, CharDevice>();

  /** Opens all, in their order. @throws Error naming what could not be opened; none is open then */
  static async open(options: readonly ChardevOption[], log: DaemonLog): Promise<Chardevs> {
    const chardevs = new Chardevs();
    try {
      for (const option of options) {
        const failed = (err: Error) =>
          log.error({ chardev: option.id, err }, `no client can be accepted: ${err.message}`);
        const device = await CharDevice.open(option, failed);
        chardevs.#devices.set(option.id, device);
      }
      return chardevs;
    } catch (error) {
      chardevs.close();
      throw error;
    }
  }

  /** The chardev of that label. @throws Error where there is none */
  get(id: string): CharDevice {
    const device = this.#devices.get(id);
    if (!device) throw new Error(`there is no chardev '${id}'`);
    return device;
  }

  /** The sockets, whose connections `yank` cuts: the last one first, as QEMU lists them. */
  get yankable(): CharDevice[] {
    return [...this.#devices.values()].filter(({ backend }) => backend.kind === 'socket').reverse();
  }

  /** As `query-chardev` shows them: in the order that QEMU's table of them gives, from the last. */
  query(): ChardevInfo[] {
    return glibHashOrder([...this.#devices.keys()])
      .reverse()
      .map((id) => this.get(id).info);
  }

  /** Resolves once every socket with `wait=on` has had a client, one after the other. @param say told whom it waits for */
  async waited(say: (sentence: string) => void): Promise<void> {
    for (const { backend, firstClient, info } of this.#devices.values()) {
      if (backend.kind !== 'socket' || !backend.wait) continue;
      if (info.filename.startsWith('disconnected:')) say(`info: waiting for connection on: ${info.filename}`);
      await firstClient;
    }
  }

  close(): void {
    for (const device of this.#devices.values()) device.close();
  }
}
