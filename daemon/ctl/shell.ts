/** The interactive shell: commands as on the command line, events in between. Also reads commands from a file or a pipe. */
import { clearScreenDown, createInterface, cursorTo, type Interface, moveCursor } from 'node:readline';
import { parseJson } from '../../client/json_text.js';
import type { QmpClient, QmpEvent } from '../../client/qmp_client.js';
import { isJsonObject } from '../../protocol/json_value.js';
import { COMMANDS } from '../../schemas/generated/qmp.js';
import { UsageError } from '../cli/values.js';
import { complete } from './completion.js';
import { commandHelp, commandList } from './help.js';
import { HISTORY_LINES } from './history.js';
import { parseCtlOptions } from './options.js';
import { eventText, jsonText } from './output.js';
import { runCommand } from './run_command.js';
import type { Terminal } from './terminal.js';
import { timeLimit } from './time_limit.js';
import { splitLine } from './words.js';

const HELP = `A line is a command, as after 'vmhostctl -s ADDRESS', or a QMP object. Tab completes; Ctrl-D or 'exit' leaves the shell
('quit' is a command that ends the virtual machine). 'help COMMAND' explains a command.

`;

export interface ShellStreams {
  readonly input: NodeJS.ReadStream;
  readonly output: NodeJS.WriteStream;
  readonly error: NodeJS.WriteStream;
  /** For a shell that reads from no terminal. */
  readonly terminal: Terminal;
  /** Earlier lines, the latest first. */
  readonly history: readonly string[];
  /** Gets them with those of this shell at the end. */
  readonly keepHistory: (latestFirst: readonly string[]) => void;
}

export class Shell {
  readonly #client: QmpClient;
  readonly #streams: ShellStreams;
  readonly #readline: Interface;
  readonly #interactive: boolean;
  readonly #typed: AsyncIterable<string>;
  readonly #interrupts: Array<() => void> = [];
  #commands = Object.keys(COMMANDS);
  #busy = false;
  #failures = 0;

  constructor(client: QmpClient, streams: ShellStreams) {
    this.#client = client;
    this.#streams = streams;
    this.#interactive = Boolean(streams.input.isTTY && streams.output.isTTY);
    this.#readline = createInterface({
      input: streams.input,
      output: streams.output,
      terminal: this.#interactive,
      prompt: this.#interactive ? 'qmp> ' : '',
      history: [...streams.history],
      historySize: HISTORY_LINES,
      removeHistoryDuplicates: true,
      completer: (line: string) => complete(line, this.#commands),
    });
    // From now on no line is lost, whatever is awaited before it is read.
    this.#typed = this.#readline[Symbol.asyncIterator]();
  }

  /** Runs until its input ends, `exit`, or the end of the connection. @returns an exit code: 1 when a command of a script failed */
  async run(): Promise<number> {
    const { input, output } = this.#streams;
    if (this.#interactive) {
      await this.#learnCommands();
      const { qemu, package: build } = this.#client.version;
      output.write(
        `QMP of ${build || 'QEMU'} (${qemu.major}.${qemu.minor}.${qemu.micro}); 'help' helps, Ctrl-D leaves.\n`,
      );
      this.#readline.on('history', this.#streams.keepHistory);
      this.#readline.on('SIGINT', () => this.#interrupted());
    }
    const onEvent = (event: QmpEvent): void => this.#say(output, eventText(event));
    this.#client.on('event', onEvent);
    const ended = await Promise.race([this.#lines().then(() => 'input' as const), this.#client.closed]);
    this.#client.off('event', onEvent);
    this.#readline.close();
    input.destroy();
    if (ended instanceof Error) throw ended;
    if (this.#interactive) output.write(ended === 'input' ? '\n' : 'The connection is closed.\n');
    return this.#failures > 0 && !this.#interactive ? 1 : 0;
  }

  /** Offers what the server has, which need not be what the schemas know. */
  async #learnCommands(): Promise<void> {
    try {
      this.#commands = (await this.#client.execute('query-commands')).map(({ name }) => name);
    } catch {
      // Then it is what the schemas know.
    }
  }

  async #lines(): Promise<void> {
    this.#readline.prompt();
    for await (const line of this.#typed) {
      this.#busy = true;
      const goOn = await this.#line(line.trim());
      this.#busy = false;
      if (!goOn) return;
      this.#readline.prompt();
    }
  }

  /** @returns false when the shell is to be left */
  async #line(line: string): Promise<boolean> {
    if (line === '' || line.startsWith('#')) return true;
    if (line === 'exit') return false;
    try {
      const text = await this.#execute(line);
      this.#streams.output.write(text);
    } catch (error) {
      this.#failures++;
      this.#streams.error.write(`${(error as Error).message}\n`);
    }
    return true;
  }

  async #execute(line: string): Promise<string> {
    if (line.startsWith('{')) return jsonText(await this.#object(line), false);
    const { words: typed, open } = splitLine(line);
    if (open !== undefined) throw new UsageError(`a ${open} is missing`);
    const options = parseCtlOptions(typed);
    const [command = '', ...words] = options.words;
    if (command === 'help') return words[0] === undefined ? HELP + commandList() : commandHelp(words[0]);
    const signal = timeLimit(options.timeoutMs);
    const returned = await runCommand(this.#client, { ...options, command, words }, this.#terminal(), signal);
    return jsonText(returned, options.compact);
  }

  /** A QMP command as it goes over the wire. Its id is not sent: the shell has its own. */
  #object(line: string): Promise<unknown> {
    const value = parseJson(line);
    if (!isJsonObject(value) || typeof value.execute !== 'string') throw new UsageError("'execute' is missing");
    const args = value.arguments;
    if (args !== undefined && !isJsonObject(args)) throw new UsageError("'arguments' must be an object");
    return this.#client.executeRaw(value.execute, args);
  }

  #terminal(): Terminal {
    if (!this.#interactive) return this.#streams.terminal;
    return {
      progress: this.#streams.output,
      note: (text) => this.#say(this.#streams.error, `${text}\n`),
      onInterrupt: (handler) => {
        this.#interrupts.push(handler);
        return { [Symbol.dispose]: () => void this.#interrupts.splice(this.#interrupts.indexOf(handler), 1) };
      },
    };
  }

  /** Ctrl-C: for what is waited for; else it drops the line that is being typed, as shells do. */
  #interrupted(): void {
    const handler = this.#interrupts.at(-1);
    if (handler) handler();
    else if (!this.#busy) {
      this.#streams.output.write('^C\n');
      this.#readline.write(null, { ctrl: true, name: 'e' });
      this.#readline.write(null, { ctrl: true, name: 'u' });
      this.#readline.prompt();
    }
  }

  /** Writes whole lines above the one that is being typed, which is then drawn again. */
  #say(to: NodeJS.WriteStream, text: string): void {
    if (!this.#interactive) {
      to.write(text);
      return;
    }
    const { output } = this.#streams;
    const rows = this.#busy ? 0 : this.#readline.getCursorPos().rows;
    moveCursor(output, 0, -rows);
    cursorTo(output, 0);
    clearScreenDown(output);
    // readline goes up by the rows it last drew before it draws again.
    to.write(text + '\n'.repeat(rows));
    if (!this.#busy) this.#readline.prompt(true);
  }
}
