import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { socketPath } from '../daemon/qmp/socket_path.js';

const GREETING =
  '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}\r\n';

export interface RawServer {
  readonly path: string;
  /** Commands of every client, as they came. */
  readonly commands: { readonly [member: string]: unknown }[];
  /** The latest client. */
  readonly socket: () => Socket;
}

/** A server that greets and then says what a test tells it: `answer` gives the text that follows a command. */
export async function rawServer(
  t: { teardown(action: () => void): unknown },
  answer: (command: { execute?: string; id: string }) => string,
): Promise<RawServer> {
  const path = socketPath(t);
  const commands: { [member: string]: unknown }[] = [];
  let latest: Socket | undefined;
  const server = createServer((socket) => {
    latest = socket;
    socket.on('error', () => undefined);
    socket.write(GREETING);
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const command = JSON.parse(text.slice(0, end));
        text = text.slice(end + 1);
        commands.push(command);
        socket.write(
          command.execute === 'qmp_capabilities' ? `{"return": {}, "id": "${command.id}"}\r\n` : answer(command),
        );
      }
    });
  });
  t.teardown(() => {
    latest?.destroy();
    server.close();
  });
  server.listen(path);
  await once(server, 'listening');
  return { path, commands, socket: () => latest as Socket };
}
