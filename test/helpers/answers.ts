import { type QmpClient, QmpError } from '../../client/qmp_client.js';

/** What comes back for a command: a value, or the class and text of the refusal. */
export async function answer(client: QmpClient, command: string, args: object = {}): Promise<unknown> {
  try {
    return await client.executeRaw(command, args);
  } catch (error) {
    if (error instanceof QmpError) return `${error.class}: ${error.desc}`;
    throw error;
  }
}
