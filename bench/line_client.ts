/** The least a QMP client can be: a command, then its reply. What is measured with it is the server. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export class LineClient {
  readonly #socket: Socket;
  #text = '';
  #replied: (line: string) => void = () => undefined;
  #lost: (error: Error) => void = () => undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('utf8').on('data', (chunk) => this.#take(String(chunk)));
    socket.on('error', (error) => this.#lost(error));
    socket.on('close', () => this.#lost(new Error('the server closed the connection')));
  }

  /** Connects to a UNIX socket and negotiates. */
  static async connect(path: string): Promise<LineClient> {
    const socket = connect(path);
    await once(socket, 'connect');
    const client = new LineClient(socket);
    await client.execute('qmp_capabilities');
    return client;
  }

  /** Executes a command; one at a time. @returns the reply as it came @throws when it is refused, or the connection ends */
  execute(command: string): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#lost = reject;
      this.#replied = (line) => {
        if (line.includes('"error": {"class"')) reject(new Error(`${command}: ${line}`));
        else resolve(line);
      };
      this.#socket.write(`{"execute":"${command}"}\r\n`);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Events and the greeting are passed over: neither has a return or an error. */
  #take(chunk: string): void {
    const lines = (this.#text + chunk).split('\r\n');
    this.#text = lines.pop() as string;
    for (const line of lines) {
      if (line.startsWith('{"return"') || line.startsWith('{"error"')) this.#replied(line);
    }
  }
}
